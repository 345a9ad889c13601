//! A tunnel as an operator sees it, and what a pool has counted; ready to be serialised.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// All tunnels of one backend, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolView {
    /// What the backend is called: `shop/b1`.
    pub backend: String,
    /// Its address.
    pub address: SocketAddr,
    /// False if whoever answers is taken for the backend.
    pub verified: bool,
    /// Tunnels, and slots that want one, by slot.
    pub tunnels: Vec<TunnelView>,
    /// Connections that became something else (WebSocket) and still live.
    pub upgraded: usize,
    /// What happened since the pool was made.
    pub counters: Counters,
}

/// How many tunnels a backend has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// They take requests.
    pub open: usize,
    /// They take no more requests, and finish those that they have.
    pub draining: usize,
}

/// A tunnel's context, or a slot that has no tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelView {
    /// Its slot. A slot has a second tunnel while the first finishes its requests.
    pub slot: usize,
    /// What it does now.
    pub state: TunnelState,
    /// What was agreed on when it was opened; nothing if it is not open.
    pub context: Option<Context>,
    /// Requests under way.
    pub streams: u32,
    /// Requests that it may carry at once.
    pub limit: u32,
    /// Requests that it has carried.
    pub requests: u64,
    /// Bytes from the backend, TLS included.
    pub bytes_in: u64,
    /// Bytes to the backend, TLS included.
    pub bytes_out: u64,
    /// How long the backend took to answer the last ping, in microseconds; HTTP/2 alone has pings.
    pub round_trip_us: Option<u64>,
    /// Failures to open it since it was open last.
    pub failures: u32,
    /// What the last of them was, or why the last tunnel ended.
    pub last_error: Option<String>,
}

/// What a tunnel agreed on with its backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Our address.
    pub local: SocketAddr,
    /// The backend's.
    pub remote: SocketAddr,
    /// Version of TLS: `TLSv1_3`.
    pub tls: String,
    /// Cipher suite, as IANA names it.
    pub cipher: String,
    /// The protocol agreed on: `h2` or `http/1.1`; nothing if the backend did not say one, which means HTTP/1.1.
    pub alpn: Option<String>,
    /// Whether the TLS session continues an earlier one.
    pub resumed: bool,
    /// When it was opened; monotonic clock, nanoseconds.
    pub opened_ns: u64,
}

/// What a tunnel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelState {
    /// It takes requests.
    Open,
    /// It takes no more requests, and finishes those that it has.
    Draining,
    /// It is being opened.
    Opening,
    /// It could not be opened; it is tried again.
    Down,
}

/// What happened in a pool since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests sent.
    pub requests: u64,
    /// Tunnels opened; each is one TLS handshake.
    pub opened: u64,
    /// Those of them that resumed a TLS session.
    pub resumed: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Tunnels replaced for their age, or because an operator asked.
    pub renewed: u64,
    /// Tunnels that the backend asked to leave (GOAWAY).
    pub left: u64,
    /// Tunnels that ended without notice.
    pub lost: u64,
    /// Tunnels closed because the backend did not answer a ping.
    pub unanswered_pings: u64,
    /// Replaced tunnels that were cut with requests on them, because these took too long.
    pub cut: u64,
    /// Requests that had to wait because every tunnel was full or down.
    pub waited: u64,
    /// Those of them that waited for a tunnel to be opened: 0 in steady state.
    pub handshakes_on_request_path: u64,
    /// Requests on HTTP/1.1 that their clients cancelled, and whose tunnel could be kept.
    pub cancelled_and_kept: u64,
    /// Those whose tunnel was given up, because the rest of the answer was too long or too late.
    pub cancelled_and_closed: u64,
    /// Connections that became something else (WebSocket).
    pub upgrades: u64,
}
