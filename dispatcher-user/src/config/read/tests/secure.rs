//! What may be said of services of mode `secure` and of QoS classes, and how what is wrong is told.

use std::fmt::Write as _;

use super::*;
use crate::core::model::{
    Alpn, CertificateSpec, ClassMatch, ClientAuth, LimitsSpec, LostBackend, QosClassSpec, QueueSpec, Rate, SecureRule,
    SecureSpec, SessionSpec, TlsSpec, TunnelProtocol, TunnelSpec,
};

/// Every key of a service of mode `secure` and of a QoS class, none with its default.
pub(super) const SHOP: &str = r#"
[[service]]
name = "shop"
vip = "203.0.113.10:443"
protocol = "tcp"
mode = "secure"
scheduler = "p2c"
affinity = "cookie"
redirect = "203.0.113.10:8080"
proxy_protocol_from = ["192.0.2.0/24", "2001:db8::1"]
window = 8
[service.tls]
certificates = [{ chain = "shop.pem", key = "shop.key", ocsp = "shop.ocsp" }, { chain = "/etc/tls/all.pem" }]
alpn = ["http/1.1"]
client_auth = "optional"
client_ca = "clients.pem"
[service.session]
cookie = "sid"
header = "x-session"
idle = "5m"
lifetime = "1h"
max_entries = 2048
lost = "strict"
pass_cookie = true
[[service.secure]]
host = "*.example.org"
path = "/cart/**"
method = "POST"
header = "x-account: *"
[[service.secure]]
path = "/login"
[service.tunnels]
per_backend = 2
verify = false
ca = "farm-ca.pem"
server_name = "farm.example.org"
certificate = "dispatcher.pem"
key = "dispatcher.key"
protocol = "h1"
max_age = "10m"
proxy_protocol = true
[service.limits]
connections = 100
connections_per_source = 10
handshake = "5s"
header_bytes = "16KiB"
header_count = 50
header_time = "4s"
body_pause = "3s"
idle = "2s"
streams = 10
resets = 5
buffer = "0B"
response_time = "500ms"
[[service.backend]]
name = "s1"
address = "10.77.1.11:8443"
[[qos]]
name = "gold"
priority = 0
weight = 8
share = 20
queue = { entries = 10, bytes = "1MiB" }
timeout = "500ms"
rate = "500/s"
match = { header = "x-tier: gold", source = "198.51.100.0/24", path = "/checkout/**", sni = "shop.example.org" }
[[qos]]
name = "bronze"
match = [{ header = "x-tier: bronze" }, { path = "/search" }]
rate = "50/s"
client_rate = "5/s"
"#;

fn shop() -> SecureSpec {
    let pair = |chain: &str, key: Option<&str>, ocsp: Option<&str>| CertificateSpec {
        chain: chain.into(),
        key: key.map(Into::into),
        ocsp: ocsp.map(Into::into),
    };
    SecureSpec {
        tls: TlsSpec {
            certificates: vec![
                pair("shop.pem", Some("shop.key"), Some("shop.ocsp")),
                pair("/etc/tls/all.pem", None, None),
            ],
            alpn: vec![Alpn::Http11],
            client_auth: ClientAuth::Optional,
            client_ca: Some("clients.pem".into()),
        },
        session: SessionSpec {
            cookie: "sid".parse().unwrap(),
            header: Some("x-session".parse().unwrap()),
            idle: Duration::from_secs(300),
            lifetime: Duration::from_secs(3600),
            max_entries: 2048,
            lost: LostBackend::Strict,
            pass_cookie: true,
        },
        rules: vec![
            SecureRule {
                host: Some("*.example.org".parse().unwrap()),
                path: Some("/cart/**".parse().unwrap()),
                method: Some("POST".parse().unwrap()),
                header: Some("x-account: *".parse().unwrap()),
            },
            SecureRule { path: Some("/login".parse().unwrap()), ..SecureRule::default() },
        ],
        tunnels: TunnelSpec {
            per_backend: 2,
            verify: false,
            ca: Some("farm-ca.pem".into()),
            server_name: Some("farm.example.org".into()),
            certificate: Some(pair("dispatcher.pem", Some("dispatcher.key"), None)),
            protocol: TunnelProtocol::H1,
            max_age: Duration::from_secs(600),
            proxy_protocol: true,
        },
        redirect: Some("203.0.113.10:8080".parse().unwrap()),
        proxy_protocol_from: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::1/128".parse().unwrap()],
        limits: LimitsSpec {
            connections: 100,
            connections_per_source: 10,
            handshake: Duration::from_secs(5),
            header_bytes: 16_384,
            header_count: 50,
            header_time: Duration::from_secs(4),
            body_pause: Duration::from_secs(3),
            idle: Duration::from_secs(2),
            streams: 10,
            resets: 5,
            buffer: 0,
            response_time: Duration::from_millis(500),
        },
        window: Some(8),
    }
}

