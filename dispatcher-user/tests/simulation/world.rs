//! The world of one seed: hosts, network, kernel and daemon, and what happens next.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use dispatcher_common::{counter::Counter, decide::Positions};
use dispatcher_user::core::{
    dispatcher::Settings,
    event::{Event, NextHop},
    model::ServiceSpec,
    view::Counters,
};

use crate::{
    daemon::{Daemon, Effect},
    dice::Dice,
    frames,
    kernel::{self, Fate},
    oracle::{self, Oracle},
    profile::Profile,
    tables::{Note, Tables},
};

pub(crate) const MICROSECOND_NS: u64 = 1_000;
pub(crate) const MILLISECOND_NS: u64 = 1_000_000;
const BEAT_NS: u64 = 50 * MILLISECOND_NS;
const TICK_NS: u64 = 100 * MILLISECOND_NS;
/// The interface that everything comes by.
pub(crate) const IFINDEX: u32 = 3;

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) profile: Profile,
    pub(crate) now_ns: u64,
    pub(crate) tables: Tables,
    /// None while it is dead.
    pub(crate) daemon: Option<Daemon>,
    pub(crate) services: Vec<ServiceSpec>,
    /// How addresses of backends are reached, if they are.
    pub(crate) network: BTreeMap<IpAddr, Option<NextHop>>,
    pub(crate) oracle: Oracle,
    pub(crate) next_id: u32,
    /// A service was removed or added since the start, so that packets may come too late for one.
    pub(crate) services_changed: bool,
    /// A service's rules are being changed: the kernel may not know yet.
    pub(crate) rules_change: bool,
    pub(crate) router: u8,
    /// Tells what happens, for whoever plays a single seed.
    pub(crate) is_told: bool,
    last_beat_ns: u64,
    last_tick_ns: u64,
    counters: Counters,
}

impl World {
    pub(crate) fn new(seed: u64, is_told: bool) -> Self {
        let mut dice = Dice::new(seed);
        let profile = Profile::draw(&mut dice);
        let services = profile.services(&mut dice);
        let now_ns = 1_000_000_000 + dice.below(1_000_000_000);
        let tables = Tables::new(profile.capacities);
        let mut world = Self {
            dice,
            profile,
            now_ns,
            tables,
            daemon: None,
            services,
            network: BTreeMap::new(),
            oracle: Oracle { has_room: profile.has_room(), ..Oracle::default() },
            next_id: 0,
            services_changed: false,
            rules_change: false,
            router: 9,
            is_told,
            last_beat_ns: 0,
            last_tick_ns: 0,
            counters: Counters::default(),
        };
        for backend in world.services.clone().iter().flat_map(|service| &service.backends) {
            let hop = world.hop(backend.address.ip(), 0);
            world.network.insert(backend.address.ip(), Some(hop));
        }
        world.start_daemon();
        if world.profile.calm {
            world.settle();
        }
        world
    }

    /// How `address` is reached, the `version`-th way.
    pub(crate) fn hop(&self, address: IpAddr, version: u8) -> NextHop {
        let last = *oracle::mapped(address).last().unwrap();
        NextHop { ifindex: 4, mac: [2, 1, 0, 0, version, last], source_mac: frames::OUR_MAC }
    }

    pub(crate) fn settings(&mut self) -> Settings {
        Settings {
            seed: self.dice.draw(),
            max_held_per_client: 6,
            max_held_total: 24,
            hold_timeout: Duration::from_secs(1),
        }
    }

    pub(crate) fn start_daemon(&mut self) {
        self.tell(|| "a daemon starts".to_owned());
        let settings = self.settings();
        self.daemon = Some(Daemon::start(settings, self.now_ns, &self.tables, self.services.clone()));
        self.counters = Counters::default();
        (self.last_beat_ns, self.last_tick_ns) = (0, self.now_ns);
    }

    /// The daemon dies: whatever it had in hand and memory is gone.
    pub(crate) fn kill_daemon(&mut self) {
        self.tell(|| "the daemon dies".to_owned());
        if let Some(daemon) = self.daemon.take() {
            self.oracle.handled_again.extend(daemon.record.iter().map(|record| frames::tag(&record.frame).id));
        }
    }

