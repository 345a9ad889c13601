//! The kernel's tables in memory: what the XDP program and the daemon both read and write.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, DefaultHasher, Hash},
};

use dispatcher_common::{
    address::{Family, V4, V6},
    backend::{Backend, BackendStats},
    client::{Client, ClientKey},
    client_lock::ClientLock,
    config::Config,
    counter::{Counter, Stats},
    decide::{self, FlowTable, Placed, Positions},
    event,
    flow::{Flow, FlowKey, target},
    ring::{EMPTY, Ring},
    service::{Service, ServiceKey},
    verdict::Upcall,
};
use dispatcher_user::core::lookup::Lookup;

/// Walks in the same order in every run.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A packet on its way up.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) service: u16,
    pub(crate) placed_lock: bool,
    pub(crate) ifindex: u32,
    pub(crate) frame: Vec<u8>,
    bytes: u64,
}

/// How much the tables hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacities {
    pub(crate) event_bytes: u64,
    pub(crate) locks: usize,
    pub(crate) flows: usize,
    pub(crate) clients: usize,
}

/// What a look at the tables alone would not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The kernel gave a flow to a backend.
    Made { key: FlowKey<V6>, backend: u16, generation: u16 },
    /// A flow's entry made room for another's.
    Evicted { key: FlowKey<V6> },
}

#[derive(Debug)]
pub(crate) struct Tables {
    capacities: Capacities,
    pub(crate) services: Map<ServiceKey, Service>,
    pub(crate) backends: Vec<Backend>,
    pub(crate) stats: RefCell<Vec<BackendStats>>,
    pub(crate) rings: Map<u16, Box<Ring>>,
    pub(crate) clients: RefCell<Map<ClientKey, Client>>,
    pub(crate) locks: RefCell<Map<ClientKey, ClientLock>>,
    pub flows4: RefCell<Map<FlowKey<V4>, Flow<V4>>>,
    pub flows6: RefCell<Map<FlowKey<V6>, Flow<V6>>>,
    pub(crate) config: Config,
    pub(crate) counters: RefCell<Stats>,
    pub(crate) up: RefCell<VecDeque<Record>>,
    pub(crate) positions: Cell<Positions>,
    pub(crate) notes: RefCell<Vec<Note>>,
    /// The frame being decided, and the interface that received it.
    pub(crate) current: RefCell<(Vec<u8>, u32)>,
}

impl Tables {
    pub(crate) fn new(capacities: Capacities) -> Self {
        Self {
            capacities,
            services: Map::default(),
            backends: Vec::new(),
            stats: RefCell::default(),
            rings: Map::default(),
            clients: RefCell::default(),
            locks: RefCell::default(),
            flows4: RefCell::default(),
            flows6: RefCell::default(),
            config: Config::default(),
            counters: RefCell::default(),
            up: RefCell::default(),
            positions: Cell::default(),
            notes: RefCell::default(),
            current: RefCell::default(),
        }
    }

    pub(crate) fn write_backend(&mut self, id: u16, row: Backend) {
        let index = usize::from(id);
        if self.backends.len() <= index {
            self.backends.resize(index + 1, Backend::default());
            self.stats.borrow_mut().resize(index + 1, BackendStats::default());
        }
        self.backends[index] = row;
    }

    /// Consumes the oldest record.
    pub(crate) fn consume(&self) {
        let Positions { consumed, produced } = self.positions.get();
        let record = self.up.borrow_mut().pop_front().unwrap();
        self.positions.set(Positions { consumed: consumed + record.bytes, produced });
    }

    /// What a flow's entry says of its backend.
    pub(crate) fn holder(&self, key: &FlowKey<V6>) -> Option<(u16, u16, u8)> {
        if dispatcher_common::address::is_mapped_v4(&key.src) {
            let flows = self.flows4.borrow();
            flows.get(&shrunk(key)).map(|flow| (flow.backend, flow.generation, flow.state))
        } else {
            self.flows6.borrow().get(key).map(|flow| (flow.backend, flow.generation, flow.state))
        }
    }

    fn note(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }

    /// Inserts as an LRU table does: what was used longest ago makes room.
    pub(crate) fn insert<A: Family + Hash>(
        &self,
        flows: &RefCell<Map<FlowKey<A>, Flow<A>>>,
        key: FlowKey<A>,
        flow: Flow<A>,
    ) {
        let mut flows = flows.borrow_mut();
        if flows.len() >= self.capacities.flows && !flows.contains_key(&key) {
            let oldest = flows.iter().min_by_key(|(_, flow)| flow.last_seen_ns).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                flows.remove(&oldest);
                self.note(Note::Evicted { key: grown(&oldest) });
            }
        }
        flows.insert(key, flow);
    }
}