#[test]
fn every_key_of_mode_secure_is_read() {
    let config = parse(SHOP, "f").unwrap();
    let service = config.services.first().unwrap();
    assert_eq!(service.secure.as_deref(), Some(&shop()));
    assert_eq!((service.affinity, service.scheduler), (Affinity::Cookie, Scheduler::P2c));
}

#[test]
fn every_key_of_a_class_is_read_and_the_default_class_is_always_there() {
    let class = QosClassSpec::named;
    let gold = QosClassSpec {
        priority: 0,
        weight: 8,
        share_percent: 20,
        queue: QueueSpec { entries: 10, bytes: 1 << 20 },
        timeout: Duration::from_millis(500),
        rate: Some(Rate::Requests(500)),
        matches: vec![ClassMatch {
            header: Some("x-tier: gold".parse().unwrap()),
            source: Some("198.51.100.0/24".parse().unwrap()),
            path: Some("/checkout/**".parse().unwrap()),
            sni: Some("shop.example.org".parse().unwrap()),
        }],
        ..class("gold")
    };
    let bronze = QosClassSpec {
        rate: Some(Rate::Requests(50)),
        client_rate: Some(5),
        matches: vec![
            ClassMatch { header: Some("x-tier: bronze".parse().unwrap()), ..ClassMatch::default() },
            ClassMatch { path: Some("/search".parse().unwrap()), ..ClassMatch::default() },
        ],
        ..class("bronze")
    };
    assert_eq!(parse(SHOP, "f").unwrap().qos, [class("default"), gold, bronze]);
    let named = "[[qos]]\nname = 'gold'\n[[qos]]\nname = 'default'\npriority = 7\n";
    assert_eq!(parse(named, "f").unwrap().qos, [QosClassSpec { priority: 7, ..class("default") }, class("gold")]);
}

/// What must be there, and nothing else.
const LEAST: &str = "[[service]]\nname = 'a'\nvip = '203.0.113.10:443'\nprotocol = 'tcp'\nmode = 'secure'\n\
    tls = { certificates = [{ chain = 'a.pem' }] }\ntunnels = { ca = 'ca.pem' }\n";

#[test]
fn defaults_are_those_that_are_documented() {
    let config = parse(LEAST, "f").unwrap();
    let service = config.services.first().unwrap();
    let secure = service.secure.as_deref().unwrap();
    assert_eq!(service.affinity, Affinity::None);
    assert_eq!(secure.session, SessionSpec::default());
    assert_eq!((secure.session.cookie.as_str(), secure.session.idle.as_secs()), ("__Host-sid", 1800));
    assert_eq!(secure.limits, LimitsSpec::default());
    assert_eq!(secure.tunnels, TunnelSpec { ca: Some("ca.pem".into()), ..TunnelSpec::default() });
    assert_eq!((secure.tunnels.per_backend, secure.tunnels.verify), (4, true));
    assert_eq!(secure.tls.alpn, [Alpn::H2, Alpn::Http11]);
    assert_eq!((secure.window, secure.redirect), (None, None));
}