    pub(crate) fn step(&mut self) {
        let weights = self.profile.weights;
        match self.dice.weighted(&[weights.traffic, weights.daemon, weights.time, weights.operator, weights.forgers]) {
            0 => self.traffic(),
            1 => self.daemon_step(),
            2 => self.pass_time(),
            3 => self.operate(),
            _ => self.forge(),
        }
        if self.profile.calm {
            self.work_off();
        }
        self.check();
    }

    fn pass_time(&mut self) {
        let longest = if self.dice.once_in(10) { self.profile.longest_pause_ns } else { MILLISECOND_NS };
        self.now_ns += 1 + self.dice.below(longest);
    }

    /// Says what happens.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{:>14.6} ms  {}", self.now_ns as f64 / 1e6, what());
        }
    }

    /// The program gets a frame of a client.
    pub(crate) fn send(&mut self, frame: Vec<u8>) {
        let tag = frames::tag(&frame);
        let (key, tuple) = (oracle::key(&self.oracle.flow(tag.flow).tuple), self.oracle.flow(tag.flow).tuple);
        let client = oracle::client_entry(&self.tables, &key);
        let before = *self.tables.counters.borrow();
        let alive = self.tables.config.daemon_is_alive(self.now_ns);
        let fate = kernel::receive(&self.tables, self.now_ns, frame, IFINDEX);
        let after = *self.tables.counters.borrow();
        let grown = |counter| after.count(counter) > before.count(counter);
        if self.rules_change {
            self.oracle.flows.iter_mut().for_each(|flow| flow.may_reorder = true);
            self.rules_change = self.daemon.as_ref().is_some_and(Daemon::is_busy);
        }
        let unasked = !alive || grown(Counter::UpcallRefused) || grown(Counter::LockTableFull);
        self.oracle.flow(tag.flow).may_reorder |= unasked;
        for note in self.tables.notes.take() {
            match note {
                Note::Made { key, backend, generation } => {
                    self.oracle.gave(&self.tables, self.now_ns, &key, (backend, generation), client);
                    if self.daemon.as_ref().is_some_and(Daemon::is_busy) {
                        self.oracle.made_meanwhile(&key);
                    }
                }
                Note::Evicted { key } => self.oracle.forget(&key),
            }
        }
        self.tell(|| format!("{tag:?} of {tuple:?}: {}", fate.words()));
        match fate {
            Fate::Forwarded { backend, frame, .. } => {
                if tag.seq == 0 && self.daemon.as_ref().is_some_and(Daemon::is_busy) {
                    // It may have opened a connection that reuses ports, of which no note is made.
                    self.oracle.made_meanwhile(&key);
                }
                self.oracle.reached(&self.tables, &frame, backend, true);
                self.answer(&tuple, tag, backend);
            }
            Fate::WentUp => {
                self.oracle.flow(tag.flow).on_the_way.insert(tag.id);
            }
            Fate::Passed(counter) | Fate::Dropped(counter) => self.check_refusal(&key, counter),
        }
        // What the kernel does in the moment between the core's look at the tables and its commands, the core cannot know.
        self.oracle.flow(tag.flow).may_move |= unasked && self.daemon.as_ref().is_some_and(Daemon::is_busy);
        self.now_ns += MICROSECOND_NS;
    }

    /// The daemon does its next small thing.
    pub(crate) fn daemon_step(&mut self) {
        self.now_ns += MICROSECOND_NS;
        if self.daemon.is_none() {
            // Somebody starts it again, sooner or later.
            if self.dice.once_in(8) {
                self.start_daemon();
            }
            return;
        }
        if self.profile.crashes && self.dice.once_in(120) {
            return self.kill_daemon();
        }
        let Some(mut daemon) = self.daemon.take() else { return };
        if daemon.is_busy() {
            let effect = daemon.work(&mut self.tables);
            self.daemon = Some(daemon);
            return self.witness(effect);
        }
        if self.now_ns - self.last_beat_ns >= BEAT_NS {
            self.last_beat_ns = self.now_ns;
            daemon.beat(self.now_ns, &mut self.tables);
        } else if self.now_ns - self.last_tick_ns >= TICK_NS {
            self.last_tick_ns = self.now_ns;
            for id in daemon.core.backend_ids() {
                let stats = self.tables.stats.borrow()[usize::from(id)];
                daemon.hand(self.now_ns, Event::Stats { backend: id, stats }, &self.tables);
            }
            daemon.hand(self.now_ns, Event::Tick, &self.tables);
        } else if let Some((address, hop)) = self.news(&daemon) {
            self.tell(|| format!("{address} is reached by {hop:?}"));
            daemon.followed.insert(address, Some(hop));
            daemon.hand(self.now_ns, Event::Neighbour { address, hop }, &self.tables);
        } else if self.dice.once_in(50) {
            let (over, live) = kernel::sweep(&self.tables, self.now_ns);
            over.iter().for_each(|key| self.oracle.forget(key));
            daemon.hand(self.now_ns, Event::Swept { live }, &self.tables);
        } else {
            self.oracle.written_meanwhile.clear();
            daemon.take_record(self.now_ns, &self.tables);
            self.tell(|| format!("handles {:?}", daemon.record.as_ref().map(|record| frames::tag(&record.frame))));
        }
        self.daemon = Some(daemon);
        self.check_counters();
    }

    /// A followed address of which the daemon does not know how it is reached now.
    fn news(&self, daemon: &Daemon) -> Option<(IpAddr, Option<NextHop>)> {
        let truth = |address: &IpAddr| self.network.get(address).copied().flatten();
        let mut changed = daemon.followed.iter().filter(|(address, told)| **told != Some(truth(address)));
        changed.next().map(|(address, _)| (*address, truth(address)))
    }

    /// What the daemon has just done.
    fn witness(&mut self, effect: Effect) {
        for note in self.tables.notes.take() {
            if let Note::Evicted { key } = note {
                self.oracle.forget(&key);
            }
        }
        self.tell(|| effect.words());
        match effect {
            Effect::Nothing => {}
            Effect::Gave { key, backend, generation } => {
                let client = oracle::client_entry(&self.tables, &key);
                self.oracle.gave(&self.tables, self.now_ns, &key, (backend, generation), client);
            }
            Effect::Sent(frame) => {
                let backend = self.addressee(&frame);
                self.oracle.reached(&self.tables, &frame, backend, false);
                let tag = frames::tag(&frame);
                let tuple = self.oracle.flow(tag.flow).tuple;
                self.answer(&tuple, tag, backend);
            }
        }
    }

    /// The backend that a frame which the daemon sent is for.
    fn addressee(&mut self, frame: &[u8]) -> u16 {
        let key = oracle::key(&self.oracle.flow(frames::tag(frame).flow).tuple);
        let service = oracle::service_of(&self.tables, &key).expect("nothing is sent for a service that is gone");
        let mac = frames::destination_mac(frame);
        let is_it = |row: &dispatcher_common::backend::Backend| row.service == service.id && row.mac == mac;
        let found = (0..).zip(&self.tables.backends).find(|(_, row)| row.state != 0 && is_it(row));
        found.map(|(id, _)| id).expect("the daemon sent a frame to nobody")
    }

    /// Lets the daemon do all that it has to do.
    pub(crate) fn work_off(&mut self) {
        for _ in 0..10_000 {
            let Positions { consumed, produced } = self.tables.positions.get();
            let idle = self.daemon.as_ref().is_some_and(|daemon| !daemon.is_busy() && self.news(daemon).is_none());
            let current = self.now_ns - self.last_beat_ns < BEAT_NS && self.now_ns - self.last_tick_ns < TICK_NS;
            if idle && current && consumed == produced {
                return;
            }
            self.daemon_step();
        }
        panic!("the daemon is never done");
    }

    pub(crate) fn check_counters(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let snapshot = daemon.core.snapshot(self.now_ns);
        let grown = self.check_core(&snapshot, &self.counters.clone());
        self.counters = grown;
    }
}
