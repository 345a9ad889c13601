//! Finds flows and locks in the tables for the CLI, and removes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use dispatcher_common::{
    address::{Family, V4, V6, is_mapped_v4},
    client::ClientKey,
    flow::{Flow, FlowKey, NO_BACKEND, state, target},
    service::TCP,
};

use super::kernel::Kernel;
use crate::{
    clock,
    control::{
        api::{FlowQuery, FlowView, LockView},
        tuple::FlowTuple,
    },
    core::{lookup::Lookup as _, model::Protocol, view::Snapshot},
    datapath::tables::TableError,
    failure::{Code, Failure},
};

const MILLISECOND_NS: u64 = 1_000_000;

/// The flows that `query` asks for; true if its limit cut more off.
pub(super) fn list(kernel: &Kernel, names: &Names, query: &FlowQuery) -> (Vec<FlowView>, bool) {
    let now_ns = clock::monotonic_ns();
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let four = kernel.tables.flows4().map(|(key, flow)| view(names, now_ns, &key, &flow));
    let six = kernel.tables.flows6().map(|(key, flow)| view(names, now_ns, &key, &flow));
    let mut wanted = four.chain(six).filter(|flow| is_wanted(flow, query));
    let items: Vec<FlowView> = wanted.by_ref().take(limit).collect();
    let more = wanted.next().is_some();
    (items, more)
}

/// Removes both directions of the flow whose client's packets have `tuple`.
pub(super) fn remove(kernel: &mut Kernel, tuple: &FlowTuple) -> Result<(), Failure> {
    let proto = match tuple.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => dispatcher_common::service::UDP,
    };
    let removed = match (tuple.source.ip(), tuple.destination.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => remove4(kernel, &key(src.octets(), dst.octets(), tuple, proto)),
        (IpAddr::V6(src), IpAddr::V6(dst)) => remove6(kernel, &key(src.octets(), dst.octets(), tuple, proto)),
        _ => Ok(false),
    };
    match removed {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Code::NOT_FOUND, format!("there is no flow {tuple}"))
            .fix("`dispatcher flow list` lists them; name the client's direction")),
        Err(error) => Err(Failure::new(Code::INTERNAL, "the flow cannot be removed").cause(error)),
    }
}

/// The locks that stand.
pub(super) fn locks(kernel: &Kernel, names: &Names) -> Vec<LockView> {
    let now_ns = clock::monotonic_ns();
    let view = |(key, lock): (ClientKey, dispatcher_common::client_lock::ClientLock)| LockView {
        client: address(key.addr),
        service: names.service(key.service),
        node: lock.node,
        expires_ms: lock.expires_ns.saturating_sub(now_ns) / MILLISECOND_NS,
    };
    kernel.tables.locks().map(view).collect()
}

/// Removes a client's locks, at one service or at all.
pub(super) fn release(
    kernel: &mut Kernel,
    names: &Names,
    client: IpAddr,
    service: Option<&str>,
) -> Result<(), Failure> {
    let keys: Vec<ClientKey> = kernel
        .tables
        .locks()
        .map(|(key, _)| key)
        .filter(|key| address(key.addr) == client && service.is_none_or(|name| names.service(key.service) == name))
        .collect();
    if keys.is_empty() {
        return Err(Failure::new(Code::NOT_FOUND, format!("{client} has no lock")));
    }
    for key in keys {
        kernel
            .tables
            .remove_lock(&key)
            .map_err(|error| Failure::new(Code::INTERNAL, "the lock cannot be removed").cause(error))?;
    }
    Ok(())
}

/// Names of services and backends by ID.
pub(super) struct Names<'a>(pub(super) &'a Snapshot);

impl Names<'_> {
    pub(super) fn service(&self, id: u16) -> String {
        let found = self.0.services.iter().find(|service| service.id == id);
        found.map_or_else(|| format!("#{id}"), |service| service.name.clone())
    }

    pub(super) fn backend(&self, id: u16, generation: u16) -> String {
        let mut backends = self.0.services.iter().flat_map(|service| &service.backends);
        let found = backends.find(|backend| backend.id == id && backend.generation == generation);
        found.map_or_else(|| format!("#{id}"), |backend| backend.name.clone())
    }
}

