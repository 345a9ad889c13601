//! What the request path shows of tunnels, QoS classes, clients' connections and backends' loads.

use std::sync::Arc;

use super::{RequestPath, live::Live};
use crate::{
    clock,
    control::api::{ClassView, ClientView, CountView, PoolView, ShedView, TunnelContextView, TunnelView},
    core::{
        model::{AdminState, Alpn, Rate},
        sessions::SessionId,
        view::{Health, Snapshot},
    },
    ingress::{connection::Connection, service::Backend, tls::TlsContext},
    qos::view::{ClassView as Class, ShedCounts},
    tunnel::context::{self, Counters, TunnelState},
};

const MILLISECOND_NS: u64 = 1_000_000;

impl RequestPath {
    /// Completes a snapshot of the core, which knows packets: what requests and tunnels say of the backends.
    pub(in crate::daemon) fn complete(&self, snapshot: &mut Snapshot) {
        for service in &mut snapshot.services {
            let Some(live) = self.services.get(&service.id) else { continue };
            for backend in &mut service.backends {
                backend.health = live.roster.health(backend.id);
                let is_ready = backend.state == AdminState::Ready && backend.weight > 0;
                backend.takes_flows = is_ready && backend.health == Health::Up;
                if let Some(load) = live.service.balancer().load(snapshot.taken_ns, backend.id) {
                    backend.live_flows = u64::from(load.in_flight);
                    backend.picks = load.requests;
                }
            }
        }
    }

    /// The tunnels of all services, or of one.
    pub(in crate::daemon) fn tunnels(&self, service: Option<&str>) -> Vec<TunnelView> {
        let live = self.services.values().filter(|live| service.is_none_or(|name| *live.service.name == *name));
        live.flat_map(|live| live.backends().flat_map(|backend| tunnels(live, backend))).collect()
    }

    /// A backend's tunnels, and what happened to them.
    pub(in crate::daemon) fn pool(&self, service: &str, backend: &str) -> Option<PoolView> {
        let (live, backend) = self.find(service, backend)?;
        let pool = backend.tunnels.view();
        Some(PoolView {
            service: live.service.name.to_string(),
            backend: backend.name.to_string(),
            address: pool.address,
            verified: pool.verified,
            upgraded: count(pool.upgraded),
            tunnels: tunnels(live, backend),
            counters: counters(&pool.counters),
        })
    }

    /// Replaces a tunnel of a backend, or all of them; nothing if there is no such backend, false if no such tunnel.
    pub(in crate::daemon) fn reset(&self, service: &str, backend: &str, tunnel: Option<u16>) -> Option<bool> {
        let (_, backend) = self.find(service, backend)?;
        Some(backend.tunnels.reset(tunnel.map(usize::from)))
    }

    /// The QoS classes.
    pub(in crate::daemon) fn classes(&self) -> Vec<ClassView> {
        self.shared.classes.view().into_iter().map(class).collect()
    }

    /// What the tunnel of a session has agreed on.
    pub(super) fn tunnel_context(&self, service: u16, backend: u16, tunnel: u16) -> Option<TunnelContextView> {
        let live = self.services.get(&service)?;
        let backend = live.backends().find(|known| known.id == backend)?;
        let open = |view: &context::TunnelView| view.slot == usize::from(tunnel) && view.state == TunnelState::Open;
        backend.tunnels.view().tunnels.into_iter().find(open)?.context.map(tunnel_context)
    }

    /// The connections that stand on which a session was used last, the latest first.
    pub(super) fn clients(&self, service: u16, session: SessionId) -> Vec<ClientView> {
        let Some(live) = self.services.get(&service) else { return Vec::new() };
        let mut connections = live.edge.registry().connections();
        connections.retain(|connection| connection.session() == Some(session));
        connections.sort_by_key(|connection| std::cmp::Reverse(connection.opened_ns));
        connections.iter().filter_map(|connection| Some(client(connection, connection.tls()?))).collect()
    }

    fn find(&self, service: &str, backend: &str) -> Option<(&Live, &Arc<Backend>)> {
        let live = self.services.values().find(|live| *live.service.name == *service)?;
        live.backends().find(|known| *known.name == *backend).map(|backend| (live, backend))
    }
}

