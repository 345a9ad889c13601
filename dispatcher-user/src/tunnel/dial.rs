//! Opens one connection: TCP, PROXY header, TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    error::OpenError,
    meter::{Meter, Metered},
    settings::{Protocol, Settings},
    tls,
};

/// Bytes that the kernel may hold of a tunnel and has not sent. They go out before any request that comes later, however
/// urgent, so they are kept few; 128 KiB fill 1 Gbit/s for a millisecond, which is how often a tunnel is looked at.
const UNSENT_BYTES: u32 = 128 * 1024;

/// PROXY protocol version 2, command LOCAL, no addresses (its specification, section 2.2).
const PROXY_LOCAL: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// What a connection agreed on; never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) tls: &'static str,
    pub(super) cipher: &'static str,
    pub(super) alpn: Option<&'static str>,
    /// Whether the TLS session continues an earlier one.
    pub(super) resumed: bool,
}

impl Facts {
    pub(super) fn is_http2(&self) -> bool {
        self.alpn.is_some_and(|alpn| tls::is_http2(Some(alpn.as_bytes())))
    }
}

/// A connection that no HTTP was spoken on yet.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) stream: TlsStream<Metered>,
    pub(super) meter: Arc<Meter>,
    pub(super) facts: Facts,
}

/// Dials the backend and offers `protocol`. The caller bounds the time.
pub(super) async fn dial(settings: &Settings, protocol: Protocol) -> Result<Dialled, OpenError> {
    let mut stream = connect(settings).await.map_err(OpenError::Connect)?;
    let (local, remote) = (stream.local_addr(), stream.peer_addr());
    if settings.proxy_protocol {
        stream.write_all(&PROXY_LOCAL).await.map_err(OpenError::Connect)?;
    }
    let stream = Metered::new(stream);
    let meter = stream.meter();
    let connector = TlsConnector::from(settings.tls.config(protocol));
    let stream = connector.connect(settings.tls.name(), stream).await.map_err(OpenError::Tls)?;
    let (_, session) = stream.get_ref();
    let http2 = tls::is_http2(session.alpn_protocol());
    if protocol == Protocol::Http2 && !http2 {
        return Err(OpenError::NoHttp2);
    }
    let facts = Facts {
        local: local.map_err(OpenError::Connect)?,
        remote: remote.map_err(OpenError::Connect)?,
        tls: session.protocol_version().and_then(|version| version.as_str()).unwrap_or("unknown"),
        cipher: session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown"),
        alpn: session.alpn_protocol().map(|_| if http2 { "h2" } else { "http/1.1" }),
        resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
    };
    Ok(Dialled { stream, meter, facts })
}

async fn connect(settings: &Settings) -> std::io::Result<TcpStream> {
    let socket = if settings.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    let stream = socket.connect(settings.address).await?;
    let options = SockRef::from(&stream);
    options.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    // A backend that is cut off says nothing: a silent tunnel is probed, and what was sent must be acknowledged.
    let probe_every = (settings.keep_alive_timeout / 3).max(Duration::from_secs(1));
    options.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(settings.keep_alive.max(Duration::from_secs(1)))
            .with_interval(probe_every)
            .with_retries(3),
    )?;
    options.set_tcp_user_timeout(Some(settings.keep_alive_timeout))?;
    Ok(stream)
}
