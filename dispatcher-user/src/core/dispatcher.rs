//! The dispatcher: everything it decides, as one state machine without I/O.

mod adopt;
mod change;
mod hold;
mod place;
mod send;
mod show;
mod validate;

use std::{net::IpAddr, time::Duration};

pub use self::adopt::Adopted;
use super::{
    ahead::{Ahead, Moment},
    backends::Backends,
    event::{Command, Event, NextHop},
    lookup::{Lookup, Now},
    neighbours::Neighbours,
    services::{RING_INTERVAL_NS, Services},
    view::Counters,
};

/// Bounds, and the seed of every random choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the random choices start. It also keeps strangers from aiming at one bucket of a table: draw it at random.
    pub seed: u64,
    /// Packets of one client that may wait for a backend.
    pub max_held_per_client: usize,
    /// Packets of all clients together that may wait.
    pub max_held_total: usize,
    /// How long a packet waits for a backend before it is dropped.
    pub hold_timeout: Duration,
}

impl Settings {
    /// The usual bounds.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, max_held_per_client: 64, max_held_total: 4096, hold_timeout: Duration::from_secs(1) }
    }
}

/// The dispatcher's state.
#[derive(Debug)]
pub struct Dispatcher {
    settings: Settings,
    services: Services,
    backends: Backends,
    neighbours: Neighbours,
    held_packets: usize,
    counters: Counters,
}

impl Dispatcher {
    /// Starts with empty tables and no services.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            services: Services::new(),
            backends: Backends::default(),
            neighbours: Neighbours::default(),
            held_packets: 0,
            counters: Counters::default(),
        }
    }

    /// Writes what was put off: from now on the tables are on their own.
    pub fn settle(&mut self, now_ns: u64, commands: &mut Vec<Command>) {
        for service in self.services.iter_mut() {
            service.fit_ring(now_ns, 0, &self.backends, commands);
        }
    }

    /// Takes in what happened at `now_ns` (monotonic clock) and appends what is to be done.
    ///
    /// All that was to be done before is done: `tables` show it.
    pub fn handle(&mut self, now_ns: u64, event: Event, tables: &dyn Lookup, commands: &mut Vec<Command>) {
        match event {
            Event::Packet(upcall) => self.packet(Now { ns: now_ns, tables }, upcall, commands),
            Event::Neighbour { address, hop } => {
                self.neighbour(&mut self.moment(now_ns, tables), address, hop, commands);
            }
            Event::Stats { backend, stats } => {
                if let Some(row) = self.backends.row_mut(backend) {
                    row.read(now_ns, stats);
                }
            }
            Event::Swept { live } => self.backends.set_live(&live),
            Event::Tick => self.tick(now_ns, commands),
        }
    }

    fn moment<'a>(&self, ns: u64, tables: &'a dyn Lookup) -> Moment<'a> {
        Moment { ns, ahead: Ahead::new(tables, self.settings.seed) }
    }

    fn tick(&mut self, now_ns: u64, commands: &mut Vec<Command>) {
        for service in self.services.iter_mut() {
            service.fit_ring(now_ns, RING_INTERVAL_NS, &self.backends, commands);
        }
        self.drop_overdue(now_ns, commands);
    }

    fn neighbour(
        &mut self,
        moment: &mut Moment<'_>,
        address: IpAddr,
        hop: Option<NextHop>,
        commands: &mut Vec<Command>,
    ) {
        let Some(neighbour) = self.neighbours.hear(address, hop) else { return };
        let mut touched: Vec<u16> = Vec::new();
        for &id in &neighbour.backends {
            let Some(row) = self.backends.row_mut(id) else { continue };
            let before = row.entry;
            row.reach(neighbour);
            if row.entry != before {
                commands.push(Command::WriteBackend(id, row.entry));
                touched.push(row.entry.service);
            }
        }
        touched.dedup();
        for service in touched {
            self.refresh(moment, service, RING_INTERVAL_NS, commands);
        }
    }

    /// Looks at a service's backends anew: its ring follows, once it is `min_age_ns` old, and packets that waited are sent
    /// on if a backend has become usable.
    fn refresh(&mut self, moment: &mut Moment<'_>, id: u16, min_age_ns: u64, commands: &mut Vec<Command>) {
        let Some(service) = self.services.find_mut(id) else { return };
        service.refresh(&self.backends);
        service.fit_ring(moment.ns, min_age_ns, &self.backends, commands);
        if !service.balancer.is_empty() {
            self.release(moment, id, commands);
        }
    }
}

#[cfg(test)]
mod tests {
    use dispatcher_common::ring::EMPTY;

    use super::*;
    use crate::core::{
        lookup::Nothing,
        model::{AdminState, Affinity, BackendSpec, Change, Forward, Protocol, Scheduler, ServiceSpec},
    };

    const HOP: NextHop = NextHop { ifindex: 3, mac: [2; 6], source_mac: [1; 6] };
    const MILLISECOND_NS: u64 = 1_000_000;

    fn service() -> ServiceSpec {
        let backend = |number| BackendSpec {
            name: format!("b{number}"),
            address: ([10, 77, 1, number], 8080).into(),
            weight: 100,
            state: AdminState::Ready,
        };
        ServiceSpec {
            name: "web".to_owned(),
            vip: ([203, 0, 113, 10], 80).into(),
            protocol: Protocol::Tcp,
            scheduler: Scheduler::Rr,
            forward: Forward::Nat,
            affinity: Affinity::None,
            affinity_timeout: Duration::from_secs(600),
            secure: None,
            backends: vec![backend(11), backend(12)],
        }
    }

    /// The backends of the last ring that was written.
    fn ring(commands: &[Command]) -> Option<Vec<u16>> {
        let rings = commands
            .iter()
            .filter_map(|command| if let Command::WriteRing(_, ring) = command { Some(ring) } else { None });
        let mut slots = rings.last()?.slots.to_vec();
        slots.sort_unstable();
        slots.dedup();
        Some(slots)
    }

    #[test]
    fn first_reachable_backend_is_in_the_ring_at_once_and_the_second_when_all_ends() {
        let mut core = Dispatcher::new(Settings::new(1));
        let mut commands = Vec::new();
        core.change(0, Change::AddService { service: service() }, &Nothing, &mut commands).unwrap();
        assert_eq!(ring(&commands), Some(vec![EMPTY]));
        for (number, expected) in [(11, Some(vec![0])), (12, None)] {
            commands.clear();
            let found = Event::Neighbour { address: [10, 77, 1, number].into(), hop: Some(HOP) };
            core.handle(MILLISECOND_NS, found, &Nothing, &mut commands);
            assert_eq!(ring(&commands), expected);
        }
        commands.clear();
        core.settle(2 * MILLISECOND_NS, &mut commands);
        assert_eq!(ring(&commands), Some(vec![0, 1]));
    }
}
