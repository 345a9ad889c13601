//! Services of mode `secure`: TLS ends at the dispatcher, and requests ride TLS tunnels to the backends.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{HeaderPattern, HostPattern, Net, PathPattern, Token};

/// What a service of mode `secure` has besides what every service has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecureSpec {
    /// TLS with clients.
    pub tls: TlsSpec,
    /// How sessions are known, and how long they last.
    #[serde(default)]
    pub session: SessionSpec,
    /// Which requests are secure transactions: those that one of these matches; with no rule all are, for they came by
    /// TLS.
    #[serde(default)]
    pub rules: Vec<SecureRule>,
    /// TLS with backends.
    pub tunnels: TunnelSpec,
    /// Where a plain-HTTP listener answers that the service is at https; on the VIP's address.
    #[serde(default)]
    pub redirect: Option<SocketAddr>,
    /// Where connections come from that start with a PROXY protocol header, version 2, and must.
    #[serde(default)]
    pub proxy_protocol_from: Vec<Net>,
    /// What clients may do.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// Requests in flight at each backend; `None`: as many as its latency allows.
    #[serde(default)]
    pub window: Option<u32>,
}

/// TLS with clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSpec {
    /// One at least. The client's server name chooses; the first one is for names that none has.
    pub certificates: Vec<CertificateSpec>,
    /// What is offered by ALPN, the best first.
    pub alpn: Vec<Alpn>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// PEM file of those who sign clients' certificates.
    pub client_ca: Option<PathBuf>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSpec {
    /// PEM file of the certificate, then those that lead to its root.
    pub chain: PathBuf,
    /// PEM file of the private key; `None`: it is in the chain's file.
    pub key: Option<PathBuf>,
    /// DER file of an OCSP response to staple.
    pub ocsp: Option<PathBuf>,
}

impl CertificateSpec {
    /// The file that holds the private key.
    #[must_use]
    pub fn key_file(&self) -> &PathBuf {
        self.key.as_ref().unwrap_or(&self.chain)
    }
}

/// A protocol that ALPN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Alpn {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http11,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// They are not asked for one.
    None,
    /// They may; one that is shown must be good.
    Optional,
    /// They must.
    Required,
}

/// How sessions are known, and how long they last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSpec {
    /// Name of the cookie.
    pub cookie: Token,
    /// A request header that names the session of clients that keep no cookies.
    pub header: Option<Token>,
    /// How long a session lasts without a request.
    pub idle: Duration,
    /// How long a session lasts at most.
    pub lifetime: Duration,
    /// Sessions at one time; the one that is idle longest makes room.
    pub max_entries: u32,
    /// What becomes of a session whose backend is gone.
    pub lost: LostBackend,
    /// True if backends see the cookie.
    pub pass_cookie: bool,
}

impl Default for SessionSpec {
    fn default() -> Self {
        Self {
            cookie: Token { text: "__Host-sid".to_owned() },
            header: None,
            idle: Duration::from_secs(30 * 60),
            lifetime: Duration::from_secs(12 * 3600),
            max_entries: 65_536,
            lost: LostBackend::Redispatch,
            pass_cookie: false,
        }
    }
}

/// What becomes of a session whose backend is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LostBackend {
    /// Another backend is picked for it.
    Redispatch,
    /// Its requests are answered with 503 until the backend is back.
    Strict,
}

/// Which requests are secure transactions: all that is named must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecureRule {
    /// The request's host.
    pub host: Option<HostPattern>,
    /// The request's path.
    pub path: Option<PathPattern>,
    /// The request's method.
    pub method: Option<Token>,
    /// A field of the request.
    pub header: Option<HeaderPattern>,
}

/// TLS with backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelSpec {
    /// Tunnels to each backend, opened at start and kept.
    pub per_backend: u16,
    /// True if a backend's certificate must be signed by `ca` and be for its name.
    pub verify: bool,
    /// PEM file of those who sign backends' certificates; there if `verify` is set.
    pub ca: Option<PathBuf>,
    /// Name that backends' certificates are for; `None`: each one's address.
    pub server_name: Option<String>,
    /// What the dispatcher shows to backends that ask for a certificate.
    pub certificate: Option<CertificateSpec>,
    /// What is spoken within.
    pub protocol: TunnelProtocol,
    /// How old a tunnel becomes before another takes its place.
    pub max_age: Duration,
    /// True if a tunnel starts with a PROXY protocol header, version 2.
    pub proxy_protocol: bool,
}

impl Default for TunnelSpec {
    fn default() -> Self {
        Self {
            per_backend: 4,
            verify: true,
            ca: None,
            server_name: None,
            certificate: None,
            protocol: TunnelProtocol::Auto,
            max_age: Duration::from_secs(3600),
            proxy_protocol: false,
        }
    }
}

/// What is spoken within a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelProtocol {
    /// HTTP/2 if the backend takes it by ALPN, otherwise HTTP/1.1.
    Auto,
    /// HTTP/2 alone.
    H2,
    /// HTTP/1.1 alone.
    H1,
}

/// What clients may do, so that none takes the service from the others. Each limit is counted where it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsSpec {
    /// Connections in all.
    pub connections: u32,
    /// Connections from one address.
    pub connections_per_source: u32,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// Bytes of a request's line and header.
    pub header_bytes: u32,
    /// Fields of a request's header.
    pub header_count: u16,
    /// How long a request's header may take to arrive.
    pub header_time: Duration,
    /// How long a request's body may pause.
    pub body_pause: Duration,
    /// How long a connection may stay without a request.
    pub idle: Duration,
    /// HTTP/2 streams of a connection at one time.
    pub streams: u32,
    /// HTTP/2 streams that a client has reset and a backend still works on.
    pub resets: u32,
    /// Bytes of a request's body that are taken in before it takes a place at a backend.
    pub buffer: u32,
    /// How long a backend may take until it begins to answer.
    pub response_time: Duration,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            connections: 65_536,
            connections_per_source: 1024,
            handshake: Duration::from_secs(10),
            header_bytes: 32 * 1024,
            header_count: 100,
            header_time: Duration::from_secs(10),
            body_pause: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            streams: 128,
            resets: 32,
            buffer: 64 * 1024,
            response_time: Duration::from_secs(60),
        }
    }
}
