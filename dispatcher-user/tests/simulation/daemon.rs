//! The daemon: the real core, and hands that carry out one command at a time, so that it can be late or die in between.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use bytes::Bytes;
use dispatcher_common::{
    address::V6,
    backend::Backend,
    flow::{FlowKey, target},
    service::ServiceKey,
};
use dispatcher_user::core::{
    dispatcher::{Adopted, Dispatcher, Settings},
    event::{Command, Event, NextHop, Upcall},
    model::{Change, Refusal, ServiceSpec},
};

use crate::tables::{Record, Tables, grown};

/// As the daemon's.
const ALIVE_NS: u64 = 300_000_000;

#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) core: Dispatcher,
    commands: VecDeque<Command>,
    /// The record being handled; it is consumed once its commands are carried out.
    pub(crate) record: Option<Record>,
    /// Followed addresses, and what the core was told of each.
    pub(crate) followed: BTreeMap<IpAddr, Option<Option<NextHop>>>,
    /// Until all that the takeover asks for is done, the program does not hear of the daemon.
    starting: bool,
}

/// What a carried out command did that others can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    Sent(Bytes),
    /// A flow is given to a backend.
    Gave {
        key: FlowKey<V6>,
        backend: u16,
        generation: u16,
    },
}

impl Effect {
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Nothing => "the daemon works".to_owned(),
            Self::Sent(frame) => format!("the daemon sends {:?}", crate::frames::tag(frame)),
            Self::Gave { key, backend, .. } => format!("the daemon gives {}>{} to {backend}", key.sport, key.dport),
        }
    }
}

impl Daemon {
    /// Starts over what is in the tables.
    pub(crate) fn start(settings: Settings, now_ns: u64, tables: &Tables, services: Vec<ServiceSpec>) -> Self {
        let mut commands = Vec::new();
        let mut found: Vec<(ServiceKey, _)> = tables.services.iter().map(|(key, entry)| (*key, *entry)).collect();
        found.sort_by_key(|(_, entry)| entry.id);
        let used = |(_, row): &(u16, Backend)| *row != Backend::default();
        let adopted = Adopted {
            services: found,
            backends: (0..).zip(tables.backends.iter().copied()).filter(used).collect(),
            locks: tables.locks.borrow().keys().copied().collect(),
        };
        let core = Dispatcher::adopt(settings, now_ns, adopted, services, &mut commands).expect("the services fit");
        let commands = commands.into();
        Self { core, commands, record: None, followed: BTreeMap::new(), starting: true }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.starting || !self.commands.is_empty() || self.record.is_some()
    }

    pub(crate) fn beat(&self, now_ns: u64, tables: &mut Tables) {
        if !self.starting {
            tables.config.upcall_until_ns = now_ns + ALIVE_NS;
        }
    }

    /// Hands an event to the core. Its commands wait to be carried out.
    pub(crate) fn hand(&mut self, now_ns: u64, event: Event, tables: &Tables) {
        assert!(self.commands.is_empty(), "an event while commands of the one before are left");
        let mut commands = Vec::new();
        self.core.handle(now_ns, event, tables, &mut commands);
        self.commands.extend(commands);
    }

    /// Takes the oldest record up; false if there is none.
    pub(crate) fn take_record(&mut self, now_ns: u64, tables: &Tables) -> bool {
        let Some(record) = tables.up.borrow().front().cloned() else { return false };
        let upcall = Upcall {
            service: record.service,
            ifindex: record.ifindex,
            placed_lock: record.placed_lock,
            frame: Bytes::copy_from_slice(&record.frame),
        };
        self.record = Some(record);
        self.hand(now_ns, Event::Packet(upcall), tables);
        true
    }

    pub(crate) fn change(&mut self, now_ns: u64, change: Change, tables: &Tables) -> Result<(), Refusal> {
        let before = (self.core.services(), self.core.snapshot(now_ns));
        let mut commands = Vec::new();
        let outcome = self.core.change(now_ns, change, tables, &mut commands);
        if outcome.is_err() {
            assert!(commands.is_empty(), "a refused change asks for something");
            assert_eq!(
                (self.core.services(), self.core.snapshot(now_ns)),
                before,
                "a refused change changed something"
            );
        }
        self.commands.extend(commands);
        outcome
    }

    /// Carries out the next command, or consumes the record whose commands are all done.
    pub(crate) fn work(&mut self, tables: &mut Tables) -> Effect {
        if let Some(command) = self.commands.pop_front() {
            return self.carry_out(command, tables);
        }
        if self.record.take().is_some() {
            tables.consume();
        }
        self.starting = false;
        Effect::Nothing
    }

    fn carry_out(&mut self, command: Command, tables: &mut Tables) -> Effect {
        match command {
            Command::WriteFlow4(key, flow) => {
                tables.insert(&tables.flows4, key, flow);
                return gave(grown(&key), flow.target, (flow.backend, flow.generation));
            }
            Command::WriteFlow6(key, flow) => {
                tables.insert(&tables.flows6, key, flow);
                return gave(key, flow.target, (flow.backend, flow.generation));
            }
            Command::WriteClient(key, client) => {
                dispatcher_common::decide::Tables::insert_client(tables, &key, &client);
            }
            Command::RemoveLock(key) => {
                tables.locks.borrow_mut().remove(&key);
            }
            Command::Inject { frame, .. } => return Effect::Sent(frame),
            Command::WriteBackend(id, row) => tables.write_backend(id, row),
            Command::WriteService(key, entry) => {
                tables.services.insert(key, entry);
            }
            Command::RemoveService(key) => {
                tables.services.remove(&key);
            }
            Command::WriteRing(index, ring) => {
                tables.rings.insert(index, ring);
            }
            Command::Follow(address) => {
                self.followed.insert(address, None);
            }
            Command::Unfollow(address) => {
                self.followed.remove(&address);
            }
        }
        Effect::Nothing
    }
}

fn gave(key: FlowKey<V6>, of: u8, (backend, generation): (u16, u16)) -> Effect {
    if of == target::CLIENT { Effect::Nothing } else { Effect::Gave { key, backend, generation } }
}
