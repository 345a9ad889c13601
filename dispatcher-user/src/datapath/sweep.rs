//! Walks the flow tables in a thread of its own: removes flows that are over, and counts the live ones.

use std::{
    collections::HashMap as StdHashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError},
};
use dispatcher_common::{
    address::{Family, V4, V6},
    backend::Backend,
    flow::{Flow, FlowKey, state, target},
    service::{TCP, UDP},
    table,
};
use tokio::sync::mpsc;

use super::{load::LoadError, pin::PinDirectory};
use crate::{clock, core::event::Event};

/// Entries that are looked at before the thread rests: about a millisecond of work.
const CHUNK: u64 = 1024;
/// How long it rests.
const REST: Duration = Duration::from_millis(5);
/// How long it rests between two passes.
const PAUSE: Duration = Duration::from_millis(500);

const SECOND_NS: u64 = 1_000_000_000;

/// After how long without a packet a flow is over. The values are those of Linux IPVS where it has them.
#[must_use]
pub fn idle_limit_ns(proto: u8, flow_state: u8) -> u64 {
    match (proto, flow_state) {
        (TCP, state::SYN | state::HELD) => 60 * SECOND_NS,
        (TCP, state::CLOSING) => 120 * SECOND_NS,
        (TCP, state::CLOSED) => 10 * SECOND_NS,
        (UDP, _) => 300 * SECOND_NS,
        _ => 900 * SECOND_NS,
    }
}

/// How many entries the last pass found.
#[derive(Debug, Default)]
pub struct Entries {
    v4: AtomicU64,
    v6: AtomicU64,
}

impl Entries {
    /// Entries of the IPv4 table; a `nat` flow has two.
    pub fn v4(&self) -> u64 {
        self.v4.load(Ordering::Relaxed)
    }

    /// Entries of the IPv6 table.
    pub fn v6(&self) -> u64 {
        self.v6.load(Ordering::Relaxed)
    }
}

/// The thread that walks the tables; it ends when this is dropped.
#[derive(Debug)]
pub struct Sweeper {
    stop: Arc<AtomicBool>,
    entries: Arc<Entries>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Starts the thread; after each pass it sends [`Event::Swept`].
    ///
    /// # Errors
    /// If the pinned tables cannot be opened again.
    pub fn start(pins: &PinDirectory, events: mpsc::Sender<Event>) -> Result<Self, LoadError> {
        let mut walk = Walk {
            flows4: open(pins, table::FLOWS4)?,
            flows6: open(pins, table::FLOWS6)?,
            stop: Arc::default(),
            entries: Arc::default(),
            live: StdHashMap::new(),
        };
        let (stop, entries) = (Arc::clone(&walk.stop), Arc::clone(&walk.entries));
        let body = move || {
            while !walk.stop.load(Ordering::Relaxed) {
                walk.pass();
                let live = walk.live.drain().collect();
                if events.blocking_send(Event::Swept { live }).is_err() {
                    return;
                }
                thread::park_timeout(PAUSE);
            }
        };
        let thread = thread::Builder::new().name("sweep".to_owned()).spawn(body).map_err(LoadError::Poll)?;
        Ok(Self { stop, entries, thread: Some(thread) })
    }

    /// What the last pass found.
    #[must_use]
    pub fn entries(&self) -> Arc<Entries> {
        Arc::clone(&self.entries)
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
        }
    }
}

struct Walk {
    flows4: HashMap<MapData, FlowKey<V4>, Flow<V4>>,
    flows6: HashMap<MapData, FlowKey<V6>, Flow<V6>>,
    stop: Arc<AtomicBool>,
    entries: Arc<Entries>,
    live: StdHashMap<u16, u64>,
}

impl Walk {
    fn pass(&mut self) {
        let (over, seen) = sweep(&self.flows4, &self.stop, &mut self.live);
        self.entries.v4.store(seen, Ordering::Relaxed);
        remove(&mut self.flows4, &over);
        let (over, seen) = sweep(&self.flows6, &self.stop, &mut self.live);
        self.entries.v6.store(seen, Ordering::Relaxed);
        remove(&mut self.flows6, &over);
    }
}

fn open<K: Pod, V: Pod>(pins: &PinDirectory, name: &str) -> Result<HashMap<MapData, K, V>, LoadError> {
    Ok(HashMap::try_from(Map::LruHashMap(MapData::from_pin(pins.table(name))?))?)
}

/// Counts the live flows of each backend; gives the keys of those that are over, and how many entries it saw.
fn sweep<A: Family>(
    flows: &HashMap<MapData, FlowKey<A>, Flow<A>>,
    stop: &AtomicBool,
    live: &mut StdHashMap<u16, u64>,
) -> (Vec<FlowKey<A>>, u64)
where
    FlowKey<A>: Pod,
    Flow<A>: Pod,
{
    let mut over = Vec::new();
    let mut seen = 0_u64;
    for entry in flows.iter() {
        seen = seen.saturating_add(1);
        if seen.is_multiple_of(CHUNK) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(REST);
        }
        // An entry that vanishes while it is read is no longer of interest.
        let Ok((key, flow)) = entry else { continue };
        if flow.target == target::CLIENT {
            // A way back whose way in is gone belongs to nothing; one with a way in goes together with it.
            if is_idle(&key, &flow) && flows.get(&way_in(&key, &flow), 0).is_err() {
                over.push(key);
            }
            continue;
        }
        if flow.target == target::LOCAL {
            // It has no way back: what the local stack sends does not come by here.
            if is_idle(&key, &flow) {
                over.push(key);
            }
            continue;
        }
        let back = flows.get(&way_back(&key, &flow), 0).ok();
        if is_over(&key, &flow, back.as_ref()) {
            over.push(way_back(&key, &flow));
            over.push(key);
        } else if flow.state < state::CLOSING {
            let count = live.entry(flow.backend).or_default();
            *count = count.saturating_add(1);
        }
    }
    (over, seen)
}

/// True if both directions have been silent for the time that the flow's state allows.
fn is_over<A: Family>(key: &FlowKey<A>, flow: &Flow<A>, back: Option<&Flow<A>>) -> bool {
    is_idle(key, flow) && back.is_none_or(|back| is_idle(key, &Flow { state: flow.state, ..*back }))
}

fn is_idle<A: Family>(key: &FlowKey<A>, flow: &Flow<A>) -> bool {
    clock::monotonic_ns().saturating_sub(flow.last_seen_ns) > idle_limit_ns(key.proto, flow.state)
}

/// The key of a `nat` flow's answers. For a `dsr` flow it names nothing.
fn way_back<A: Family>(key: &FlowKey<A>, flow: &Flow<A>) -> FlowKey<A> {
    let backend = Backend { addr: flow.address.mapped(), port: flow.port, ..Backend::default() };
    key.answered_by(&backend)
}

/// The key of the flow whose answers an entry is for.
fn way_in<A: Family>(key: &FlowKey<A>, flow: &Flow<A>) -> FlowKey<A> {
    FlowKey { src: key.dst, dst: flow.address, sport: key.dport, dport: flow.port, ..*key }
}

fn remove<A: Family>(flows: &mut HashMap<MapData, FlowKey<A>, Flow<A>>, over: &[FlowKey<A>])
where
    FlowKey<A>: Pod,
    Flow<A>: Pod,
{
    for key in over {
        match flows.remove(key) {
            Ok(()) | Err(MapError::KeyNotFound | MapError::SyscallError(_)) => {}
            Err(error) => tracing::warn!("a flow that is over cannot be removed: {error:#}"),
        }
    }
}
