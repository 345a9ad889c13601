//! Packets that do not simply go on: faulty ones, held flows, other hosts' packets, and new flows.

use super::{
    FlowTable, Tables,
    local::local,
    mapped::{endpoint, seen, state_after, towards},
    place::{conflicts, pick, take, upcall},
};
use crate::{
    address::{Family, is_mapped_v4},
    client::ClientKey,
    counter::Counter,
    flow::state,
    parse::{self, Headers},
    service::{Service, ServiceKey, mode, scheduler},
    verdict::{Upcall, Verdict},
};

/// True if a packet that [`super::mapped()`] left is none of a service's, so that [`unmapped`] would pass it.
#[inline(always)]
pub fn is_foreign<A: Family, T: Tables>(headers: &Headers<A>, tables: &T) -> bool {
    headers.fault.is_none() && service(headers, tables).is_none()
}

/// Decides for every packet that [`super::mapped()`] leaves: faulty ones, held flows, new flows, other hosts' packets.
#[inline(always)]
pub fn unmapped<A: Family, T: Tables + FlowTable<A>>(headers: &Headers<A>, now_ns: u64, tables: &T) -> Verdict<A> {
    if let Some(fault) = headers.fault {
        return faulty(service(headers, tables).is_some(), fault);
    }
    if let Some(verdict) = held(headers, now_ns, tables) {
        return verdict;
    }
    let Some(service) = service(headers, tables) else { return Verdict::Pass(Counter::NotOurs) };
    if service.mode == mode::SECURE {
        return local(headers, &service, now_ns, tables);
    }
    if let Some(verdict) = refused(headers) {
        return verdict;
    }
    let config = tables.config();
    if config.lease_is_over(now_ns) {
        return Verdict::Pass(Counter::LeaseOver);
    }
    let kept = by_affinity(headers, &service, now_ns, tables);
    let by_hash = scheduler::is_deterministic(service.scheduler);
    let must_ask = kept.is_none() && !by_hash;
    let asks = must_ask || (service.has_client_affinity() && may_overtake(headers, tables));
    if asks && let Some(upcall) = upcall(headers, &service, &config, now_ns, tables) {
        return Verdict::Up(upcall);
    }
    let (id, reason) = match kept {
        Some(id) => (id, Counter::FlowsByAffinity),
        None if by_hash => (pick(headers, &service, tables), Counter::FlowsByHash),
        None => (pick(headers, &service, tables), Counter::PickedInKernel),
    };
    let Some(backend) = tables.backend(id).filter(|backend| backend.takes_flows()) else {
        return Verdict::Drop(Counter::NoBackend);
    };
    if conflicts(headers, &service, backend, tables) {
        return Verdict::Drop(Counter::TupleConflict);
    }
    tables.count(reason);
    take(headers, &service, (id, backend), now_ns, tables)
}

/// The service that a packet is for.
#[inline(always)]
fn service<A: Family, T: Tables>(headers: &Headers<A>, tables: &T) -> Option<Service> {
    let dst = headers.key.dst.mapped();
    if !A::IS_V4 && is_mapped_v4(&dst) {
        // The form in which tables hold an IPv4 address; in an IPv6 header it names no service.
        return None;
    }
    tables.service(&ServiceKey { addr: dst, port: headers.key.dport, proto: headers.key.proto, pad: 0 })
}

/// A packet that cannot be dispatched: ours to drop only if it is for a service.
#[inline(always)]
fn faulty<A: Family>(for_service: bool, fault: Counter) -> Verdict<A> {
    match (for_service, fault) {
        (_, Counter::Fragment) => Verdict::Pass(Counter::Fragment),
        (true, Counter::Tagged) => Verdict::Pass(Counter::Tagged),
        (false, Counter::Tagged) => Verdict::Pass(Counter::NotOurs),
        (true, _) => Verdict::Drop(fault),
        (false, _) => Verdict::Pass(Counter::NotOursMalformed),
    }
}

/// A packet of a flow that is held; nothing if there is no such flow, or its backend no longer keeps it.
///
/// The flow opens once every packet that went up before has left the daemon. The packets of a flow meet one CPU in
/// order, and the daemon injects a packet before it consumes its record. So when all that had been sent up by the
/// flow's first direct packet is consumed, nothing of the flow can be overtaken.
#[inline(always)]
fn held<A: Family, T: Tables + FlowTable<A>>(headers: &Headers<A>, now_ns: u64, tables: &T) -> Option<Verdict<A>> {
    if headers.ttl <= 1 {
        let is_held = tables.with_flow(&headers.key, |flow| flow.state == state::HELD)?;
        return is_held.then_some(Verdict::Pass(Counter::TtlExpired));
    }
    let positions = tables.upcall_positions();
    let alive = tables.config().daemon_is_alive(now_ns);
    let look = tables.with_flow(&headers.key, |flow| {
        if flow.state != state::HELD {
            return None;
        }
        seen(flow, headers, now_ns);
        if flow.fence == 0 {
            flow.fence = positions.produced;
        }
        let open = !alive || positions.consumed >= flow.fence;
        if open {
            flow.state = state_after(state::SYN, headers);
        }
        Some((*flow, open))
    });
    let (flow, open) = look??;
    let backend = tables.backend(flow.backend)?;
    if !backend.keeps_flows(flow.generation) {
        return None;
    }
    if !open {
        let upcall = Upcall { service: flow.service, reason: Counter::UpcallHeld };
        if tables.send_up(&upcall) {
            let fence = tables.upcall_positions().produced;
            tables.with_flow(&headers.key, |flow| flow.fence = fence);
            return Some(Verdict::Up(upcall));
        }
        // Order yields to delivery.
        tables.count(Counter::UpcallRefused);
        tables.with_flow(&headers.key, |flow| flow.state = state_after(state::SYN, headers));
    }
    if !backend.is_reachable() {
        return Some(Verdict::Drop(Counter::NoNeighbour));
    }
    if state_after(state::SYN, headers) >= state::CLOSING {
        tables.count_flow(flow.backend, false);
    }
    Some(Verdict::Forward(towards(flow.target, endpoint(&flow), (flow.backend, backend))))
}

/// Packets that make no flow.
#[inline(always)]
fn refused<A: Family>(headers: &Headers<A>) -> Option<Verdict<A>> {
    if headers.key.src.is_forbidden_source() {
        Some(Verdict::Drop(Counter::BadSource))
    } else if headers.ttl <= 1 {
        Some(Verdict::Pass(Counter::TtlExpired))
    } else if headers.has(parse::RST) {
        Some(Verdict::Drop(Counter::ResetWithoutFlow))
    } else {
        None
    }
}

/// True if packets of the same flow may be on their way up: they went there while their client had no backend, or still
/// had one. A TCP connection's first packet has none before it.
#[inline(always)]
fn may_overtake<A: Family, T: Tables>(headers: &Headers<A>, tables: &T) -> bool {
    let positions = tables.upcall_positions();
    !headers.opens() && positions.consumed < positions.produced
}

/// The client's backend, if the service keeps clients and the backend still takes flows.
#[inline(always)]
fn by_affinity<A: Family, T: Tables>(headers: &Headers<A>, service: &Service, now_ns: u64, tables: &T) -> Option<u16> {
    if !service.has_client_affinity() {
        return None;
    }
    let client = tables.client(&ClientKey::new(headers.key.src, service.id))?;
    if now_ns >= client.expires_ns {
        return None;
    }
    let backend = tables.backend(client.backend)?;
    (backend.generation == client.generation && backend.takes_flows()).then_some(client.backend)
}