fn tunnels(live: &Live, backend: &Backend) -> Vec<TunnelView> {
    let view = |tunnel: context::TunnelView| TunnelView {
        service: live.service.name.to_string(),
        backend: backend.name.to_string(),
        tunnel: u16::try_from(tunnel.slot).unwrap_or(u16::MAX),
        state: state(tunnel.state).to_owned(),
        context: tunnel.context.map(tunnel_context),
        streams: tunnel.streams,
        limit: tunnel.limit,
        requests: tunnel.requests,
        bytes_in: tunnel.bytes_in,
        bytes_out: tunnel.bytes_out,
        round_trip_us: tunnel.round_trip_us,
        failures: tunnel.failures,
        last_error: tunnel.last_error,
    };
    backend.tunnels.view().tunnels.into_iter().map(view).collect()
}

fn state(state: TunnelState) -> &'static str {
    match state {
        TunnelState::Open => "open",
        TunnelState::Draining => "draining",
        TunnelState::Opening => "opening",
        TunnelState::Down => "down",
    }
}

fn tunnel_context(context: context::Context) -> TunnelContextView {
    TunnelContextView {
        source: context.local,
        destination: context.remote,
        tls: context.tls,
        cipher: context.cipher,
        alpn: context.alpn,
        resumed: context.resumed,
        age_ms: age_ms(context.opened_ns),
    }
}

fn client(connection: &Connection, tls: &TlsContext) -> ClientView {
    ClientView {
        source: connection.peer,
        destination: connection.local,
        tls: tls.version.to_owned(),
        cipher: tls.cipher.to_owned(),
        group: tls.group.map(str::to_owned),
        alpn: Some(if tls.protocol == Alpn::H2 { "h2" } else { "http/1.1" }.to_owned()),
        server_name: tls.server_name.as_deref().map(str::to_owned),
        resumed: tls.is_resumed,
        certificate: tls.has_certificate,
        age_ms: age_ms(connection.opened_ns),
    }
}

fn class(class: Class) -> ClassView {
    let counts = class.counts;
    ClassView {
        name: class.name,
        priority: class.priority,
        weight: class.weight,
        share_percent: class.share_percent,
        queue_entries: class.queue.entries,
        queue_bytes: class.queue.bytes,
        timeout_ms: class.timeout_ms,
        rate: class.rate.map(|rate| Rate::Requests(u64::from(rate))),
        client_rate: class.client_rate.map(u64::from),
        waiting: class.depth,
        waiting_bytes: class.bytes,
        in_flight: class.in_flight,
        wait_p50_us: class.wait_p50_us,
        wait_p99_us: class.wait_p99_us,
        admitted: counts.admitted,
        cancelled: counts.abandoned.saturating_add(counts.gave_up),
        shed: shed(&counts.shed),
    }
}

fn shed(counts: &ShedCounts) -> Vec<ShedView> {
    let ShedCounts { queue_full, timeout, deadline, class_rate, client_rate, closed } = *counts;
    let named = [
        ("queue-full", queue_full),
        ("timeout", timeout),
        ("deadline", deadline),
        ("class-rate", class_rate),
        ("client-rate", client_rate),
        ("closed", closed),
    ];
    named.map(|(reason, requests)| ShedView { reason: reason.to_owned(), requests }).into()
}

fn counters(counters: &Counters) -> Vec<CountView> {
    let named = [
        ("requests", "Requests sent.", counters.requests),
        ("opened", "Tunnels opened; each is one TLS handshake.", counters.opened),
        ("resumed", "Those of them that resumed a TLS session.", counters.resumed),
        ("failed", "Attempts that failed.", counters.failed),
        ("renewed", "Tunnels replaced for their age, or because an operator asked.", counters.renewed),
        ("left", "Tunnels that the backend asked to leave (GOAWAY).", counters.left),
        ("lost", "Tunnels that ended without notice.", counters.lost),
        ("unanswered_pings", "Tunnels closed because a ping was not answered.", counters.unanswered_pings),
        ("cut", "Replaced tunnels that were cut with requests on them.", counters.cut),
        ("waited", "Requests that waited because every tunnel was full or down.", counters.waited),
        (
            "handshakes_on_request_path",
            "Those of them that waited for a tunnel to be opened: 0 in steady state.",
            counters.handshakes_on_request_path,
        ),
        ("cancelled_and_kept", "HTTP/1.1 requests cancelled, whose tunnel was kept.", counters.cancelled_and_kept),
        ("cancelled_and_closed", "Those whose tunnel was given up.", counters.cancelled_and_closed),
        ("upgrades", "Connections that became something else, such as a WebSocket.", counters.upgrades),
    ];
    let view = |(name, meaning, count): (&str, &str, u64)| CountView {
        name: name.to_owned(),
        meaning: meaning.to_owned(),
        count,
    };
    named.map(view).into()
}

fn age_ms(since_ns: u64) -> u64 {
    clock::monotonic_ns().saturating_sub(since_ns) / MILLISECOND_NS
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
