//! What it always answers of sessions, tunnels and QoS classes.

use dispatcher_user::{
    control::api::{
        ClassView, ClientView, CountView, PoolView, Request, Response, SessionView, ShedView, TunnelContextView,
        TunnelView,
    },
    core::{model::Rate, sessions::SessionId},
    failure::{Code, Failure},
};

pub(super) fn to(request: &Request) -> Response {
    match request {
        Request::Sessions(query) => {
            Response::Sessions { items: vec![session(1), without_client()], more: query.limit < 1000 }
        }
        Request::Session { session: id } if *id == SessionId([9; 16]) => {
            let message = format!("there is no session {id}");
            Response::Failed(Failure::new(Code::NOT_FOUND, message).fix("`dispatcher session list` lists them"))
        }
        Request::Session { session: id } if *id == SessionId([2; 16]) => Response::Session(Box::new(without_client())),
        Request::Session { .. } => Response::Session(Box::new(session(1))),
        Request::MoveSessions { .. } => Response::Done { notes: vec!["sessions moved to other backends: 42".into()] },
        Request::Tunnels { .. } => Response::Tunnels { items: tunnels() },
        Request::Pool { .. } => Response::Pool(pool()),
        Request::Classes => Response::Classes { items: classes() },
        Request::SetClass { class, .. } if class == "iron" => Response::Failed(
            Failure::new(Code::NOT_FOUND, "no QoS class is called `iron`").fix("`dispatcher qos list` lists them"),
        ),
        Request::MoveSession { .. }
        | Request::RemoveSession { .. }
        | Request::ResetTunnels { .. }
        | Request::SetClass { .. }
        | Request::Status
        | Request::Services
        | Request::Service { .. }
        | Request::Backends { .. }
        | Request::Change { .. }
        | Request::Flows(_)
        | Request::RemoveFlow { .. }
        | Request::Locks
        | Request::ReleaseLock { .. }
        | Request::Drops
        | Request::ConfigDump
        | Request::LogLevel { .. }
        | Request::Attach { .. }
        | Request::Detach { .. } => Response::Done { notes: Vec::new() },
    }
}

fn context(age_ms: u64) -> TunnelContextView {
    TunnelContextView {
        source: ([10, 77, 1, 1], 43_210).into(),
        destination: ([10, 77, 1, 11], 8443).into(),
        tls: "TLSv1_3".into(),
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        alpn: Some("h2".into()),
        resumed: false,
        age_ms,
    }
}

fn session(number: u8) -> SessionView {
    let client = |port, resumed| ClientView {
        source: ([198, 51, 100, 2], port).into(),
        destination: ([203, 0, 113, 10], 443).into(),
        tls: "TLSv1_3".into(),
        cipher: "TLS13_AES_256_GCM_SHA384".into(),
        group: Some("X25519MLKEM768".into()),
        alpn: Some("h2".into()),
        server_name: Some("shop.example.org".into()),
        resumed,
        certificate: false,
        age_ms: 61_000,
    };
    SessionView {
        id: SessionId([number; 16]),
        service: "shop".into(),
        backend: "b1".into(),
        tunnel: 3,
        tunnel_context: Some(context(1_830_000)),
        clients: vec![client(40_001, true), client(40_000, false)],
        class: "gold".into(),
        requests: 1042,
        bytes: 5_300_000,
        age_ms: 3_720_000,
        idle_ms: 850,
        expires_ms: 1_799_000,
    }
}

fn without_client() -> SessionView {
    let (tunnel_context, clients, class) = (None, Vec::new(), "default".into());
    SessionView { tunnel: 0, tunnel_context, clients, class, idle_ms: 95_000, ..session(2) }
}

fn tunnels() -> Vec<TunnelView> {
    let open = TunnelView {
        service: "shop".into(),
        backend: "b1".into(),
        tunnel: 0,
        state: "open".into(),
        context: Some(context(1_830_000)),
        streams: 12,
        limit: 100,
        requests: 51_234,
        bytes_in: 1_230_000_000,
        bytes_out: 45_000_000,
        round_trip_us: Some(412),
        failures: 0,
        last_error: None,
    };
    let down = TunnelView {
        tunnel: 1,
        state: "down".into(),
        context: None,
        streams: 0,
        limit: 0,
        requests: 0,
        bytes_in: 0,
        bytes_out: 0,
        round_trip_us: None,
        failures: 3,
        last_error: Some("Connection refused (os error 111)".into()),
        ..open.clone()
    };
    vec![open, down]
}

fn pool() -> PoolView {
    let counter = |name: &str, meaning: &str, count| CountView { name: name.into(), meaning: meaning.into(), count };
    PoolView {
        service: "shop".into(),
        backend: "b1".into(),
        address: ([10, 77, 1, 11], 8443).into(),
        verified: true,
        upgraded: 2,
        tunnels: tunnels(),
        counters: vec![
            counter("opened", "Tunnels opened; each is one TLS handshake.", 9),
            counter("handshakes_on_request_path", "Requests that waited for a tunnel to be opened.", 0),
        ],
    }
}

fn classes() -> Vec<ClassView> {
    let shed = |reason: &str, requests| ShedView { reason: reason.into(), requests };
    let default = ClassView {
        name: "default".into(),
        priority: 3,
        weight: 1,
        share_percent: 10,
        queue_entries: 1024,
        queue_bytes: 16_777_216,
        timeout_ms: 5000,
        rate: None,
        client_rate: Some(50),
        waiting: 512,
        waiting_bytes: 1_048_576,
        in_flight: 7,
        wait_p50_us: 480_000,
        wait_p99_us: 1_250_000,
        admitted: 400_000,
        cancelled: 12,
        shed: vec![shed("queue-full", 90), shed("timeout", 0), shed("client-rate", 9)],
    };
    let gold = ClassView {
        name: "gold".into(),
        priority: 0,
        weight: 8,
        share_percent: 0,
        rate: Some(Rate::Bits(500_000_000)),
        client_rate: None,
        waiting: 0,
        waiting_bytes: 0,
        in_flight: 1,
        wait_p50_us: 0,
        wait_p99_us: 9_400,
        admitted: 15_000,
        cancelled: 0,
        shed: vec![shed("queue-full", 0)],
        ..default.clone()
    };
    vec![default, gold]
}
