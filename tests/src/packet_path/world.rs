//! The tables of a dispatcher in memory: what a row starts from, and what it has become.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Debug,
};

use dispatcher_common::{
    address::{V4, V6},
    backend::{Backend, BackendStats},
    client::{Client, ClientKey},
    client_lock::ClientLock,
    config::{Config, LAYOUT_VERSION},
    counter::{Counter, Stats},
    event::{self, EventHeader},
    flow::{Flow, FlowKey},
    ring::{self, Ring},
    service::{Service, ServiceKey},
    table::EVENT_BYTES,
};

/// Flows of one family.
pub type Flows<A> = HashMap<FlowKey<A>, Flow<A>>;

/// Bytes that the kernel puts before a record of a ring buffer (`BPF_RINGBUF_HDR_SZ`).
pub const RECORD_HEADER: u64 = 8;

/// All tables, and the time.
#[derive(Clone, Debug)]
pub struct World {
    /// When the next packet comes; monotonic clock, nanoseconds.
    pub now_ns: u64,
    /// `dsp_services`
    pub services: HashMap<ServiceKey, Service>,
    /// `dsp_backends`: the rows that are not zero.
    pub backends: HashMap<u16, Backend>,
    /// `dsp_rings`: the rows that services name.
    pub rings: HashMap<u16, Box<Ring>>,
    /// `dsp_clients`
    pub clients: HashMap<ClientKey, Client>,
    /// `dsp_locks`
    pub locks: HashMap<ClientKey, ClientLock>,
    /// `dsp_flows4`
    pub flows4: Flows<V4>,
    /// `dsp_flows6`
    pub flows6: Flows<V6>,
    /// `dsp_config`
    pub config: Config,
    /// `dsp_ports`
    pub ports: HashSet<u32>,
    /// `dsp_stats`, all CPUs together.
    pub stats: Stats,
    /// `dsp_be_stats`, all CPUs together: the rows that are not zero.
    pub backend_stats: HashMap<u16, BackendStats>,
    /// `dsp_events`: what was sent up and not yet looked at by the test.
    pub records: Vec<Record>,
    /// Position up to which the daemon has consumed `dsp_events`.
    pub consumed: u64,
    /// Position up to which `dsp_events` is filled.
    pub produced: u64,
    /// On the host: the flow tables take no entry. No test brings the kernel's tables to that.
    pub refuses_flows: bool,
}

/// Bytes of the smallest record that holds a frame of so many; nothing if it is longer than any record.
#[must_use]
pub fn record_size(frame: usize) -> Option<usize> {
    [event::SMALL, event::MEDIUM, event::LARGE].into_iter().find(|size| event::HEADER_BYTES + frame <= *size)
}

/// A record of `dsp_events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What precedes the frame.
    pub header: EventHeader,
    /// The frame.
    pub frame: Vec<u8>,
    /// Bytes of the record, unused ones included.
    pub size: usize,
}

impl World {
    /// Empty tables of a daemon that lives and has no lease.
    #[must_use]
    pub fn new(now_ns: u64, position: u64) -> Self {
        Self {
            now_ns,
            services: HashMap::new(),
            backends: HashMap::new(),
            rings: HashMap::new(),
            clients: HashMap::new(),
            locks: HashMap::new(),
            flows4: HashMap::new(),
            flows6: HashMap::new(),
            config: Config {
                layout_version: LAYOUT_VERSION,
                upcall_until_ns: now_ns + 60_000_000_000,
                node: 9,
                ..Config::default()
            },
            ports: HashSet::new(),
            stats: Stats::default(),
            backend_stats: HashMap::new(),
            records: Vec::new(),
            consumed: position,
            produced: position,
            refuses_flows: false,
        }
    }

    /// Counts, as the program would.
    pub fn count(&mut self, counters: &[Counter]) {
        counters.iter().for_each(|&counter| self.stats.add(counter));
    }

    /// The counters of a backend.
    pub fn backend_stats(&mut self, id: u16) -> &mut BackendStats {
        self.backend_stats.entry(id).or_default()
    }

    /// Sends a frame up in the smallest record that holds it.
    pub fn send_up(&mut self, ifindex: u32, service: u16, flags: u8, frame: &[u8]) {
        let size = record_size(frame.len()).unwrap();
        let length = u16::try_from(frame.len()).unwrap();
        let header = EventHeader { seen_ns: self.now_ns, ifindex, length, service, flags, pad: [0; 7] };
        self.records.push(Record { header, frame: frame.to_vec(), size });
        self.produced += RECORD_HEADER + size as u64;
    }

    /// True if `dsp_events` has room for a record of `size` bytes: the kernel's own rule (`__bpf_ringbuf_reserve`).
    #[must_use]
    pub fn has_room(&self, size: usize) -> bool {
        self.produced + RECORD_HEADER + size as u64 - self.consumed < EVENT_BYTES as u64
    }

    /// The daemon consumes all that was sent up.
    pub fn consume(&mut self) -> Vec<Record> {
        self.consumed = self.produced;
        std::mem::take(&mut self.records)
    }

    /// Fills a ring: its slot `n` leads to `backend(n)`.
    pub fn fill_ring(&mut self, index: u16, backend: impl Fn(usize) -> u16) {
        let mut ring = Box::new(Ring { slots: [ring::EMPTY; ring::SLOTS] });
        ring.slots.iter_mut().enumerate().for_each(|(slot, id)| *id = backend(slot));
        self.rings.insert(index, ring);
    }

    /// How `other` differs from `self`, a line an entry; records, positions and rings aside.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.lines(), other.lines());
        let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let lines = keys.into_iter().filter_map(|key| match (ours.get(key), theirs.get(key)) {
            (Some(ours), Some(theirs)) => (ours != theirs).then(|| format!("  {key}: {}", changes(ours, theirs))),
            (Some(ours), None) => Some(format!("  missing {key}: {ours}")),
            (None, Some(theirs)) => Some(format!("  too much {key}: {theirs}")),
            (None, None) => None,
        });
        lines.collect()
    }

    /// Every entry by its name.
    fn lines(&self) -> BTreeMap<String, String> {
        let mut lines = BTreeMap::new();
        entries(&mut lines, "dsp_services", &self.services);
        entries(&mut lines, "dsp_backends", &self.backends);
        entries(&mut lines, "dsp_clients", &self.clients);
        entries(&mut lines, "dsp_locks", &self.locks);
        entries(&mut lines, "dsp_flows4", &self.flows4);
        entries(&mut lines, "dsp_flows6", &self.flows6);
        entries(&mut lines, "dsp_be_stats", &self.backend_stats);
        lines.insert("dsp_config".to_owned(), format!("{:?}", self.config));
        let counts = Counter::ALL.iter().map(|&counter| (counter.name(), self.stats.count(counter)));
        let counted = counts.filter(|(_, count)| *count != 0);
        lines.extend(counted.map(|(name, count)| (format!("dsp_stats {name}"), count.to_string())));
        lines
    }
}

fn entries<K: Debug, V: Debug>(lines: &mut BTreeMap<String, String>, table: &str, entries: &HashMap<K, V>) {
    lines.extend(entries.iter().map(|(key, value)| (format!("{table} {key:?}"), format!("{value:?}"))));
}

/// What differs between two rows of the same fields.
fn changes(ours: &str, theirs: &str) -> String {
    let pairs = ours.split(", ").zip(theirs.split(", ")).filter(|(ours, theirs)| ours != theirs);
    pairs.map(|(ours, theirs)| format!("{theirs} instead of {ours}")).collect::<Vec<_>>().join(", ")
}