/// A service of mode `secure` in which `key` says something else: the key's own line replaces or follows the others.
fn told_of(line: &str) -> String {
    let (section, line) = line.split_once('/').filter(|(of, _)| !of.contains(' ')).unwrap_or(("", line));
    let key = line.split(' ').next().unwrap();
    let mut text = String::new();
    let lines = [
        ("", "name = 'a'"),
        ("", "vip = '203.0.113.10:443'"),
        ("", "protocol = 'tcp'"),
        ("", "mode = 'secure'"),
        ("tls", "certificates = [{ chain = 'a.pem' }]"),
        ("tunnels", "ca = 'ca.pem'"),
    ];
    let mut sections = vec!["", "tls", "tunnels"];
    if !sections.contains(&section) {
        sections.push(section);
    }
    for name in sections {
        let header = match name {
            "" => "[[service]]".to_owned(),
            "qos" => "[[qos]]".to_owned(),
            "secure" => "[[service.secure]]".to_owned(),
            name => format!("[service.{name}]"),
        };
        writeln!(text, "{header}").unwrap();
        for (_, known) in lines
            .iter()
            .filter(|(of, known)| *of == name && !(name == section && known.starts_with(&format!("{key} "))))
        {
            writeln!(text, "{known}").unwrap();
        }
        if name == section {
            writeln!(text, "{line}").unwrap();
        }
    }
    told(&text)
}

/// Lines, each with its section in front, and what is told of them.
const WRONG: &[(&str, &str)] = &[
    ("protocol = 'udp'", "error[E220]: a service of mode secure has protocol tcp  f.toml:5:1"),
    (
        "forward = 'dsr'",
        "error[E220]: a service of mode secure forwards no packets: its forward mode is nat  f.toml:6:1",
    ),
    (
        "affinity = 'client-ip'",
        "error[E220]: a service of mode secure has no affinity client-ip, but none, cookie or session  f.toml:6:1",
    ),
    ("affinity_timeout = '1m'", "error[E220]: `affinity_timeout` belongs to mode packet  f.toml:6:1\n  fix: remove it"),
    (
        "redirect = '203.0.113.11:80'",
        "error[E224]: redirect 203.0.113.11:80 is not on the address of the VIP, 203.0.113.10  f.toml:6:1",
    ),
    ("redirect = '203.0.113.10:443'", "error[E209]: service `a` has 203.0.113.10:443/tcp already  f.toml:3:7"),
    (
        "proxy_protocol_from = ['192.0.2.0/33']",
        "error[E221]: `33` is no prefix length; it is 0 to 32 here  f.toml:6:24",
    ),
    ("window = 0", "error[E214]: window 0 is out of range, expected 1 to 65536  f.toml:6:10"),
    ("tls/certificates = []", "error[E214]: `certificates` must not be empty  f.toml:7:1"),
    (
        "tls/certificates = [{ key = 'a.key' }]",
        "error[E204]: a certificate lacks `chain`  f.toml:7:17\n  fix: add chain = \"shop.pem\"\n\
         error[E204]: `key` is there without `chain`  f.toml:7:19\n  \
         fix: add chain, the certificate of this key, or remove it",
    ),
    (
        "tls/certificates = ['a.pem']",
        "error[E203]: `certificates` is a string, expected an array of sections  f.toml:7:17\n  \
         fix: write [[certificates]], once for each",
    ),
    ("tls/certificates = [{ chain = '/' }]", "error[E219]: `chain` names no file  f.toml:7:27"),
    ("tls/alpn = []", "error[E214]: `alpn` must not be empty  f.toml:8:8"),
    ("tls/alpn = ['h3']", "error[E205]: unknown ALPN protocol `h3`, did you mean `h2`?  f.toml:8:9"),
    ("tls/alpn = [2]", "error[E203]: `alpn` is a whole number, expected an array of strings  f.toml:8:9"),
    (
        "tls/client_auth = 'required'",
        "error[E204]: client certificates cannot be checked without `client_ca`  f.toml:8:1\n  \
         fix: add client_ca = \"clients-ca.pem\"",
    ),
    ("tls/certificate = 'a.pem'", "error[E201]: unknown key `certificate`, did you mean `certificates`?  f.toml:8:1"),
    (
        "session/cookie = 'a b'",
        "error[E221]: `a b` is no token: it takes letters, digits and !#$%&'*+-.^_`|~  f.toml:11:10",
    ),
    ("session/idle = '8d'", "error[E213]: 8days is out of range, expected 1s to 7days  f.toml:11:8"),
    ("session/idle = '13h'", "error[E224]: a session that lasts 12h at most cannot be idle for 13h  f.toml:11:1"),
    ("session/max_entries = 10", "error[E214]: max_entries 10 is out of range, expected 1024 to 131072  f.toml:11:15"),
    ("session/lost = 'shrug'", "error[E205]: unknown action `shrug`, expected one of redispatch, strict  f.toml:11:8"),
    ("session/pass_cookie = 1", "error[E203]: `pass_cookie` is a whole number, expected true or false  f.toml:11:15"),
    (
        "secure/path = 'cart'",
        "error[E221]: `cart` is no path pattern: it starts with `/`, such as /cart/**  f.toml:11:8",
    ),
    (
        "secure/host = 'a:443'",
        "error[E221]: `a:443` is no host pattern, such as shop.example.org or *.example.org; it has no port  \
         f.toml:11:8",
    ),
    (
        "secure/header = 'x-tier'",
        "error[E221]: `x-tier` is no header pattern, such as `x-tier: gold` or `x-tier: *`  f.toml:11:10",
    ),
    (
        "secure/#",
        "error[E224]: [[service.secure]] says nothing  f.toml:10:1\n  \
         fix: name one of host, path, method, header at least, or remove it",
    ),
    ("tunnels/ca = ''", "error[E219]: `ca` names no file  f.toml:9:6"),
    (
        "tunnels/key = 'a.key'",
        "error[E204]: `key` is there without `certificate`  f.toml:10:1\n  \
         fix: add certificate, the certificate of this key, or remove it",
    ),
    (
        "tunnels/server_name = '*.example.org'",
        "error[E221]: `*.example.org` is no host pattern, such as shop.example.org or *.example.org; it has no port  \
         f.toml:10:15",
    ),
    ("tunnels/per_backend = 65", "error[E214]: per_backend 65 is out of range, expected 1 to 64  f.toml:10:15"),
    ("tunnels/protocol = 'h3'", "error[E205]: unknown tunnel protocol `h3`, did you mean `h2`?  f.toml:10:12"),
    ("limits/header_bytes = '1KiB'", "error[E214]: 1KiB is out of range, expected 4KiB to 1MiB  f.toml:11:16"),
    (
        "limits/header_bytes = '1k'",
        "error[E222]: `1k` is no number of bytes, such as 64KiB, 16MB or 512B  f.toml:11:16",
    ),
    ("limits/idle = '10ms'", "error[E213]: 10ms is out of range, expected 100ms to 1h  f.toml:11:8"),
    ("qos/weight = 1", "error[E204]: [[qos]] lacks `name`  f.toml:10:1\n  fix: add name = \"gold\""),
];

