//! What the daemon behind the command line always answers.

mod requests;

use dispatcher_user::{
    config::{AttachMode, LogLevel},
    control::api::{
        BackendView, DropView, FlowView, Health, InterfaceView, LockView, Request, Response, ServiceView, StatusView,
    },
    core::model::{AdminState, Affinity, Forward, Protocol, Scheduler},
    failure::{Code, Failure},
};

/// The answer to a request; counters have grown since they were first asked for.
pub(super) fn to(request: &Request, drops_asked: u64) -> Response {
    match request {
        Request::Status => Response::Status(status()),
        Request::Services => Response::Services { items: vec![web(), dns()] },
        Request::Service { service } if service == "web" => Response::Service { service: web(), backends: backends() },
        Request::Service { service } => {
            let message = format!("no service is called `{service}`");
            Response::Failed(Failure::new(Code::NOT_FOUND, message).fix("`dispatcher service list` lists them"))
        }
        Request::Backends { .. } => Response::Backends { items: backends() },
        Request::Flows(query) => Response::Flows { items: flows(), more: query.limit < 1000 },
        Request::Locks => Response::Locks { items: locks() },
        Request::Drops => Response::Drops { items: drops(drops_asked) },
        Request::ConfigDump => Response::Config { toml: "[daemon]\nlog = \"info\"\n".into() },
        Request::Attach { interface, .. } if interface == "eth9" => Response::Failed(
            Failure::new(Code::CANNOT_ATTACH, "cannot attach to eth9 in native mode")
                .cause("kernel: veth: Peer MTU is too large to set XDP.")
                .fix("lower the peer's MTU, or run with --mode generic (slower)"),
        ),
        Request::Detach { interface } => {
            let notes = vec![format!("detached from {}", interface.as_deref().unwrap_or("eth0, eth1"))];
            Response::Done { notes }
        }
        Request::Change { .. } | Request::Attach { .. } => Response::Done { notes: Vec::new() },
        Request::RemoveFlow { .. } | Request::ReleaseLock { .. } => Response::Done { notes: Vec::new() },
        Request::Sessions(_)
        | Request::Session { .. }
        | Request::MoveSession { .. }
        | Request::MoveSessions { .. }
        | Request::RemoveSession { .. }
        | Request::Tunnels { .. }
        | Request::Pool { .. }
        | Request::ResetTunnels { .. }
        | Request::Classes
        | Request::SetClass { .. } => requests::to(request),
        Request::LogLevel { .. } => Response::Done { notes: vec!["until it ends".into()] },
    }
}

fn status() -> StatusView {
    StatusView {
        version: "0.1.0".into(),
        pid: 4711,
        uptime_ms: 3_723_500,
        node: 1,
        interfaces: vec![
            InterfaceView {
                name: "client0".into(),
                mode: AttachMode::Native,
                driver: "veth".into(),
                link_pin: Some("/sys/fs/bpf/dispatcher/link_client0".into()),
            },
            InterfaceView {
                name: "eth0".into(),
                mode: AttachMode::Generic,
                driver: "virtio_net".into(),
                link_pin: None,
            },
        ],
        services: 2,
        backends: 3,
        flows: 1042,
        flow_entries4: 2000,
        flow_entries6: 84,
        flow_capacity: 262_144,
        upcalls: 5120,
        held: 3,
        held_overflow: 0,
        heartbeat_remaining_ms: 287,
        lease_remaining_ms: None,
        log: LogLevel::Info,
    }
}

fn web() -> ServiceView {
    ServiceView {
        id: 0,
        name: "web".into(),
        vip: "203.0.113.10:80".parse().unwrap(),
        protocol: Protocol::Tcp,
        mode: "packet".into(),
        scheduler: Scheduler::LeastLoad,
        forward: Forward::Nat,
        affinity: Affinity::ClientIp,
        affinity_timeout_ms: 600_000,
        backends: 3,
        backends_available: 1,
        flows: 1042,
    }
}

fn dns() -> ServiceView {
    ServiceView {
        id: 1,
        name: "dns6".into(),
        vip: "[2001:db8:113::10]:53".parse().unwrap(),
        protocol: Protocol::Udp,
        scheduler: Scheduler::Mh,
        affinity: Affinity::None,
        backends: 0,
        backends_available: 0,
        flows: 0,
        ..web()
    }
}

fn backends() -> Vec<BackendView> {
    let backend = |number: u16, state, health, flows| BackendView {
        id: number - 1,
        service: "web".into(),
        name: format!("b{number}"),
        address: ([10, 77, 1, 10 + u8::try_from(number).unwrap()], 8080).into(),
        state,
        health,
        weight: 100 * number,
        flows,
        picks: 3 * flows,
        rate: 1_234_567 * flows,
        packets_in: 11 * flows,
        bytes_in: 900 * flows,
        packets_out: 22 * flows,
        bytes_out: 31_000 * flows,
    };
    vec![
        backend(1, AdminState::Ready, Health::Up, 1000),
        backend(2, AdminState::Drain, Health::Up, 42),
        backend(3, AdminState::Maint, Health::Down, 0),
    ]
}

fn flows() -> Vec<FlowView> {
    let there = FlowView {
        src: "198.51.100.2".parse().unwrap(),
        sport: 40_000,
        dst: "203.0.113.10".parse().unwrap(),
        dport: 80,
        proto: Protocol::Tcp,
        service: "web".into(),
        backend: Some("b1".into()),
        target: "backend-nat".into(),
        state: "established".into(),
        packets: 12,
        bytes: 1_600,
        idle_ms: 250,
    };
    let six = FlowView {
        src: "2001:db8:51::2".parse().unwrap(),
        dst: "2001:db8:113::10".parse().unwrap(),
        dport: 53,
        proto: Protocol::Udp,
        service: "dns6".into(),
        idle_ms: 61_000,
        ..there.clone()
    };
    let local = FlowView {
        dport: 443,
        service: "shop".into(),
        backend: None,
        target: "local".into(),
        idle_ms: 3,
        ..there.clone()
    };
    vec![there, six, local]
}

fn locks() -> Vec<LockView> {
    vec![LockView { client: "198.51.100.2".parse().unwrap(), service: "web".into(), node: 1, expires_ms: 640 }]
}

/// Counters that grow with every question.
fn drops(asked: u64) -> Vec<DropView> {
    let row =
        |reason: &str, meaning: &str, packets| DropView { reason: reason.into(), meaning: meaning.into(), packets };
    vec![
        row("pass_not_ours", "Its destination is no service; the kernel has it, untouched.", 1000 + 7 * asked),
        row("drop_bad_checksum", "For a service, with a wrong IPv4 header checksum.", 0),
        row("drop_no_backend", "A new flow of a service of which no backend can take it.", 12),
    ]
}
