//! The invariants that are not about one packet's way: counters, locks, what waits, and that everything comes to rest.

use std::collections::BTreeSet;

use dispatcher_common::{address::V6, backend::state, counter::Counter, decide::Positions, flow::FlowKey, ring::EMPTY};
use dispatcher_user::core::{
    model::{BackendSpec, Protocol},
    view::{Counters, Snapshot},
};

use crate::{
    daemon::Daemon,
    oracle,
    world::{MILLISECOND_NS, World},
};

impl World {
    /// After every step.
    pub(crate) fn check(&mut self) {
        let Positions { consumed, produced } = self.tables.positions.get();
        assert!(consumed <= produced);
        if let Some(daemon) = &self.daemon
            && !daemon.is_busy()
            && consumed == produced
        {
            let waiting = daemon.core.snapshot(self.now_ns).pending_locks;
            let standing = self.tables.locks.borrow().len();
            assert!(standing <= waiting, "{standing} locks stand for {waiting} clients that wait");
        }
    }

    /// A packet of a service was neither forwarded nor sent up.
    pub(crate) fn check_refusal(&self, key: &FlowKey<V6>, reason: Counter) {
        let service = oracle::service_of(&self.tables, key);
        let service = match (service, reason) {
            (None, Counter::NotOurs) => return,
            (None, _) => panic!("{reason:?} for a packet of no service"),
            (Some(service), _) => service,
        };
        let rows = &self.tables.backends;
        if reason == Counter::NoBackend {
            let ring = &self.tables.rings[&service.ring].slots;
            let all = ring.iter().all(|&id| id != EMPTY && rows[usize::from(id)].takes_flows());
            assert!(!all, "no backend was found in a ring full of them");
        } else if reason == Counter::TupleConflict {
            let mut own = rows.iter().filter(|row| row.service == service.id);
            assert!(own.any(|row| oracle::conflicts(&self.tables, key, row)), "a conflict with nobody");
        } else {
            assert_eq!(reason, Counter::ResetWithoutFlow, "for a packet of a service: {key:?}");
        }
    }

    /// After every event that the core was handed; `before` are its counters before.
    pub(crate) fn check_core(&self, snapshot: &Snapshot, before: &Counters) -> Counters {
        let now = &snapshot.counters;
        assert!(snapshot.held_packets <= 24, "{} packets wait", snapshot.held_packets);
        let held = u64::try_from(snapshot.held_packets).unwrap();
        let dropped = now.drop_unreadable
            + now.drop_ttl_expired
            + now.drop_reset_without_flow
            + now.drop_no_service
            + now.drop_hold_timeout
            + now.drop_hold_overflow
            + now.drop_tuple_conflict;
        assert_eq!(now.upcalls, now.injected + dropped + held, "packets that came up are not all accounted for");
        assert_eq!(now.drop_unreadable + now.drop_ttl_expired, 0, "a good packet was found bad");
        assert!(now.drop_no_service == 0 || self.services_changed, "a packet for a service that nobody removed");
        for service in &snapshot.services {
            let usable = service.backends.iter().any(|backend| backend.takes_flows);
            assert!(
                service.held_packets == 0 || !usable,
                "packets wait although a backend of {} is usable",
                service.name
            );
        }
        let record = self.daemon.as_ref().and_then(|daemon| daemon.record.as_ref());
        if now.drop_tuple_conflict > before.drop_tuple_conflict
            && self.profile.has_room()
            && let Some(record) = record
        {
            let tuple = self.oracle.flows[usize::try_from(crate::frames::tag(&record.frame).flow).unwrap()].tuple;
            let key = oracle::key(&tuple);
            let client = oracle::client_entry(&self.tables, &key).map(|client| client.backend);
            let own = (0..).zip(&self.tables.backends);
            let mut own = own.filter(|(_, row)| row.service == record.service && row.takes_flows()).peekable();
            let clients_own = |id| client == Some(id) || client.is_none();
            let all = own.all(|(id, row)| oracle::conflicts(&self.tables, &key, row) || !clients_own(id));
            assert!(all, "refused for a conflict although a backend has none: {tuple:?}");
        }
        *now
    }

