//! The rows of sessions, tunnels and QoS classes.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::core::{model::Rate, sessions::SessionId};

/// A session of a service of mode `secure`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its ID.
    pub id: SessionId,
    /// Service name.
    pub service: String,
    /// Name of the backend that has it.
    pub backend: String,
    /// Which of the backend's tunnels its requests ride.
    pub tunnel: u16,
    /// What that tunnel has agreed on; `None` if it is not open.
    pub tunnel_context: Option<TunnelContextView>,
    /// The client's TLS connections that stand, the latest first.
    pub clients: Vec<ClientView>,
    /// QoS class.
    pub class: String,
    /// Requests so far.
    pub requests: u64,
    /// Bytes of them and of their answers.
    pub bytes: u64,
    /// Since the session began.
    pub age_ms: u64,
    /// Since its last request.
    pub idle_ms: u64,
    /// Until it ends if no request comes.
    pub expires_ms: u64,
}

/// What a client's TLS connection has agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientView {
    /// The client's address.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
    /// Version of TLS: `TLSv1_3`.
    pub tls: String,
    /// Cipher suite, as IANA names it.
    pub cipher: String,
    /// Group of the key exchange; `None` where TLS 1.2 resumed.
    pub group: Option<String>,
    /// What ALPN chose.
    pub alpn: Option<String>,
    /// The server name that the client asked for.
    pub server_name: Option<String>,
    /// True if the client resumed an earlier TLS session.
    pub resumed: bool,
    /// True if the client showed a certificate that is good.
    pub certificate: bool,
    /// Since the connection was accepted.
    pub age_ms: u64,
}

/// What a tunnel has agreed on with its backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelContextView {
    /// The dispatcher's address.
    pub source: SocketAddr,
    /// The backend's address.
    pub destination: SocketAddr,
    /// Version of TLS: `TLSv1_3`.
    pub tls: String,
    /// Cipher suite, as IANA names it.
    pub cipher: String,
    /// What ALPN chose; `None`: the backend did not say, which means HTTP/1.1.
    pub alpn: Option<String>,
    /// True if it resumed an earlier TLS session.
    pub resumed: bool,
    /// Since it was opened.
    pub age_ms: u64,
}

/// A tunnel, or a place for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelView {
    /// Service name.
    pub service: String,
    /// Backend name.
    pub backend: String,
    /// Its number. One that is replaced has the number of the new one until its requests are answered.
    pub tunnel: u16,
    /// `open`, `draining`, `opening` or `down`.
    pub state: String,
    /// What was agreed on; `None` if it is not open.
    pub context: Option<TunnelContextView>,
    /// Requests under way.
    pub streams: u32,
    /// Requests that it may carry at one time.
    pub limit: u32,
    /// Requests that it has carried.
    pub requests: u64,
    /// Bytes from the backend, TLS included.
    pub bytes_in: u64,
    /// Bytes to the backend, TLS included.
    pub bytes_out: u64,
    /// How long the backend took to answer the last ping; HTTP/2 alone has pings.
    pub round_trip_us: Option<u64>,
    /// Failures to open it since it was open last.
    pub failures: u32,
    /// What the last of them was, or why the last tunnel ended.
    pub last_error: Option<String>,
}

/// A backend's tunnels, and what happened to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// Service name.
    pub service: String,
    /// Backend name.
    pub backend: String,
    /// The backend's address and port.
    pub address: SocketAddr,
    /// False if whoever answers there is taken for the backend.
    pub verified: bool,
    /// Connections that became something else, such as a WebSocket, and still stand.
    pub upgraded: u64,
    /// The tunnels.
    pub tunnels: Vec<TunnelView>,
    /// What happened since the backend was added.
    pub counters: Vec<CountView>,
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountView {
    /// Its name.
    pub name: String,
    /// What one count means.
    pub meaning: String,
    /// The count.
    pub count: u64,
}

/// A QoS class, over all backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassView {
    /// Name.
    pub name: String,
    /// 0 goes first.
    pub priority: u8,
    /// Share among classes of the same priority.
    pub weight: u16,
    /// Percent of each backend that are sure to it.
    pub share_percent: u8,
    /// Requests that may wait at a backend.
    pub queue_entries: u32,
    /// Bytes of them.
    pub queue_bytes: u64,
    /// How long a request may wait.
    pub timeout_ms: u64,
    /// What it may have in all.
    pub rate: Option<Rate>,
    /// Requests a second that each client may have.
    pub client_rate: Option<u64>,
    /// Requests that wait now.
    pub waiting: u64,
    /// Bytes of them.
    pub waiting_bytes: u64,
    /// Requests at backends now.
    pub in_flight: u64,
    /// Median wait of those admitted lately.
    pub wait_p50_us: u64,
    /// What 99 of 100 of them waited at most.
    pub wait_p99_us: u64,
    /// Requests let through to a backend.
    pub admitted: u64,
    /// Requests whose clients left, while they waited or while they were at a backend.
    pub cancelled: u64,
    /// Requests refused, by reason.
    pub shed: Vec<ShedView>,
}

impl ClassView {
    /// Requests refused.
    #[must_use]
    pub fn shed_in_all(&self) -> u64 {
        self.shed.iter().fold(0, |sum, shed| sum.saturating_add(shed.requests))
    }
}

/// Requests of a class that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShedView {
    /// `queue-full`, `timeout`, `deadline`, `class-rate`, `client-rate` or `closed`.
    pub reason: String,
    /// Requests.
    pub requests: u64,
}