/// The key with addresses in the form shared by both families.
pub(crate) fn grown<A: Family>(key: &FlowKey<A>) -> FlowKey<V6> {
    let FlowKey { src, dst, sport, dport, proto, pad } = *key;
    FlowKey { src: src.mapped(), dst: dst.mapped(), sport, dport, proto, pad }
}

pub(crate) fn shrunk(key: &FlowKey<V6>) -> FlowKey<V4> {
    let FlowKey { src, dst, sport, dport, proto, pad } = *key;
    FlowKey { src: V4::from_mapped(&src), dst: V4::from_mapped(&dst), sport, dport, proto, pad }
}

impl decide::Tables for Tables {
    fn service(&self, key: &ServiceKey) -> Option<Service> {
        self.services.get(key).copied()
    }

    fn backend(&self, id: u16) -> Option<&Backend> {
        self.backends.get(usize::from(id))
    }

    fn ring_slot(&self, ring: u16, slot: usize) -> u16 {
        self.rings.get(&ring).and_then(|ring| ring.slots.get(slot)).copied().unwrap_or(EMPTY)
    }

    fn client(&self, key: &ClientKey) -> Option<Client> {
        self.clients.borrow().get(key).copied()
    }

    fn insert_client(&self, key: &ClientKey, client: &Client) {
        let mut clients = self.clients.borrow_mut();
        if clients.len() >= self.capacities.clients && !clients.contains_key(key) {
            let oldest = clients.iter().min_by_key(|(_, client)| client.expires_ns).map(|(key, _)| *key);
            clients.remove(&oldest.unwrap());
        }
        clients.insert(*key, *client);
    }

    fn lock(&self, key: &ClientKey) -> Option<ClientLock> {
        self.locks.borrow().get(key).copied()
    }

    fn place_lock(&self, key: &ClientKey, lock: &ClientLock) -> Placed {
        let mut locks = self.locks.borrow_mut();
        if locks.contains_key(key) {
            return Placed::Stands;
        }
        if locks.len() >= self.capacities.locks {
            return Placed::Full;
        }
        locks.insert(*key, *lock);
        Placed::Yes
    }

    fn remove_lock(&self, key: &ClientKey) {
        self.locks.borrow_mut().remove(key);
    }

    fn config(&self) -> Config {
        self.config
    }

    fn send_up(&self, upcall: &Upcall) -> bool {
        let (frame, ifindex) = self.current.borrow().clone();
        let needed = frame.len() + event::HEADER_BYTES;
        let sizes = [event::SMALL, event::MEDIUM, event::LARGE];
        let Some(size) = sizes.into_iter().find(|&size| needed <= size) else { return false };
        // A record has a header of eight bytes of its own.
        let bytes = u64::try_from(size).unwrap() + 8;
        let Positions { consumed, produced } = self.positions.get();
        if produced + bytes - consumed > self.capacities.event_bytes {
            return false;
        }
        self.positions.set(Positions { consumed, produced: produced + bytes });
        let placed_lock = upcall.reason == Counter::Upcall;
        self.up.borrow_mut().push_back(Record { service: upcall.service, placed_lock, ifindex, frame, bytes });
        true
    }

    fn upcall_positions(&self) -> Positions {
        self.positions.get()
    }

    fn count(&self, counter: Counter) {
        self.counters.borrow_mut().add(counter);
    }

    fn count_flow(&self, backend: u16, opened: bool) {
        let stats = &mut self.stats.borrow_mut()[usize::from(backend)];
        let count = if opened { &mut stats.flows_opened } else { &mut stats.flows_closed };
        *count += 1;
    }
}

macro_rules! flow_table {
    ($family:ty, $flows:ident) => {
        impl FlowTable<$family> for Tables {
            fn with_flow<R>(&self, key: &FlowKey<$family>, visit: impl FnOnce(&mut Flow<$family>) -> R) -> Option<R> {
                self.$flows.borrow_mut().get_mut(key).map(visit)
            }

            fn insert_flow(&self, key: &FlowKey<$family>, build: impl FnOnce() -> Flow<$family>) -> bool {
                let flow = build();
                self.insert(&self.$flows, *key, flow);
                if flow.target != target::CLIENT {
                    let (backend, generation) = (flow.backend, flow.generation);
                    self.note(Note::Made { key: grown(key), backend, generation });
                }
                true
            }
        }
    };
}

flow_table!(V4, flows4);
flow_table!(V6, flows6);

impl Lookup for Tables {
    fn flow4(&self, key: &FlowKey<V4>) -> Option<Flow<V4>> {
        self.flows4.borrow().get(key).copied()
    }

    fn flow6(&self, key: &FlowKey<V6>) -> Option<Flow<V6>> {
        self.flows6.borrow().get(key).copied()
    }

    fn client(&self, key: &ClientKey) -> Option<Client> {
        self.clients.borrow().get(key).copied()
    }
}
