//! The dispatch decision: what happens to a packet, in the order that makes a mapped packet cheapest.
//!
//! ```text
//!  faulty? ──▶ for a service: drop, else pass
//!  flow? ────▶ forward (one lookup, and the backend's row), or pass if TLS ends here (one lookup)
//!  service? ─▶ no: pass
//!  TLS ends here? ─▶ make the flow here, pass
//!  client entry? ─▶ make the flow here, forward (but behind packets of it that may be on their way up)
//!  else place the client's lock, send up
//!  deterministic scheduler, daemon gone, way up full? ─▶ pick by the ring, make the flow here, forward
//! ```

mod local;
mod mapped;
mod place;
mod unmapped;

use crate::{
    address::Family,
    backend::Backend,
    client::{Client, ClientKey},
    client_lock::ClientLock,
    config::Config,
    counter::Counter,
    flow::{Flow, FlowKey},
    parse::Headers,
    service::{Service, ServiceKey},
    verdict::{Upcall, Verdict},
};

pub use mapped::{mapped, towards};
pub use unmapped::{is_foreign, unmapped};

/// The tables that a decision reads and writes, whatever the packet's family.
pub trait Tables {
    /// The service at an address, port and protocol.
    fn service(&self, key: &ServiceKey) -> Option<Service>;
    /// A backend's row; nothing for an ID beyond the table.
    fn backend(&self, id: u16) -> Option<&Backend>;
    /// The backend ID in a slot of a ring, or [`crate::ring::EMPTY`].
    fn ring_slot(&self, ring: u16, slot: usize) -> u16;
    /// A client's entry.
    fn client(&self, key: &ClientKey) -> Option<Client>;
    /// Writes a client's entry.
    fn insert_client(&self, key: &ClientKey, client: &Client);
    /// A client's lock.
    fn lock(&self, key: &ClientKey) -> Option<ClientLock>;
    /// Places a client's lock where none stands.
    fn place_lock(&self, key: &ClientKey, lock: &ClientLock) -> Placed;
    /// Removes a client's lock.
    fn remove_lock(&self, key: &ClientKey);
    /// The daemon's word.
    fn config(&self) -> Config;
    /// Sends the packet being decided up to the daemon; false if there is no room.
    fn send_up(&self, upcall: &Upcall) -> bool;
    /// How far the daemon has consumed the way up, and how far it is filled: positions that only grow.
    fn upcall_positions(&self) -> Positions;
    /// Counts.
    fn count(&self, counter: Counter);
    /// Counts a flow that was opened (true) or closed (false) at a backend.
    fn count_flow(&self, backend: u16, opened: bool);
}

/// The flow table of one family.
pub trait FlowTable<A: Family> {
    /// Visits a flow's entry in place.
    fn with_flow<R>(&self, key: &FlowKey<A>, visit: impl FnOnce(&mut Flow<A>) -> R) -> Option<R>;
    /// Writes the entry that `build` makes; false if the table refuses.
    fn insert_flow(&self, key: &FlowKey<A>, build: impl FnOnce() -> Flow<A>) -> bool;
}

/// What became of a lock that was to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It stands now, and the caller placed it.
    Yes,
    /// Another packet placed one first.
    Stands,
    /// The table is full.
    Full,
}

/// Positions of the way up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Everything below was consumed.
    pub consumed: u64,
    /// Everything below was sent up.
    pub produced: u64,
}

/// Decides what happens to a packet with `headers` at `now_ns` (monotonic clock).
///
/// The same as [`mapped()`], and [`unmapped()`] where that gives nothing. In the kernel the two are programs of their own.
#[inline(always)]
pub fn decide<A: Family, T: Tables + FlowTable<A>>(headers: &Headers<A>, now_ns: u64, tables: &T) -> Verdict<A> {
    mapped(headers, now_ns, tables).unwrap_or_else(|| unmapped(headers, now_ns, tables))
}