fn view<A: Family + IntoIp>(names: &Names, now_ns: u64, key: &FlowKey<A>, flow: &Flow<A>) -> FlowView {
    FlowView {
        src: key.src.into_ip(),
        sport: key.sport,
        dst: key.dst.into_ip(),
        dport: key.dport,
        proto: if key.proto == TCP { Protocol::Tcp } else { Protocol::Udp },
        service: names.service(flow.service),
        backend: (flow.backend != NO_BACKEND).then(|| names.backend(flow.backend, flow.generation)),
        target: match flow.target {
            target::BACKEND_NAT => "backend-nat",
            target::BACKEND_DSR => "backend-dsr",
            target::LOCAL => "local",
            _ => "client",
        }
        .to_owned(),
        state: match flow.state {
            state::HELD => "held",
            state::SYN => "syn",
            state::ESTABLISHED => "established",
            state::CLOSING => "closing",
            _ => "closed",
        }
        .to_owned(),
        packets: flow.packets,
        bytes: flow.bytes,
        idle_ms: now_ns.saturating_sub(flow.last_seen_ns) / MILLISECOND_NS,
    }
}

/// The client stands at the source on the way in and at the destination on the way back.
fn is_wanted(flow: &FlowView, query: &FlowQuery) -> bool {
    let client = if flow.target == "client" { flow.dst } else { flow.src };
    query.service.as_ref().is_none_or(|service| *service == flow.service)
        && query.client.as_ref().is_none_or(|net| net.contains(client))
}

trait IntoIp {
    fn into_ip(self) -> IpAddr;
}

impl IntoIp for V4 {
    fn into_ip(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self))
    }
}

impl IntoIp for V6 {
    fn into_ip(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(self))
    }
}

fn address(mapped: [u8; 16]) -> IpAddr {
    if is_mapped_v4(&mapped) { V4::from_mapped(&mapped).into_ip() } else { mapped.into_ip() }
}

fn key<A: Family>(src: A, dst: A, tuple: &FlowTuple, proto: u8) -> FlowKey<A> {
    let port = |address: SocketAddr| address.port();
    FlowKey { src, dst, sport: port(tuple.source), dport: port(tuple.destination), proto, pad: [0; 3] }
}

/// The key of the answers to a `nat` flow; nothing for other entries.
fn answers<A: Family>(key: &FlowKey<A>, flow: &Flow<A>) -> Option<FlowKey<A>> {
    (flow.target == target::BACKEND_NAT).then_some(FlowKey {
        src: flow.address,
        dst: key.src,
        sport: flow.port,
        dport: key.sport,
        ..*key
    })
}

fn remove4(kernel: &mut Kernel, key: &FlowKey<V4>) -> Result<bool, TableError> {
    let back = kernel.tables.flow4(key).and_then(|flow| answers(key, &flow));
    let removed = kernel.tables.remove_flow4(key)?;
    if let Some(back) = back {
        kernel.tables.remove_flow4(&back)?;
    }
    Ok(removed)
}

fn remove6(kernel: &mut Kernel, key: &FlowKey<V6>) -> Result<bool, TableError> {
    let back = kernel.tables.flow6(key).and_then(|flow| answers(key, &flow));
    let removed = kernel.tables.remove_flow6(key)?;
    if let Some(back) = back {
        kernel.tables.remove_flow6(&back)?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_that_ends_here_is_shown_as_local_and_without_a_backend() {
        let key = FlowKey {
            src: [198, 51, 100, 2],
            dst: [203, 0, 113, 10],
            sport: 40_000,
            dport: 443,
            proto: TCP,
            pad: [0; 3],
        };
        let flow =
            Flow::<V4> { target: target::LOCAL, backend: NO_BACKEND, state: state::ESTABLISHED, ..Flow::default() };
        let snapshot = Snapshot::default();
        let shown = view(&Names(&snapshot), 0, &key, &flow);
        assert_eq!((shown.target.as_str(), shown.backend), ("local", None));
        let other = Flow { target: target::BACKEND_NAT, backend: 7, ..flow };
        assert_eq!(view(&Names(&snapshot), 0, &key, &other).backend.as_deref(), Some("#7"));
    }
}
