//! The rows of what a daemon answers; the command line's JSON shows them exactly as they are here.

mod request;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    config::{AttachMode, LogLevel},
    core::{
        model::{AdminState, Affinity, Forward, Protocol, Scheduler},
        view::Health,
    },
};

pub use self::request::{
    ClassView, ClientView, CountView, PoolView, SessionView, ShedView, TunnelContextView, TunnelView,
};

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of the program.
    pub version: String,
    /// Process ID.
    pub pid: u32,
    /// How long it runs.
    pub uptime_ms: u64,
    /// This dispatcher's number.
    pub node: u16,
    /// Interfaces it is attached to.
    pub interfaces: Vec<InterfaceView>,
    /// Services it has.
    pub services: u64,
    /// Backends of all services.
    pub backends: u64,
    /// Live flows of all backends, as of the last pass over the flow tables.
    pub flows: u64,
    /// Entries of the IPv4 flow table, as of that pass; a `nat` flow has two.
    pub flow_entries4: u64,
    /// Entries of the IPv6 flow table, as of that pass.
    pub flow_entries6: u64,
    /// Capacity of each flow table.
    pub flow_capacity: u64,
    /// Packets that came up, since the tables were made.
    pub upcalls: u64,
    /// Packets that are held now.
    pub held: u64,
    /// Packets that were not held because a bound was reached.
    pub held_overflow: u64,
    /// Until when XDP sends first packets up: the heartbeat; 0 if it has stopped.
    pub heartbeat_remaining_ms: u64,
    /// Until when XDP places new flows; `None`: without end.
    pub lease_remaining_ms: Option<u64>,
    /// What is logged.
    pub log: LogLevel,
}

/// An interface that the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Name.
    pub name: String,
    /// How.
    pub mode: AttachMode,
    /// The interface's driver, as ethtool names it; empty if unknown.
    pub driver: String,
    /// Where the link is pinned; `None` if it ends with the daemon.
    pub link_pin: Option<String>,
}

/// A service and what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// ID, by which tables name it.
    pub id: u16,
    /// Name.
    pub name: String,
    /// The VIP and port.
    pub vip: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// `packet` or `secure`.
    pub mode: String,
    /// The rule that chooses a backend.
    pub scheduler: Scheduler,
    /// How packets reach the backend.
    pub forward: Forward,
    /// What leads back to a backend.
    pub affinity: Affinity,
    /// How long a client is remembered; in mode `secure`, how long a session may be idle.
    pub affinity_timeout_ms: u64,
    /// Backends it has.
    pub backends: u64,
    /// Backends that take new flows now.
    pub backends_available: u64,
    /// Live flows, as of the last pass over the flow tables.
    pub flows: u64,
}

/// A backend's row of the load-balancing table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendView {
    /// ID, by which tables name it.
    pub id: u16,
    /// Service name.
    pub service: String,
    /// Backend name.
    pub name: String,
    /// Address and port.
    pub address: SocketAddr,
    /// What the operator wants.
    pub state: AdminState,
    /// What the dispatcher sees.
    pub health: Health,
    /// Share of new flows.
    pub weight: u16,
    /// Live flows: at the last pass over the flow tables, and picks since.
    pub flows: u64,
    /// How often it was picked.
    pub picks: u64,
    /// Traffic of it, both directions; bytes a second, averaged.
    pub rate: u64,
    /// Packets sent to it.
    pub packets_in: u64,
    /// Bytes of those.
    pub bytes_in: u64,
    /// Packets it sent back through the dispatcher.
    pub packets_out: u64,
    /// Bytes of those.
    pub bytes_out: u64,
}

/// One direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowView {
    /// Source address.
    pub src: IpAddr,
    /// Source port.
    pub sport: u16,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port.
    pub dport: u16,
    /// Transport protocol.
    pub proto: Protocol,
    /// Service name.
    pub service: String,
    /// Backend name; nothing if TLS ends here, and no one backend has the flow.
    pub backend: Option<String>,
    /// Where packets of it go: `backend-nat`, `backend-dsr`, `client` or `local`.
    pub target: String,
    /// `held`, `syn`, `established`, `closing` or `closed`.
    pub state: String,
    /// Packets seen.
    pub packets: u64,
    /// Bytes seen.
    pub bytes: u64,
    /// Since the last packet.
    pub idle_ms: u64,
}

/// A client lock that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockView {
    /// The client.
    pub client: IpAddr,
    /// Service name.
    pub service: String,
    /// The locking dispatcher's number.
    pub node: u16,
    /// Until it stops counting by itself.
    pub expires_ms: u64,
}

/// The count of one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropView {
    /// Name of the counter in `dsp_stats`.
    pub reason: String,
    /// What one count means.
    pub meaning: String,
    /// Packets.
    pub packets: u64,
}
