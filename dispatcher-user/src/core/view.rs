//! What the core shows of itself: the load-balancing table and the packets it has in hand, ready to be serialised.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::model::{AdminState, Affinity, Forward, Protocol, Scheduler};

/// Everything the core shows, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken; monotonic clock, nanoseconds.
    pub taken_ns: u64,
    /// Services in the order of their IDs.
    pub services: Vec<ServiceView>,
    /// Packets that wait for a backend.
    pub held_packets: usize,
    /// Client locks that stand because their clients' packets wait.
    pub pending_locks: usize,
    /// What became of the packets that came up.
    pub counters: Counters,
}

/// What became of the packets that came up, since the core was made.
///
/// Every packet is counted once among `injected`, the `drop_…` fields and the packets held at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Packets that came up.
    pub upcalls: u64,
    /// Packets sent on to a backend.
    pub injected: u64,
    /// Flows given to a backend.
    pub flows_picked: u64,
    /// Flows given to the backend that their client has, without a pick of their own.
    pub flows_by_affinity: u64,
    /// Packets that had to wait for a backend.
    pub waited: u64,
    /// Not a packet of TCP or UDP that can be dispatched.
    pub drop_unreadable: u64,
    /// Its TTL or hop limit ends here.
    pub drop_ttl_expired: u64,
    /// A TCP reset that belongs to no flow.
    pub drop_reset_without_flow: u64,
    /// For a service that is not, or no longer, there.
    pub drop_no_service: u64,
    /// No backend became usable in time.
    pub drop_hold_timeout: u64,
    /// Too many packets waited already, of its client or in all.
    pub drop_hold_overflow: u64,
    /// Its backends could not tell its flow from another one.
    pub drop_tuple_conflict: u64,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Service ID.
    pub id: u16,
    /// Name.
    pub name: String,
    /// The VIP and its port.
    pub vip: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The rule that chooses a backend for a new flow.
    pub scheduler: Scheduler,
    /// How packets reach the backend.
    pub forward: Forward,
    /// Whether a client's new flows return to its backend.
    pub affinity: Affinity,
    /// How long a client is remembered after its last new flow.
    pub affinity_timeout: Duration,
    /// Row of `dsp_rings` in force.
    pub ring: u16,
    /// Packets that wait for a backend of this service.
    pub held_packets: usize,
    /// Backends in the order in which they were added.
    pub backends: Vec<BackendView>,
}

/// A backend's line of the load-balancing table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendView {
    /// Backend ID.
    pub id: u16,
    /// Tells it from others that had the ID before.
    pub generation: u16,
    /// Name, unique within its service.
    pub name: String,
    /// Address and port.
    pub address: SocketAddr,
    /// What the operator wants.
    pub state: AdminState,
    /// What the dispatcher sees.
    pub health: Health,
    /// Share of new flows.
    pub weight: u16,
    /// True if it is given new flows now.
    pub takes_flows: bool,
    /// Live flows.
    pub live_flows: u64,
    /// Flows that it was given since it was added.
    pub picks: u64,
    /// Packets sent to it since it was added.
    pub packets_in: u64,
    /// Bytes of those packets.
    pub bytes_in: u64,
    /// Packets of it sent back to clients.
    pub packets_out: u64,
    /// Bytes of those packets.
    pub bytes_out: u64,
    /// Bytes per second, both directions, smoothed.
    pub bytes_per_second: f64,
    /// New flows per second, smoothed.
    pub flows_per_second: f64,
    /// How frames reach it; the last known way if it is lost, nothing if it was never found.
    pub neighbour: Option<NeighbourView>,
}

/// What the dispatcher sees of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Its neighbour was not asked for yet, or has not answered yet.
    Unknown,
    /// It can be reached.
    Up,
    /// It cannot be reached.
    Down,
}

/// The next hop towards a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourView {
    /// Interface to leave by.
    pub ifindex: u32,
    /// MAC address of the backend, or of the gateway to it.
    pub mac: String,
    /// MAC address of our interface.
    pub source_mac: String,
}
