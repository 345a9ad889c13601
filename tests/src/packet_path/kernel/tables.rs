//! The kernel's tables, written and read whole.

use std::{collections::HashMap as StdHashMap, hash::Hash};

use aya::{
    Pod,
    maps::{Array, HashMap, IterableMap, MapData, MapError, PerCpuArray, PerCpuValues, xdp::DevMapHash},
    util::nr_cpus,
};
use dispatcher_common::{
    address::{V4, V6},
    backend::{Backend, BackendStats},
    client::{Client, ClientKey},
    client_lock::ClientLock,
    config::Config,
    counter::Stats,
    flow::{Flow, FlowKey},
    ring::Ring,
    service::{Service, ServiceKey},
    table,
};
use dispatcher_user::datapath::load::Object;

use crate::packet_path::{scene::INTERFACES, world::World};

/// Backend IDs that tests use: below this.
const BACKENDS: u16 = 16;

/// The tables of a loaded program.
pub(super) struct Tables {
    services: HashMap<MapData, ServiceKey, Service>,
    backends: Array<MapData, Backend>,
    rings: Array<MapData, Ring>,
    clients: HashMap<MapData, ClientKey, Client>,
    locks: HashMap<MapData, ClientKey, ClientLock>,
    flows4: HashMap<MapData, FlowKey<V4>, Flow<V4>>,
    flows6: HashMap<MapData, FlowKey<V6>, Flow<V6>>,
    config: Array<MapData, Config>,
    ports: DevMapHash<MapData>,
    open: Vec<u32>,
    stats: PerCpuArray<MapData, Stats>,
    backend_stats: PerCpuArray<MapData, BackendStats>,
}

impl Tables {
    pub(super) fn take(object: &mut Object) -> Self {
        let mut take = |name: &str| object.take_map(name).unwrap();
        Self {
            services: take(table::SERVICES).try_into().unwrap(),
            backends: take(table::BACKENDS).try_into().unwrap(),
            rings: take(table::RINGS).try_into().unwrap(),
            clients: take(table::CLIENTS).try_into().unwrap(),
            locks: take(table::LOCKS).try_into().unwrap(),
            flows4: take(table::FLOWS4).try_into().unwrap(),
            flows6: take(table::FLOWS6).try_into().unwrap(),
            config: take(table::CONFIG).try_into().unwrap(),
            ports: take(table::PORTS).try_into().unwrap(),
            open: Vec::new(),
            stats: take(table::STATS).try_into().unwrap(),
            backend_stats: take(table::BACKEND_STATS).try_into().unwrap(),
        }
    }

    /// Makes them those of `world`.
    pub(super) fn write(&mut self, world: &World) {
        replace(&mut self.services, &world.services);
        replace(&mut self.clients, &world.clients);
        replace(&mut self.locks, &world.locks);
        replace(&mut self.flows4, &world.flows4);
        replace(&mut self.flows6, &world.flows6);
        for id in 0..BACKENDS {
            let row = world.backends.get(&id).copied().unwrap_or_default();
            self.backends.set(u32::from(id), row, 0).unwrap();
            let stats = world.backend_stats.get(&id).copied().unwrap_or_default();
            self.backend_stats.set(u32::from(id), on_one_cpu(stats), 0).unwrap();
        }
        for (&index, ring) in &world.rings {
            self.rings.set(u32::from(index), **ring, 0).unwrap();
        }
        self.config.set(0, world.config, 0).unwrap();
        self.stats.set(0, on_one_cpu(world.stats), 0).unwrap();
        self.open_ports(world.ports.iter().copied());
    }

    /// Reads those that the program may change.
    pub(super) fn read(&self, world: &mut World) {
        world.services = all(&self.services);
        world.clients = all(&self.clients);
        world.locks = all(&self.locks);
        world.flows4 = all(&self.flows4);
        world.flows6 = all(&self.flows6);
        world.config = self.config.get(&0, 0).unwrap();
        world.stats = Stats::default();
        for cpu in self.stats.get(&0, 0).unwrap().iter() {
            world.stats.merge(cpu);
        }
        world.backends.clear();
        world.backend_stats.clear();
        for id in 0..BACKENDS {
            let row = self.backends.get(&u32::from(id), 0).unwrap();
            if row != Backend::default() {
                world.backends.insert(id, row);
            }
            let sum = self.backend_stats.get(&u32::from(id), 0).unwrap().iter().fold(BackendStats::default(), added);
            if sum != BackendStats::default() {
                world.backend_stats.insert(id, sum);
            }
        }
    }

    /// Lets packets leave by these interfaces alone.
    pub(super) fn open_ports(&mut self, ports: impl IntoIterator<Item = u32>) {
        self.open = ports.into_iter().collect();
        for index in INTERFACES {
            if self.open.contains(&index) {
                self.ports.insert(index, index, None, 0).unwrap();
            } else {
                absent_is_fine(self.ports.remove(index));
            }
        }
    }

    /// The port that is open, if it is one alone; zero otherwise, which is no interface.
    pub(super) fn only_port(&self) -> u32 {
        if let [port] = *self.open { port } else { 0 }
    }

    /// Reads and zeroes the counters of the program.
    pub(super) fn take_stats(&mut self) -> Stats {
        let mut sum = Stats::default();
        self.stats.get(&0, 0).unwrap().iter().for_each(|cpu| sum.merge(cpu));
        self.stats.set(0, on_one_cpu(Stats::default()), 0).unwrap();
        sum
    }
}

fn all<K: Pod + Eq + Hash, V: Pod>(map: &HashMap<MapData, K, V>) -> StdHashMap<K, V> {
    map.iter().collect::<Result<_, _>>().unwrap()
}

fn replace<K: Pod + Eq + Hash, V: Pod>(map: &mut HashMap<MapData, K, V>, entries: &StdHashMap<K, V>)
where
    HashMap<MapData, K, V>: IterableMap<K, V>,
{
    let keys: Vec<K> = map.keys().collect::<Result<_, _>>().unwrap();
    keys.iter().for_each(|key| absent_is_fine(map.remove(key)));
    entries.iter().for_each(|(key, value)| map.insert(key, value, 0).unwrap());
}

/// A row that is zero on every CPU but the first.
fn on_one_cpu<V: Pod + Default>(value: V) -> PerCpuValues<V> {
    let mut values = vec![V::default(); nr_cpus().unwrap()];
    values[0] = value;
    PerCpuValues::try_from(values).unwrap()
}

fn added(mut sum: BackendStats, cpu: &BackendStats) -> BackendStats {
    sum.packets_in += cpu.packets_in;
    sum.bytes_in += cpu.bytes_in;
    sum.packets_out += cpu.packets_out;
    sum.bytes_out += cpu.bytes_out;
    sum.flows_opened += cpu.flows_opened;
    sum.flows_closed += cpu.flows_closed;
    sum
}

fn absent_is_fine(outcome: Result<(), MapError>) {
    match outcome {
        Ok(()) | Err(MapError::KeyNotFound) => {}
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => panic!("{error:#}"),
    }
}
