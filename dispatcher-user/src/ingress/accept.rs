//! Accepts connections on a VIP: who may come, who the client is, TLS, then HTTP.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout, timeout_at},
};

use super::{
    connection::{Connection, Order},
    counters::EdgeCounters,
    http::{Handler, Http},
    limits::{Census, Refused},
    proxy_protocol::{self, Proxied},
    registry::Registry,
    tls::{TlsAcceptor, TlsContext},
};
use crate::{
    clock,
    core::{
        model::{Alpn, LimitsSpec, Net},
        sessions::SessionId,
    },
};

/// Connections that may wait for a listener; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Rest after the system refused to accept a connection; it usually lacks file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How often connections are looked at whose time may be up.
const SWEEP: Duration = Duration::from_millis(500);
/// Silence before the kernel asks whether a client is still there, and how long it asks.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_RETRY: Duration = Duration::from_secs(10);
/// How long sent bytes may stay unacknowledged before the kernel gives a client up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(90);

/// Opens a socket that listens on `vip`. Several may, and share the connections: one for each core.
///
/// # Errors
/// If the system refuses.
///
/// # Panics
/// Outside a tokio runtime.
pub fn listen(vip: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(vip), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // The VIP is on no interface, and its route may still be on its way.
    match vip.ip() {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
        }
    }
    // Connections inherit what follows from their listener, so it costs them no system call.
    socket.set_tcp_nodelay(true)?;
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_RETRY).with_retries(3))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.bind(&vip.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What may change while connections stand.
#[derive(Debug)]
struct Rules {
    limits: LimitsSpec,
    http: Http,
    /// Balancers in front that say by a PROXY header who their clients are.
    proxies: Vec<Net>,
}

/// The edge of one service: what its listeners share.
#[derive(Debug)]
pub struct Edge<H> {
    /// Nothing on a listener that only redirects.
    tls: Option<TlsAcceptor>,
    rules: ArcSwap<Rules>,
    census: Arc<Census>,
    registry: Arc<Registry>,
    counters: EdgeCounters,
    handler: Arc<H>,
}

impl<H: Handler> Edge<H> {
    /// An edge whose requests `handler` answers. Connections from `proxies` must begin with a PROXY header.
    #[must_use]
    pub fn new(tls: Option<TlsAcceptor>, limits: LimitsSpec, proxies: Vec<Net>, handler: Arc<H>) -> Self {
        Self {
            tls,
            rules: ArcSwap::from_pointee(Rules::new(limits, proxies)),
            census: Arc::default(),
            registry: Arc::default(),
            counters: EdgeCounters::default(),
            handler,
        }
    }

    /// Changes the limits and whose PROXY headers are believed. Connections that stand keep the HTTP limits that they
    /// began with.
    pub fn change(&self, limits: LimitsSpec, proxies: Vec<Net>) {
        self.rules.store(Arc::new(Rules::new(limits, proxies)));
    }

    /// What ends TLS here.
    pub fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    /// What was counted.
    pub fn counters(&self) -> &EdgeCounters {
        &self.counters
    }

    /// The connections that stand.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Accepts from one listener until `stop` turns true or its sender is gone.
    pub async fn accept(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    tokio::spawn(Arc::clone(&self).converse(stream, peer));
                }
                // The client was gone before it was its turn (accept(2)).
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.counters.accept_failed.one();
                    tracing::warn!("cannot accept: {error}");
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Ends connections whose time is up, for ever.
    pub async fn sweep(self: Arc<Self>) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.registry.sweep(&self.rules.load().limits, &self.counters, clock::monotonic_ns());
        }
    }

    /// Lets connections finish what they are at for `grace`, then ends them all.
    pub async fn end(&self, grace: Duration) {
        self.registry.give(Order::Drain);
        if timeout(grace, self.registry.empty()).await.is_err() {
            tracing::warn!(connections = self.census.count(), "connections are cut off, they had {grace:?} to finish");
            self.registry.give(Order::Abort);
            self.registry.empty().await;
        }
    }

    async fn converse(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let rules = self.rules.load_full();
        let Ok(local) = stream.local_addr() else { return };
        let deadline = tokio::time::Instant::now() + rules.limits.handshake;
        // A proxy stands for many clients; the place is its client's, who is known after the header only.
        let (mut stream, mut peer, mut local) = (stream, peer, local);
        if rules.is_proxy(peer.ip()) {
            match timeout_at(deadline, proxy_protocol::read(&mut stream)).await {
                Ok(Ok(Proxied::Client { source, destination })) => (peer, local) = (source, destination),
                Ok(Ok(Proxied::Sender)) => {}
                Ok(Err(error)) => {
                    self.counters.proxy_header.one();
                    return tracing::debug!(%peer, "connection refused: {error}");
                }
                Err(_elapsed) => return self.counters.handshakes_late.one(),
            }
        }
        let _place = match self.census.enter(peer.ip(), &rules.limits) {
            Ok(place) => place,
            Err(Refused::Full) => return self.counters.refused_full.one(),
            Err(Refused::Source) => return self.counters.refused_source.one(),
        };
        self.counters.accepted.one();
        let connection = Arc::new(Connection::new(peer, local, clock::monotonic_ns()));
        let _row = self.registry.enter(&connection);
        let Some(tls) = &self.tls else {
            return rules.http.serve(stream, Alpn::Http11, connection, Arc::clone(&self.handler)).await;
        };
        let fresh = match SessionId::random() {
            Ok(fresh) => fresh,
            Err(failure) => return tracing::error!("no session for a client: {failure}"),
        };
        match timeout_at(deadline, tls.accept(stream, fresh)).await {
            Ok(Ok((stream, context))) => {
                self.count(&context);
                let protocol = context.protocol;
                connection.secured(context);
                rules.http.serve(stream, protocol, connection, Arc::clone(&self.handler)).await;
            }
            Ok(Err(error)) => {
                self.counters.handshakes_failed.one();
                tracing::debug!(%peer, "handshake failed: {error}");
            }
            Err(_elapsed) => self.counters.handshakes_late.one(),
        }
    }

    fn count(&self, context: &TlsContext) {
        if context.is_resumed {
            self.counters.handshakes_resumed.one();
        } else {
            self.counters.handshakes_full.one();
        }
    }
}

impl Rules {
    fn new(limits: LimitsSpec, proxies: Vec<Net>) -> Self {
        Self { http: Http::new(&limits), limits, proxies }
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address.to_canonical()))
    }
}

#[cfg(test)]
mod tests;
