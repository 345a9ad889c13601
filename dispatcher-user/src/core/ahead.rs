//! The tables as they will be: while packets that waited are released, what was decided for one counts for the next.

use std::collections::HashMap;

use dispatcher_common::{
    address::{V4, V6},
    client::{Client, ClientKey},
    flow::{Flow, FlowKey},
};

use super::{event::Command, lookup::Lookup, random::Seeded};

/// A fence that the ring buffer's consumer never reaches. The first packet that finds it goes up and sets a real one.
const UNREACHABLE: u64 = u64::MAX;

/// The moment in which something is changed, and packets that waited may be released.
pub(super) struct Moment<'a> {
    /// Monotonic clock, nanoseconds.
    pub(super) ns: u64,
    /// The tables as they will be.
    pub(super) ahead: Ahead<'a>,
}

/// Tables, and the writes that they do not show yet.
pub(super) struct Ahead<'a> {
    tables: &'a dyn Lookup,
    flows4: HashMap<FlowKey<V4>, Flow<V4>, Seeded>,
    flows6: HashMap<FlowKey<V6>, Flow<V6>, Seeded>,
    clients: HashMap<ClientKey, Client, Seeded>,
}

impl<'a> Ahead<'a> {
    /// Nothing is written beyond what `tables` show.
    pub(super) fn new(tables: &'a dyn Lookup, seed: u64) -> Self {
        let seed = Seeded(seed);
        Self {
            tables,
            flows4: HashMap::with_hasher(seed),
            flows6: HashMap::with_hasher(seed),
            clients: HashMap::with_hasher(seed),
        }
    }

    /// Takes in a write.
    pub(super) fn note(&mut self, command: &Command) {
        if let Command::WriteFlow4(key, flow) = command {
            self.flows4.insert(*key, *flow);
        } else if let Command::WriteFlow6(key, flow) = command {
            self.flows6.insert(*key, *flow);
        } else if let Command::WriteClient(key, client) = command {
            self.clients.insert(*key, *client);
        }
    }

    /// Takes in that one more packet of an IPv4 flow leaves.
    pub(super) fn count4(&mut self, key: &FlowKey<V4>, bytes: u64) {
        if let Some(flow) = self.flows4.get_mut(key) {
            flow.packets = flow.packets.wrapping_add(1);
            flow.bytes = flow.bytes.wrapping_add(bytes);
        }
    }

    /// Takes in that one more packet of an IPv6 flow leaves.
    pub(super) fn count6(&mut self, key: &FlowKey<V6>, bytes: u64) {
        if let Some(flow) = self.flows6.get_mut(key) {
            flow.packets = flow.packets.wrapping_add(1);
            flow.bytes = flow.bytes.wrapping_add(bytes);
        }
    }

    /// The write of a flow's entry with all that was taken in, held until one more of its packets has come up.
    pub(super) fn behind(&self, write: Command) -> Command {
        if let Command::WriteFlow4(key, flow) = write {
            Command::WriteFlow4(key, Flow { fence: UNREACHABLE, ..self.flow4(&key).unwrap_or(flow) })
        } else if let Command::WriteFlow6(key, flow) = write {
            Command::WriteFlow6(key, Flow { fence: UNREACHABLE, ..self.flow6(&key).unwrap_or(flow) })
        } else {
            write
        }
    }
}

impl Lookup for Ahead<'_> {
    fn flow4(&self, key: &FlowKey<V4>) -> Option<Flow<V4>> {
        self.flows4.get(key).copied().or_else(|| self.tables.flow4(key))
    }

    fn flow6(&self, key: &FlowKey<V6>) -> Option<Flow<V6>> {
        self.flows6.get(key).copied().or_else(|| self.tables.flow6(key))
    }

    fn client(&self, key: &ClientKey) -> Option<Client> {
        self.clients.get(key).copied().or_else(|| self.tables.client(key))
    }
}
