//! The daemon's hands on the BPF tables: carries out the core's commands, and reads what the CLI shows.

use std::borrow::Borrow;

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, IterableMap, Map, MapData, MapError, PerCpuArray,
        xdp::{DevMapHash, XdpMapError},
    },
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

/// Why the kernel refused a read or a write.
pub use aya::maps::MapError as TableError;

use super::load::LoadError;
use crate::core::{event::Command, lookup::Lookup};

/// Every table that the daemon writes or reads.
pub struct Tables {
    services: HashMap<MapData, ServiceKey, Service>,
    backends: Array<MapData, Backend>,
    flows4: HashMap<MapData, FlowKey<V4>, Flow<V4>>,
    flows6: HashMap<MapData, FlowKey<V6>, Flow<V6>>,
    clients: HashMap<MapData, ClientKey, Client>,
    locks: HashMap<MapData, ClientKey, ClientLock>,
    backend_stats: PerCpuArray<MapData, BackendStats>,
    stats: PerCpuArray<MapData, Stats>,
    config: Array<MapData, Config>,
    rings: Array<MapData, Ring>,
    ports: DevMapHash<MapData>,
}

impl Tables {
    /// Takes the tables out of a loaded object.
    ///
    /// # Errors
    /// If the object lacks one, or its keys or values have other sizes than ours.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            services: take(ebpf, table::SERVICES)?.try_into()?,
            backends: take(ebpf, table::BACKENDS)?.try_into()?,
            flows4: take(ebpf, table::FLOWS4)?.try_into()?,
            flows6: take(ebpf, table::FLOWS6)?.try_into()?,
            clients: take(ebpf, table::CLIENTS)?.try_into()?,
            locks: take(ebpf, table::LOCKS)?.try_into()?,
            backend_stats: take(ebpf, table::BACKEND_STATS)?.try_into()?,
            stats: take(ebpf, table::STATS)?.try_into()?,
            config: take(ebpf, table::CONFIG)?.try_into()?,
            rings: take(ebpf, table::RINGS)?.try_into()?,
            ports: take(ebpf, table::PORTS)?.try_into()?,
        })
    }

    /// Carries out a command that writes a table; the others are none of its business and do nothing.
    ///
    /// # Errors
    /// If the kernel refuses the write.
    pub fn carry_out(&mut self, command: &Command) -> Result<(), MapError> {
        match command {
            Command::WriteFlow4(key, flow) => self.flows4.insert(key, flow, 0),
            Command::WriteFlow6(key, flow) => self.flows6.insert(key, flow, 0),
            Command::WriteClient(key, client) => self.clients.insert(key, client, 0),
            Command::RemoveLock(key) => absent_is_fine(self.locks.remove(key)),
            Command::WriteBackend(id, backend) => self.backends.set(u32::from(*id), backend, 0),
            Command::WriteService(key, service) => self.services.insert(key, service, 0),
            Command::RemoveService(key) => absent_is_fine(self.services.remove(key)),
            Command::WriteRing(index, ring) => self.rings.set(u32::from(*index), **ring, 0),
            Command::Inject { .. } | Command::Follow(_) | Command::Unfollow(_) => Ok(()),
        }
    }

    /// Tells the programs about the daemon.
    ///
    /// # Errors
    /// If the kernel refuses the write.
    pub fn write_config(&mut self, config: &Config) -> Result<(), MapError> {
        self.config.set(0, config, 0)
    }

    /// Lets packets leave by an interface.
    ///
    /// # Errors
    /// If the kernel refuses the write.
    pub fn open_port(&mut self, ifindex: u32) -> Result<(), XdpMapError> {
        self.ports.insert(ifindex, ifindex, None, 0)
    }

    /// No longer lets packets leave by an interface.
    ///
    /// # Errors
    /// If the kernel refuses the write.
    pub fn close_port(&mut self, ifindex: u32) -> Result<(), MapError> {
        absent_is_fine(self.ports.remove(ifindex))
    }

    /// The services that the tables hold.
    ///
    /// # Errors
    /// If the kernel refuses a read.
    pub fn services(&self) -> Result<Vec<(ServiceKey, Service)>, MapError> {
        self.services.iter().collect()
    }

    /// The rows of `dsp_backends` that were ever used, with their IDs.
    ///
    /// # Errors
    /// If the kernel refuses a read.
    pub fn backends(&self) -> Result<Vec<(u16, Backend)>, MapError> {
        let mut used = Vec::new();
        for (id, row) in (0..=u16::MAX).zip(self.backends.iter()) {
            let row = row?;
            if row != Backend::default() {
                used.push((id, row));
            }
        }
        Ok(used)
    }

    /// A backend's counters, all CPUs together.
    ///
    /// # Errors
    /// If the kernel refuses the read.
    pub fn backend_stats(&self, id: u16) -> Result<BackendStats, MapError> {
        let mut sum = BackendStats::default();
        for cpu in self.backend_stats.get(&u32::from(id), 0)?.iter() {
            sum.packets_in = sum.packets_in.wrapping_add(cpu.packets_in);
            sum.bytes_in = sum.bytes_in.wrapping_add(cpu.bytes_in);
            sum.packets_out = sum.packets_out.wrapping_add(cpu.packets_out);
            sum.bytes_out = sum.bytes_out.wrapping_add(cpu.bytes_out);
            sum.flows_opened = sum.flows_opened.wrapping_add(cpu.flows_opened);
            sum.flows_closed = sum.flows_closed.wrapping_add(cpu.flows_closed);
        }
        Ok(sum)
    }

    /// The programs' counters, all CPUs together.
    ///
    /// # Errors
    /// If the kernel refuses the read.
    pub fn stats(&self) -> Result<Stats, MapError> {
        let mut sum = Stats::default();
        for cpu in self.stats.get(&0, 0)?.iter() {
            sum.merge(cpu);
        }
        Ok(sum)
    }

    /// The IPv4 flows, read one by one while they change.
    pub fn flows4(&self) -> impl Iterator<Item = (FlowKey<V4>, Flow<V4>)> + '_ {
        readable(&self.flows4)
    }

    /// The IPv6 flows, read one by one while they change.
    pub fn flows6(&self) -> impl Iterator<Item = (FlowKey<V6>, Flow<V6>)> + '_ {
        readable(&self.flows6)
    }

    /// Removes an IPv4 flow's entry; false if there is none.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove_flow4(&mut self, key: &FlowKey<V4>) -> Result<bool, MapError> {
        removed(self.flows4.remove(key))
    }

    /// Removes an IPv6 flow's entry; false if there is none.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove_flow6(&mut self, key: &FlowKey<V6>) -> Result<bool, MapError> {
        removed(self.flows6.remove(key))
    }

    /// The client locks that stand.
    pub fn locks(&self) -> impl Iterator<Item = (ClientKey, ClientLock)> + '_ {
        readable(&self.locks)
    }

    /// Removes a client's lock; false if none stands.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove_lock(&mut self, key: &ClientKey) -> Result<bool, MapError> {
        removed(self.locks.remove(key))
    }

    /// Removes all client locks: those of a daemon that is gone hold nobody's packets.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn clear_locks(&mut self) -> Result<(), MapError> {
        let keys: Vec<ClientKey> = self.locks.keys().filter_map(Result::ok).collect();
        keys.iter().try_for_each(|key| absent_is_fine(self.locks.remove(key)))
    }
}

/// An entry that cannot be read is none: whoever looks decides anew, and writing that tells what is wrong.
impl Lookup for Tables {
    fn flow4(&self, key: &FlowKey<V4>) -> Option<Flow<V4>> {
        self.flows4.get(key, 0).ok()
    }

    fn flow6(&self, key: &FlowKey<V6>) -> Option<Flow<V6>> {
        self.flows6.get(key, 0).ok()
    }

    fn client(&self, key: &ClientKey) -> Option<Client> {
        self.clients.get(key, 0).ok()
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::Incomplete(name))
}

/// Entries that vanish while they are being read are left out: the programs keep working on the table.
fn readable<'a, K: Pod, V: Pod, M: Borrow<MapData>>(
    map: &'a HashMap<M, K, V>,
) -> impl Iterator<Item = (K, V)> + use<'a, K, V, M>
where
    HashMap<M, K, V>: IterableMap<K, V>,
{
    map.iter().filter_map(Result::ok)
}

pub(super) fn absent_is_fine(outcome: Result<(), MapError>) -> Result<(), MapError> {
    removed(outcome).map(|_| ())
}

fn removed(outcome: Result<(), MapError>) -> Result<bool, MapError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(MapError::KeyNotFound) => Ok(false),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
