//! Configurations with whatever they may have.

use super::*;
use crate::{
    config::{apply_change, words::Word},
    core::model::{
        Alpn, CertificateSpec, ClassMatch, ClientAuth, LimitsSpec, LostBackend, QosClassSpec, QueueSpec, Rate,
        SecureRule, SecureSpec, SessionSpec, TlsSpec, TunnelProtocol, TunnelSpec,
    },
};

fn words<T: Copy + fmt::Debug + 'static>(words: &'static [(&'static str, T)]) -> impl Strategy<Value = T> {
    select(words).prop_map(|(_, choice)| choice)
}

fn addresses() -> impl Strategy<Value = (std::net::IpAddr, std::net::IpAddr)> {
    let four =
        (any::<u8>(), any::<u8>()).prop_map(|(vip, backend)| ([203, 0, 113, vip].into(), [10, 1, 2, backend].into()));
    let six = (1_u16.., 1_u16..).prop_map(|(vip, backend)| {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, vip].into(), [0x2001, 0xdb8, 1, 0, 0, 0, 0, backend].into())
    });
    prop_oneof![four, six]
}

fn services() -> impl Strategy<Value = ServiceSpec> {
    let ports = (1_u16.., 1_u16..);
    let seconds = 1_u64..=7 * 86_400;
    let choices = (
        words(Protocol::WORDS),
        words(Scheduler::WORDS),
        words(Forward::WORDS),
        select(vec![Affinity::None, Affinity::ClientIp]),
        words(AdminState::WORDS),
    );
    ("[a-z0-9][a-z0-9._-]{0,62}", addresses(), ports, seconds, choices, 0_u16..=1000).prop_map(
        |(
            name,
            (vip, backend),
            (port, backend_port),
            seconds,
            (protocol, scheduler, forward, affinity, state),
            weight,
        )| {
            let backend_port = if forward == Forward::Dsr { port } else { backend_port };
            ServiceSpec {
                name: name.clone(),
                vip: (vip, port).into(),
                protocol,
                scheduler,
                forward,
                affinity,
                affinity_timeout: Duration::from_secs(seconds),
                secure: None,
                backends: vec![BackendSpec { name, address: (backend, backend_port).into(), weight, state }],
            }
        },
    )
}

pub(super) fn configs() -> impl Strategy<Value = Config> {
    let interfaces =
        ("[a-z]{1,15}", words(AttachMode::WORDS), prop::option::of(1_u64..86_400), words(OnExit::WORDS)).prop_map(
            |(name, mode, lease, on_exit)| Interface { name, mode, lease: lease.map(Duration::from_secs), on_exit },
        );
    let all_services = (vec(services(), 0..5), shops()).prop_map(|(packet, secure)| [packet, secure].concat());
    let paths = "(/[ -~äλ]{1,20})?/[a-zä'\"\\\\#]{1,20}";
    (paths, paths, 1024_u32..=16_777_216, words(LogLevel::WORDS), vec(interfaces, 0..3), all_services, classes())
        .prop_map(|(socket, state, flows, log, mut interfaces, wanted, qos)| {
            let mut services = Vec::new();
            for service in wanted {
                apply_change(&mut services, &Change::AddService { service }).ok();
            }
            interfaces.sort_by(|one, other| one.name.cmp(&other.name));
            interfaces.dedup_by(|one, other| one.name == other.name);
            let keys = format!("{state}.keys").into();
            let daemon = Daemon { socket: socket.into(), state: state.into(), keys, flows, log, ..Daemon::default() };
            Config { daemon, interfaces, services, qos }
        })
}

/// Services of mode `secure` with whatever they may have.
fn shops() -> impl Strategy<Value = Vec<ServiceSpec>> {
    let affinity = select(vec![Affinity::None, Affinity::Cookie, Affinity::Session]);
    let others = (vec(rules(), 0..4), limits(), prop::option::of(1_u32..=65_536), affinity);
    let shop = (tls(), sessions(), tunnels(), others, 2_u16..).prop_map(
        |(tls, session, tunnels, (rules, limits, window, affinity), port)| {
            let secure = SecureSpec {
                tls,
                session,
                rules,
                tunnels,
                redirect: port.is_multiple_of(2).then(|| ([198, 18, 0, 1], port - 1).into()),
                proxy_protocol_from: vec!["192.0.2.0/24".parse().unwrap()],
                limits,
                window,
            };
            ServiceSpec {
                name: format!("shop{port}"),
                vip: ([198, 18, 0, 1], port).into(),
                protocol: Protocol::Tcp,
                scheduler: Scheduler::LeastLoad,
                forward: Forward::Nat,
                affinity,
                affinity_timeout: Duration::from_secs(600),
                secure: Some(Box::new(secure)),
                backends: Vec::new(),
            }
        },
    );
    vec(shop, 0..3)
}

