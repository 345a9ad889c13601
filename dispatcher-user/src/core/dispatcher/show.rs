//! Shows the dispatcher's state: the services as they are in force, and the load-balancing table.

use std::fmt::Write as _;

use dispatcher_common::backend::{BackendStats, health};

use super::{Dispatcher, place::Reason};
use crate::core::{
    backends::Row,
    model::ServiceSpec,
    services::{Member, Service},
    view::{BackendView, Counters, Health, NeighbourView, ServiceView, Snapshot},
};

impl Dispatcher {
    /// The services as they are now, changes included: what a restart should start with.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceSpec> {
        self.services.iter().map(Service::effective).collect()
    }

    /// The IDs of all backends, whose counters are to be read.
    #[must_use]
    pub fn backend_ids(&self) -> Vec<u16> {
        self.services.iter().flat_map(|service| &service.members).map(|member| member.id).collect()
    }

    /// The load-balancing table and the counters.
    #[must_use]
    pub fn snapshot(&self, now_ns: u64) -> Snapshot {
        Snapshot {
            taken_ns: now_ns,
            services: self.services.iter().map(|service| self.service_view(service)).collect(),
            held_packets: self.held_packets,
            pending_locks: self.services.iter().map(|service| service.waiting.clients()).sum(),
            counters: self.counters,
        }
    }

    fn service_view(&self, service: &Service) -> ServiceView {
        let view = |member: &Member| self.backends.row(member.id).map(|row| backend_view(member, row));
        let spec = &service.spec;
        ServiceView {
            id: service.id,
            name: spec.name.clone(),
            vip: spec.vip,
            protocol: spec.protocol,
            scheduler: spec.scheduler,
            forward: spec.forward,
            affinity: spec.affinity,
            affinity_timeout: spec.affinity_timeout,
            ring: service.entry().ring,
            held_packets: service.waiting.packets(),
            backends: service.members.iter().filter_map(view).collect(),
        }
    }
}

fn backend_view(member: &Member, row: &Row) -> BackendView {
    let BackendStats { packets_in, bytes_in, packets_out, bytes_out, .. } = row.totals();
    BackendView {
        id: member.id,
        generation: row.entry.generation,
        name: member.spec.name.clone(),
        address: member.spec.address,
        state: member.spec.state,
        health: match row.entry.health {
            health::UP => Health::Up,
            health::DOWN => Health::Down,
            _ => Health::Unknown,
        },
        weight: member.spec.weight,
        takes_flows: row.entry.takes_flows(),
        live_flows: row.live,
        picks: row.picks,
        packets_in,
        bytes_in,
        packets_out,
        bytes_out,
        bytes_per_second: row.bytes.per_second(),
        flows_per_second: row.flows.per_second(),
        neighbour: row.hop().map(|hop| NeighbourView {
            ifindex: hop.ifindex,
            mac: mac_text(hop.mac),
            source_mac: mac_text(hop.source_mac),
        }),
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    let mut text = String::with_capacity(17);
    for (index, byte) in mac.into_iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a String cannot fail.
        write!(text, "{colon}{byte:02x}").ok();
    }
    text
}

impl Counters {
    /// Counts a packet that is dropped.
    pub(super) fn drop(&mut self, reason: Reason) {
        let count = match reason {
            Reason::Unreadable => &mut self.drop_unreadable,
            Reason::TtlExpired => &mut self.drop_ttl_expired,
            Reason::ResetWithoutFlow => &mut self.drop_reset_without_flow,
            Reason::NoService => &mut self.drop_no_service,
            Reason::HoldTimeout => &mut self.drop_hold_timeout,
            Reason::HoldOverflow => &mut self.drop_hold_overflow,
            Reason::TupleConflict => &mut self.drop_tuple_conflict,
        };
        *count = count.wrapping_add(1);
    }
}
