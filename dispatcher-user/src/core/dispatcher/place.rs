//! Decides which backend gets a packet that came up.
//!
//! ```text
//!  readable, for a service? ─▶ no: drop
//!  its flow has a backend that keeps it ──▶ there
//!  its client has a backend (affinity) ──▶ there
//!  else the scheduler picks ──nobody is usable──▶ wait
//! ```

use dispatcher_common::{
    address::{Family, is_mapped_v4},
    backend::Backend,
    client::ClientKey,
    flow::{Flow, FlowKey, state},
    hash,
    parse::{Headers, RST},
    service::{ServiceKey, TCP},
};

use super::Dispatcher;
use crate::core::{
    backends::Row,
    balancer::Request,
    lookup::{Entries, Now},
    model::{Affinity, Forward},
    services::Service,
};

/// A packet that came up, read.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a, A: Family> {
    /// Its headers.
    pub(super) headers: &'a Headers<A>,
    /// Service ID that the kernel saw.
    pub(super) service: u16,
    /// True if it opens a TCP connection.
    pub(super) opening: bool,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// To the backend that its flow has.
    Known(u16),
    /// To this backend, and its flow from now on.
    New(u16),
    /// Nowhere yet.
    Wait,
    /// Nowhere.
    Drop(Reason),
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Unreadable,
    TtlExpired,
    ResetWithoutFlow,
    NoService,
    HoldTimeout,
    HoldOverflow,
    TupleConflict,
}

impl<'a, A: Family> Arrived<'a, A> {
    /// A packet with `headers`.
    pub(super) fn new(headers: &'a Headers<A>, service: u16) -> Self {
        Self { headers, service, opening: headers.key.proto == TCP && headers.opens() }
    }

    /// The packet's client.
    pub(super) fn client(&self) -> ClientKey {
        ClientKey::new(self.headers.key.src, self.service)
    }

    /// Why the packet cannot be dispatched at all. The kernel sends no such packets up; whoever else fills the ring
    /// buffer shall do no harm.
    fn fault(&self) -> Option<Reason> {
        let Headers { key, fault, ttl, .. } = self.headers;
        let mapped_on_wire = !A::IS_V4 && (is_mapped_v4(&key.src.mapped()) || is_mapped_v4(&key.dst.mapped()));
        if fault.is_some() || mapped_on_wire {
            Some(Reason::Unreadable)
        } else if *ttl <= 1 {
            Some(Reason::TtlExpired)
        } else {
            None
        }
    }
}

impl Dispatcher {
    /// Decides where a packet goes. A pick moves the scheduler on, so that the decision must be carried out.
    pub(super) fn place<A: Entries>(&mut self, now: Now<'_>, arrived: &Arrived<'_, A>) -> Placement {
        if let Some(reason) = arrived.fault() {
            return Placement::Drop(reason);
        }
        let key = &arrived.headers.key;
        let service = self.services.find(arrived.service).filter(|service| {
            // The ID may have been given to another service while the packet was on its way.
            service.key == ServiceKey::new(key.dst, key.dport, key.proto)
        });
        let Some(service) = service else { return Placement::Drop(Reason::NoService) };
        if let Some(backend) = self.holder(now, arrived) {
            return Placement::Known(backend);
        }
        if arrived.headers.has(RST) {
            return Placement::Drop(Reason::ResetWithoutFlow);
        }
        let Some(backend) = self.by_affinity(now, arrived, service) else { return self.pick(now, arrived) };
        let nat = service.spec.forward == Forward::Nat;
        let entry = self.backends.entry(backend);
        if nat && entry.is_some_and(|entry| conflicts(now, key, entry)) {
            return Placement::Drop(Reason::TupleConflict);
        }
        self.counters.flows_by_affinity += 1;
        Placement::New(backend)
    }

    /// The backend that has the flow, if it still keeps it.
    fn holder<A: Entries>(&self, now: Now<'_>, arrived: &Arrived<'_, A>) -> Option<u16> {
        let flow = A::read(now.tables, &arrived.headers.key)?;
        let keeps = self.backends.entry(flow.backend).is_some_and(|entry| entry.keeps_flows(flow.generation));
        // The kernel opens a connection that reuses the ports of one that is over, where that may be. Here it is a new one.
        let reopens = arrived.opening && flow.state >= state::CLOSING;
        (keeps && !reopens).then_some(flow.backend)
    }

    /// The backend that the client has, if it may have this flow too.
    ///
    /// The kernel makes such flows itself, but for packets that were on their way up when the client got its backend.
    fn by_affinity<A: Entries>(&self, now: Now<'_>, arrived: &Arrived<'_, A>, service: &Service) -> Option<u16> {
        if service.spec.affinity != Affinity::ClientIp {
            return None;
        }
        let client = now.tables.client(&arrived.client()).filter(|client| now.ns < client.expires_ns)?;
        let entry = self.backends.entry(client.backend)?;
        (entry.generation == client.generation && entry.takes_flows()).then_some(client.backend)
    }

    fn pick<A: Entries>(&mut self, now: Now<'_>, arrived: &Arrived<'_, A>) -> Placement {
        // Taken apart, so that the scheduler can move on while the rest is looked at.
        let Self { services, backends, counters, .. } = self;
        let Some(service) = services.find_mut(arrived.service) else { return Placement::Drop(Reason::NoService) };
        if service.balancer.is_empty() {
            return Placement::Wait;
        }
        let key = &arrived.headers.key;
        let load = |id| backends.row(id).filter(|row| row.entry.takes_flows()).map(Row::load);
        let request = Request {
            scheduler: service.spec.scheduler,
            load: &load,
            ring: &service.ring,
            client_hash: hash::client(key),
            flow_hash: hash::flow(key),
        };
        let nat = service.spec.forward == Forward::Nat;
        let admits = |id| !nat || !backends.entry(id).is_some_and(|entry| conflicts(now, key, entry));
        let Some(backend) = service.balancer.pick(request, admits) else {
            return Placement::Drop(Reason::TupleConflict);
        };
        counters.flows_picked += 1;
        Placement::New(backend)
    }
}

/// True if the backend's answers could not be told from those of another live flow: the same client port, to another VIP
/// that leads to the same backend. As in the kernel.
fn conflicts<A: Entries>(now: Now<'_>, key: &FlowKey<A>, backend: &Backend) -> bool {
    let Some(Flow { address: dst, port: dport, state: back, .. }) = A::read(now.tables, &key.answered_by(backend))
    else {
        return false;
    };
    if back == state::CLOSED || (dst, dport) == (key.dst, key.dport) {
        return false;
    }
    // It is over once either side has reset it, or both have sent FIN. Answers to nothing are over too.
    let other = A::read(now.tables, &FlowKey { dst, dport, ..*key });
    let other = other.filter(|other| (other.address, other.port) == (A::from_mapped(&backend.addr), backend.port));
    other.is_some_and(|other| other.state != state::CLOSED && (other.state < state::CLOSING || back < state::CLOSING))
}