#[test]
fn what_is_wrong_with_a_secure_service_is_told_with_its_place() {
    for (line, expected) in WRONG {
        assert_eq!(told_of(line), *expected, "{line}");
    }
}

#[test]
fn what_lacks_is_told_with_an_example() {
    let service = "[[service]]\nname = 'a'\nvip = '203.0.113.10:443'\nprotocol = 'tcp'\nmode = 'secure'\n";
    assert_eq!(
        told(service),
        "error[E204]: mode secure lacks [service.tls]  f.toml:1:1\n  \
         fix: add [service.tls] with certificates = [{ chain = \"shop.pem\", key = \"shop.key\" }]\n\
         error[E204]: mode secure lacks [service.tunnels]  f.toml:1:1\n  \
         fix: add [service.tunnels] with ca = \"farm-ca.pem\""
    );
    assert_eq!(
        told(&format!("{service}tls = {{}}\ntunnels = {{}}\n")),
        "error[E204]: [service.tls] lacks `certificates`  f.toml:6:7\n  \
         fix: add certificates = [{ chain = \"shop.pem\", key = \"shop.key\" }]\n\
         error[E204]: backends cannot be verified without `ca`  f.toml:7:11\n  \
         fix: add ca = \"farm-ca.pem\"; with verify = false anybody could be the backend"
    );
}

#[test]
fn keys_of_the_other_mode_are_refused() {
    for (key, line) in [
        ("tls", "[service.tls]"),
        ("session", "[service.session]"),
        ("secure", "[[service.secure]]"),
        ("tunnels", "[service.tunnels]"),
        ("limits", "[service.limits]"),
        ("redirect", "redirect = '203.0.113.10:80'"),
        ("proxy_protocol_from", "proxy_protocol_from = []"),
        ("window", "window = 3"),
    ] {
        let column = line.find(key).unwrap() + 1;
        assert_eq!(
            told(&format!("{SERVICE}{line}\n")),
            format!(
                "error[E220]: `{key}` belongs to mode secure  f.toml:5:{column}\n  fix: set mode = \"secure\", or remove it"
            )
        );
    }
    assert_eq!(
        told(&format!("{SERVICE}affinity = 'session'")),
        "error[E220]: a service of mode packet has no affinity session, but none or client-ip  f.toml:5:1"
    );
}

