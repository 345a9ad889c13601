//! What a pool is made from: the backend's address, its TLS, and every bound and time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::tls::TlsClient;

/// Everything that a pool must know of its backend.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What logs and errors call the backend: `shop/b1`.
    pub backend: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is verified, and how it verifies us.
    pub tls: TlsClient,
    /// HTTP/2, HTTP/1.1, or whichever the backend has.
    pub protocol: Protocol,
    /// Tunnels that are opened at the start and kept.
    pub kept: usize,
    /// HTTP/1.1 tunnels that may be opened besides, as long as they are needed.
    pub extra: usize,
    /// Requests at once on one HTTP/2 tunnel; the backend's own bound holds as well.
    pub max_streams: u32,
    /// Connections of this backend that became something else (WebSocket), at once.
    pub max_upgraded: usize,
    /// Bytes of a response that the backend may send ahead of the client, for each request on an HTTP/2 tunnel.
    pub stream_window: u32,
    /// Age at which a tunnel is replaced; a tenth of it is random, so that not all are replaced at once.
    pub max_age: Duration,
    /// How long a replaced tunnel may take to finish its requests before it is cut.
    pub drain: Duration,
    /// How long TCP, TLS and the first exchange may take together.
    pub connect_timeout: Duration,
    /// How often an HTTP/2 tunnel is pinged, and when TCP probes a silent connection.
    pub keep_alive: Duration,
    /// How long a ping, or data that was sent, may stay without an answer.
    pub keep_alive_timeout: Duration,
    /// How long an extra tunnel may stay without a request.
    pub extra_idle: Duration,
    /// The wait after a first failure to open a tunnel; it doubles with each that follows.
    pub backoff_first: Duration,
    /// The longest wait.
    pub backoff_longest: Duration,
    /// What a client's cancelling may still cost on an HTTP/1.1 tunnel before the tunnel is given up instead.
    pub remainder: Remainder,
    /// Whether a tunnel begins with a PROXY v2 header.
    ///
    /// A tunnel carries the requests of many clients, so the header can name none of them: it says LOCAL, which asks the
    /// backend to take the connection's own addresses. Clients' addresses travel in `forwarded` and `x-forwarded-for`.
    pub proxy_protocol: bool,
}

impl Settings {
    /// The defaults, for a backend that `tls` verifies.
    pub fn new(backend: impl Into<Arc<str>>, address: SocketAddr, tls: TlsClient) -> Self {
        Self {
            backend: backend.into(),
            address,
            tls,
            protocol: Protocol::Auto,
            kept: 4,
            extra: 60,
            max_streams: 256,
            max_upgraded: 10_000,
            stream_window: 256 * 1024,
            max_age: Duration::from_secs(3600),
            drain: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
            extra_idle: Duration::from_secs(60),
            backoff_first: Duration::from_millis(100),
            backoff_longest: Duration::from_secs(5),
            remainder: Remainder { bytes: 64 * 1024, time: Duration::from_secs(2) },
            proxy_protocol: false,
        }
    }

    /// Bytes that all requests of an HTTP/2 tunnel may have received and not passed on.
    ///
    /// It is as much as all of them may have together. With less, a few clients that read slowly would use up what the
    /// others need, and hold a whole tunnel.
    pub(super) fn connection_window(&self) -> u32 {
        /// RFC 9113, section 6.9.1.
        const LARGEST: u32 = (1 << 31) - 1;
        self.stream_window.saturating_mul(self.max_streams).min(LARGEST)
    }
}

/// Which HTTP the kept tunnels speak. It is agreed with the backend in the TLS handshake (ALPN).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 if the backend has it, HTTP/1.1 otherwise.
    #[default]
    Auto,
    /// HTTP/2 or nothing.
    Http2,
    /// HTTP/1.1 or nothing.
    Http1,
}

/// The rest of an answer that nobody waits for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// Bytes that are read and thrown away.
    pub bytes: u64,
    /// How long that, and the backend's work before it, may take.
    pub time: Duration,
}
