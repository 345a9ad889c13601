//! Decides which backend gets a packet that came up.
//!
//! ```text
//!  readable, for a service? ─▶ no: drop
//!  its flow has a backend that keeps it ──▶ there
//!  its client has just been given a backend (affinity) ──▶ there
//!  else the scheduler picks ──nobody is usable──▶ wait
//! ```

use dispatcher_common::{
    address::{Family, is_mapped_v4},
    client::ClientKey,
    packet::Packet as _,
    parse::{Headers, RST},
    service::{ServiceKey, TCP},
};

use super::Dispatcher;
use crate::core::{
    balancer::Request,
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
    /// Backend ID and generation that the flow table had for it.
    pub(super) holder: Option<(u16, u16)>,
    /// The sequence number, if the packet opens a TCP connection.
    pub(super) opening: Option<[u8; 4]>,
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
    /// A packet with `headers`, read from `frame`.
    pub(super) fn new(headers: &'a Headers<A>, frame: &[u8], service: u16, holder: Option<(u16, u16)>) -> Self {
        let opens = headers.key.proto == TCP && headers.opens();
        let opening = opens.then(|| frame.read(usize::from(headers.l4) + 4)).flatten();
        Self { headers, service, holder, opening }
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
    pub(super) fn place<A: Family>(&mut self, now_ns: u64, arrived: &Arrived<'_, A>) -> Placement {
        if let Some(reason) = arrived.fault() {
            return Placement::Drop(reason);
        }
        let key = &arrived.headers.key;
        let service = self.services.find(arrived.service).filter(|service| {
            // The ID may have been given to another service while the packet was on its way.
            service.key == ServiceKey::new(key.dst, key.dport, key.proto)
        });
        let Some(service) = service else { return Placement::Drop(Reason::NoService) };
        if let Some(backend) = self.holder(arrived) {
            return Placement::Known(backend);
        }
        if arrived.headers.has(RST) {
            return Placement::Drop(Reason::ResetWithoutFlow);
        }
        let Some(backend) = self.by_affinity(now_ns, arrived, service) else { return self.pick(arrived) };
        let entry = self.backends.entry(backend);
        let nat = service.spec.forward == Forward::Nat;
        if nat && entry.is_some_and(|entry| self.recent.conflicts(key, entry)) {
            return Placement::Drop(Reason::TupleConflict);
        }
        self.counters.flows_by_affinity += 1;
        Placement::New(backend)
    }

    /// The backend that has the flow, if it still keeps it.
    fn holder<A: Family>(&self, arrived: &Arrived<'_, A>) -> Option<u16> {
        let recent = self.recent.flow(&arrived.headers.key);
        let decided = recent.map(|decision| (decision.backend, decision.generation));
        // All that was decided is in the flow table, so that what the table says is at least as young.
        let (backend, generation) = arrived.holder.or(decided)?;
        let entry = self.backends.entry(backend).filter(|entry| entry.keeps_flows(generation))?;
        // A backend that takes no flows is not given a connection that reuses the ports of one that it had.
        let opening = arrived.opening;
        let repeated = recent.is_some_and(|decision| decision.backend == backend && decision.opening == opening);
        (opening.is_none() || repeated || entry.takes_flows()).then_some(backend)
    }

    /// The backend that another flow of the client was just given, if it may have this one too.
    ///
    /// Clients of longer ago are in the kernel's table: it would have made the flow itself.
    fn by_affinity<A: Family>(&self, now_ns: u64, arrived: &Arrived<'_, A>, service: &Service) -> Option<u16> {
        if service.spec.affinity == Affinity::None {
            return None;
        }
        let client = self.recent.client(&arrived.client()).filter(|client| now_ns < client.expires_ns)?;
        let entry = self.backends.entry(client.backend)?;
        (entry.generation == client.generation && entry.takes_flows()).then_some(client.backend)
    }

    fn pick<A: Family>(&mut self, arrived: &Arrived<'_, A>) -> Placement {
        // Taken apart, so that the scheduler can move on while the rest is looked at.
        let Self { services, backends, recent, counters, .. } = self;
        let Some(service) = services.find_mut(arrived.service) else { return Placement::Drop(Reason::NoService) };
        if service.balancer.is_empty() {
            return Placement::Wait;
        }
        let key = &arrived.headers.key;
        let request = Request::new(service.spec.scheduler, backends, &service.ring, key);
        let nat = service.spec.forward == Forward::Nat;
        let admits = |id| !nat || !backends.entry(id).is_some_and(|entry| recent.conflicts(key, entry));
        let Some(backend) = service.balancer.pick(request, admits) else {
            return Placement::Drop(Reason::TupleConflict);
        };
        counters.flows_picked += 1;
        Placement::New(backend)
    }
}