#[test]
fn a_redirect_takes_an_address_and_port_for_itself() {
    let redirect = LEAST.replace("mode =", "redirect = '203.0.113.10:80'\nmode =");
    assert_eq!(told(&format!("{redirect}{SERVICE}")), "error[E208]: a service called `a` exists already  f.toml:10:8");
    let web = SERVICE.replace("'a'", "'web'");
    assert_eq!(
        told(&format!("{redirect}{web}")),
        "error[E209]: service `a` has 203.0.113.10:80/tcp already  f.toml:11:7"
    );
    assert_eq!(
        told(&format!("{web}{redirect}")),
        "error[E209]: service `web` has 203.0.113.10:80/tcp already  f.toml:9:1"
    );
}

#[test]
fn what_is_wrong_with_a_class_is_told_with_its_place() {
    let class = |name: &str, rest: &str| format!("[[qos]]\nname = '{name}'\n{rest}\n");
    let rows = [
        (class("a", "") + &class("a", ""), "error[E208]: QoS class `a` is named twice  f.toml:5:8"),
        (
            class("a", "share = 60") + &class("b", "share = 41"),
            "error[E224]: the shares of all QoS classes come to 101 %, and there are 100  f.toml:6:1",
        ),
        (class("a", "priority = 8"), "error[E214]: priority 8 is out of range, expected 0 to 7  f.toml:3:12"),
        (class("a", "weight = 0"), "error[E214]: weight 0 is out of range, expected 1 to 1000  f.toml:3:10"),
        (class("a", "rate = '0/s'"), "error[E214]: `rate` must not be empty  f.toml:3:8"),
        (
            class("a", "rate = '5Mbit/s'"),
            "error[E206]: a class's rate is one of requests, such as 100/s; rates of bits are not built in this version  \
             f.toml:3:8",
        ),
        (class("a", "rate = '5'"), "error[E222]: `5` is no rate, such as 100/s (requests) or 500Mbit/s  f.toml:3:8"),
        (class("a", "client_rate = '0/s'"), "error[E214]: `client_rate` must not be empty  f.toml:3:15"),
        (
            class("a", "client_rate = '5bit/s'"),
            "error[E222]: `5bit/s` is no rate of requests, such as 100/s  f.toml:3:15",
        ),
        (
            class("a", "queue = { bytes = '1B' }"),
            "error[E214]: 1B is out of range, expected 64KiB to 1GiB  f.toml:3:19",
        ),
        (
            class("a", "match = {}"),
            "error[E224]: a match says nothing  f.toml:3:9\n  \
             fix: name one of header, source, path, sni at least, or remove it",
        ),
        (
            class("a", "match = 'x'"),
            "error[E203]: `match` is a string, expected an array of sections  f.toml:3:9\n  \
             fix: write [[match]], once for each",
        ),
        (
            class("default", "match = { path = '/' }"),
            "error[E224]: class `default` takes the requests that no other class does, and so has no `match`  \
             f.toml:3:1",
        ),
        (
            (0..33).map(|number| class(&format!("c{number}"), "")).collect(),
            "error[E218]: the table of QoS classes is full (32)  f.toml:98:8",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(told(&text), expected, "{text}");
    }
}

#[test]
fn paths_start_from_the_directory_of_the_file() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("f.toml");
    fs::write(&path, SHOP).unwrap();
    let config = load(&path).unwrap();
    let secure = config.services.first().unwrap().secure.as_deref().unwrap().clone();
    let chains: Vec<&PathBuf> = secure.tls.certificates.iter().map(|certificate| &certificate.chain).collect();
    assert_eq!(chains, [&place.path().join("shop.pem"), &PathBuf::from("/etc/tls/all.pem")]);
    assert_eq!(secure.tunnels.ca, Some(place.path().join("farm-ca.pem")));
    // What is dumped means the same wherever it is read.
    assert_eq!(parse(&dump(&config), "dump"), Ok(config));
}
