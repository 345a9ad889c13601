//! Serves HTTP/1.1 with keep-alive and HTTP/2, plain or over TLS, one task a connection.

use super::{
    Backend,
    reply::{self, Peer, Reply},
    tls,
};
use hyper::{Request, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

/// Connections that wait to be accepted; a burst of first packets is the point of the lab.
const BACKLOG: u32 = 8192;
const RETRY_ACCEPT_AFTER: Duration = Duration::from_millis(50);

/// How the connections of a listener are served.
#[derive(Clone)]
pub(super) struct Manner {
    pub(super) backend: Arc<Backend>,
    /// Over TLS.
    pub(super) tls: Option<TlsAcceptor>,
    /// By the workers alone.
    pub(super) limited: bool,
}

/// Listens for connections.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves every connection, for ever.
pub(super) async fn accept(listener: TcpListener, manner: Manner) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => drop(tokio::spawn(converse(stream, client, manner.clone()))),
            Err(error) => {
                // Out of descriptors, mostly: connections that end give some back.
                eprintln!("cannot accept a connection: {error}");
                sleep(RETRY_ACCEPT_AFTER).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, client: SocketAddr, manner: Manner) {
    // Answers are written whole; waiting for more to send would only delay their last piece.
    stream.set_nodelay(true).ok();
    // A socket on [::] shows IPv4 clients as ::ffff:a.b.c.d.
    let address = SocketAddr::new(client.ip().to_canonical(), client.port());
    let Manner { backend, tls, limited } = manner;
    match tls {
        None => serve(stream, Peer { address, tls: None }, backend, limited).await,
        Some(acceptor) => {
            if let Some((stream, agreed)) = tls::handshake(&acceptor, stream).await {
                serve(stream, Peer { address, tls: Some(agreed) }, backend, limited).await;
            }
        }
    }
}

async fn serve<S>(stream: S, peer: Peer, backend: Arc<Backend>, limited: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(peer);
    let service = service_fn(|request| {
        let (peer, backend) = (Arc::clone(&peer), Arc::clone(&backend));
        async move { Ok::<_, Infallible>(answer(request, peer, backend, limited).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    // A client that goes away in the middle is its own business.
    let _outcome = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, peer: Arc<Peer>, backend: Arc<Backend>, limited: bool) -> Reply {
    if !limited {
        return reply::reply(request, &peer, &backend).await;
    }
    let workers = Arc::clone(&backend.workers);
    let reply = workers.work(async move { reply::reply(request, &peer, &backend).await }).await;
    reply.unwrap_or_else(|| reply::refusal(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait"))
}
