//! What the core looks up in the kernel's tables: it remembers no flow and no client itself.
//!
//! For it is not alone in making them. The kernel does, by its clients' entries and whenever the daemon is late or the way
//! up is full, and a former daemon did. A packet that had gone up before comes to the core after that, and must follow.

use dispatcher_common::{
    address::{Family, V4, V6},
    client::{Client, ClientKey},
    flow::{Flow, FlowKey},
};

use super::{ahead::Ahead, event::Command};

/// The tables, to be read. All commands that the core gave before are carried out when it reads.
pub trait Lookup {
    /// An IPv4 flow's entry.
    fn flow4(&self, key: &FlowKey<V4>) -> Option<Flow<V4>>;
    /// An IPv6 flow's entry.
    fn flow6(&self, key: &FlowKey<V6>) -> Option<Flow<V6>>;
    /// A client's entry.
    fn client(&self, key: &ClientKey) -> Option<Client>;
}

/// Tables that hold nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Lookup for Nothing {
    fn flow4(&self, _key: &FlowKey<V4>) -> Option<Flow<V4>> {
        None
    }

    fn flow6(&self, _key: &FlowKey<V6>) -> Option<Flow<V6>> {
        None
    }

    fn client(&self, _key: &ClientKey) -> Option<Client> {
        None
    }
}

/// The moment at which the core decides: the time, and the tables as they are.
#[derive(Clone, Copy)]
pub(super) struct Now<'a> {
    /// Monotonic clock, nanoseconds.
    pub(super) ns: u64,
    /// The tables.
    pub(super) tables: &'a dyn Lookup,
}

/// A family whose flows can be read and written.
pub(super) trait Entries: Family {
    /// The flow's entry.
    fn read(tables: &dyn Lookup, key: &FlowKey<Self>) -> Option<Flow<Self>>;
    /// The command that writes an entry.
    fn write(key: FlowKey<Self>, flow: Flow<Self>) -> Command;
    /// Counts one more packet of a flow whose entry is yet to be written.
    fn count(ahead: &mut Ahead<'_>, key: &FlowKey<Self>, bytes: u64);
}

impl Entries for V4 {
    fn read(tables: &dyn Lookup, key: &FlowKey<Self>) -> Option<Flow<Self>> {
        tables.flow4(key)
    }

    fn write(key: FlowKey<Self>, flow: Flow<Self>) -> Command {
        Command::WriteFlow4(key, flow)
    }

    fn count(ahead: &mut Ahead<'_>, key: &FlowKey<Self>, bytes: u64) {
        ahead.count4(key, bytes);
    }
}

impl Entries for V6 {
    fn read(tables: &dyn Lookup, key: &FlowKey<Self>) -> Option<Flow<Self>> {
        tables.flow6(key)
    }

    fn write(key: FlowKey<Self>, flow: Flow<Self>) -> Command {
        Command::WriteFlow6(key, flow)
    }

    fn count(ahead: &mut Ahead<'_>, key: &FlowKey<Self>, bytes: u64) {
        ahead.count6(key, bytes);
    }
}