fn tls() -> impl Strategy<Value = TlsSpec> {
    (vec(certificates(), 1..4), vec(words(Alpn::WORDS), 1..3), words(ClientAuth::WORDS), paths()).prop_map(
        |(certificates, alpn, client_auth, ca)| TlsSpec { certificates, alpn, client_auth, client_ca: Some(ca) },
    )
}

fn sessions() -> impl Strategy<Value = SessionSpec> {
    (
        "[a-zA-Z_-]{1,20}",
        prop::option::of("[a-z-]{1,20}"),
        1_u64..7 * 86_400,
        1024_u32..=131_072,
        words(LostBackend::WORDS),
        any::<bool>(),
    )
        .prop_map(|(cookie, header, idle, max_entries, lost, pass_cookie)| SessionSpec {
            cookie: cookie.parse().unwrap(),
            header: header.map(|header| header.parse().unwrap()),
            idle: Duration::from_secs(idle),
            lifetime: Duration::from_secs(2 * idle),
            max_entries,
            lost,
            pass_cookie,
        })
}

fn tunnels() -> impl Strategy<Value = TunnelSpec> {
    (
        1_u16..=64,
        any::<bool>(),
        paths(),
        prop::option::of("[a-z]{1,9}\\.example"),
        prop::option::of(certificates()),
        words(TunnelProtocol::WORDS),
        10_u64..86_400,
    )
        .prop_map(|(per_backend, verify, ca, server_name, certificate, protocol, age)| TunnelSpec {
            per_backend,
            verify,
            ca: Some(ca),
            server_name,
            certificate: certificate.map(|pair| CertificateSpec { ocsp: None, ..pair }),
            protocol,
            max_age: Duration::from_secs(age),
            proxy_protocol: !verify,
        })
}

fn paths() -> impl Strategy<Value = PathBuf> {
    "(/[ -~äλ]{1,9})?/[a-zä'\"\\\\#]{1,9}".prop_map(PathBuf::from)
}

fn certificates() -> impl Strategy<Value = CertificateSpec> {
    (paths(), prop::option::of(paths()), prop::option::of(paths())).prop_map(|(chain, key, ocsp)| CertificateSpec {
        chain,
        key,
        ocsp,
    })
}

fn rules() -> impl Strategy<Value = SecureRule> {
    ("[a-z]{1,9}", "(/[a-z*]{1,3}){1,3}", "[ -~]{0,9}x").prop_filter_map("two stars", |(word, path, value)| {
        Some(SecureRule {
            host: word.parse().ok(),
            path: Some(path.parse().ok()?),
            method: Some(word.to_ascii_uppercase().parse().ok()?),
            header: Some(format!("{word}: {value}").parse().ok()?),
        })
    })
}

fn limits() -> impl Strategy<Value = LimitsSpec> {
    (1_u32..=1_000_000, 4096_u32..=1_048_576, 100_u64..3_600_000, 16_u16..=1000).prop_map(
        |(number, header_bytes, milliseconds, header_count)| LimitsSpec {
            connections: number,
            header_bytes,
            header_count,
            handshake: Duration::from_millis(milliseconds),
            ..LimitsSpec::default()
        },
    )
}

/// QoS classes, the default one at the end.
fn classes() -> impl Strategy<Value = Vec<QosClassSpec>> {
    let rate = (1_u64..).prop_map(Rate::Requests);
    let matching =
        ("[a-z]{1,9}", "(/[a-z]{1,3}){1,3}", any::<u32>(), 0_u8..=32).prop_map(|(word, path, address, length)| {
            ClassMatch {
                header: Some(format!("{word}: {word}").parse().unwrap()),
                source: Some(format!("{}/{length}", std::net::Ipv4Addr::from(address)).parse().unwrap()),
                path: Some(path.parse().unwrap()),
                sni: Some(word.parse().unwrap()),
            }
        });
    let class = (
        0_u8..=7,
        1_u16..=1000,
        0_u8..=20,
        (1_u32..=1_000_000, 65_536_u64..=1 << 30),
        1_u64..3_600_000,
        (prop::option::of(rate), prop::option::of(1_u64..)),
        vec(matching, 0..3),
    );
    vec(class, 0..5).prop_map(|classes| {
        let class = |(
            number,
            (priority, weight, share_percent, (entries, bytes), milliseconds, (rate, client_rate), matches),
        )| {
            QosClassSpec {
                name: format!("c{number}"),
                priority,
                weight,
                share_percent,
                queue: QueueSpec { entries, bytes },
                timeout: Duration::from_millis(milliseconds),
                rate,
                client_rate,
                matches,
            }
        };
        let numbered: Vec<(usize, _)> = classes.into_iter().enumerate().collect();
        qos::with_default(numbered.into_iter().map(class).collect())
    })
}