    /// Everybody is well again; then nothing is left over, and every flow goes on.
    pub(crate) fn settle(&mut self) {
        for (address, hop) in std::mem::take(&mut self.network) {
            let hop = hop.unwrap_or_else(|| self.hop(address, 0));
            self.network.insert(address, Some(hop));
        }
        self.profile.crashes = false;
        if self.daemon.is_none() {
            self.start_daemon();
        }
        for _ in 0..15 {
            self.work_off();
            self.now_ns += 101 * MILLISECOND_NS;
        }
        self.work_off();
        self.check();
        let snapshot = self.daemon.as_ref().map(|daemon| daemon.core.snapshot(self.now_ns)).unwrap();
        assert_eq!((snapshot.held_packets, snapshot.pending_locks), (0, 0), "something still waits");
        assert_eq!(self.tables.locks.borrow().len(), 0, "a lock stands for nobody");
        self.check_rings();
        self.check_rows();
    }

    /// Every ring leads to the backends that take flows, and to all of them.
    fn check_rings(&self) {
        for (key, service) in &self.tables.services {
            let ring = &self.tables.rings[&service.ring];
            let led_to: BTreeSet<u16> = ring.slots.iter().copied().filter(|&id| id != EMPTY).collect();
            let own =
                (0..).zip(&self.tables.backends).filter(|(_, row)| row.service == service.id && row.takes_flows());
            let usable: BTreeSet<u16> = own.map(|(id, _)| id).collect();
            assert_eq!(led_to, usable, "the ring of {key:?} leads elsewhere");
        }
    }

    /// The kernel knows the backends that the operator knows, and no other.
    fn check_rows(&self) {
        let mut wanted = BTreeSet::new();
        for spec in &self.services {
            let key = oracle::service_key(spec.vip, spec.protocol == Protocol::Udp);
            let service = self.tables.services.get(&key).expect("every service is in the table");
            let place = |backend: &BackendSpec| (oracle::mapped(backend.address.ip()), backend.address.port());
            wanted.extend(spec.backends.iter().map(place).map(|(addr, port)| (service.id, addr, port)));
        }
        let rows = self.tables.backends.iter().filter(|row| row.state != state::VACANT);
        let known: BTreeSet<(u16, V6, u16)> = rows.map(|row| (row.service, row.addr, row.port)).collect();
        assert_eq!(known, wanted);
        assert_eq!(self.tables.services.len(), self.services.len());
    }

    /// After the world has settled, packets of flows that live still pass, and in order.
    pub(crate) fn check_that_flows_go_on(&mut self) {
        for number in 0..u32::try_from(self.oracle.flows.len()).unwrap() {
            let flow = self.oracle.flow(number);
            let key = oracle::key(&flow.tuple);
            let lives = !flow.is_forged && !flow.ended && flow.last_seq.is_some();
            if !lives || self.oracle.current.get(&key) != Some(&number) {
                continue;
            }
            let home_keeps = |world: &Self, number: usize| {
                let home = world.oracle.flows[number].home;
                home.is_some_and(|(id, generation)| world.tables.backends[usize::from(id)].keeps_flows(generation))
            };
            let is_safe = home_keeps(self, usize::try_from(number).unwrap()) && !self.oracle.flow(number).may_move;
            let flags = if self.oracle.flow(number).tuple.udp { 0 } else { dispatcher_common::parse::ACK };
            let seq = self.oracle.flow(number).next_seq;
            self.send_of(number, flags);
            self.work_off();
            let arrived = self.oracle.flow(number).last_seq == Some(seq);
            assert!(arrived || !is_safe, "flow {number} is stuck: {:?}", self.oracle.flow(number));
        }
    }

    /// Where the daemon is never late, it sees the first packet of a flow that it picks for, and no other.
    pub(crate) fn check_upcalls(&self) {
        let Some(Daemon { core, .. }) = &self.daemon else { return };
        let counters = core.snapshot(self.now_ns).counters;
        let picked = counters.flows_picked + counters.flows_by_affinity;
        let refused = counters.drop_tuple_conflict + counters.drop_hold_timeout + counters.drop_hold_overflow;
        assert!(counters.upcalls <= picked + refused + counters.waited * 2, "{counters:?}");
    }
}
