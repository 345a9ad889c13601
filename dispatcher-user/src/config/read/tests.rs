//! What a configuration may say, what it may not, and in which words it is told.

use std::time::Duration;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    config::{AttachMode, LogLevel, OnExit, dump},
    core::model::{AdminState, Affinity, BackendSpec, Change, Forward, Protocol, Scheduler, ServiceSpec},
};

mod arbitrary;
mod secure;

/// Every key, none with its default.
const FULL: &str = r#"
[daemon]
socket = "/run/lab/control.sock"
state = "/var/lib/lab/state.json"
keys = "/var/lib/lab/keys"
pins = "/sys/fs/bpf/lab"
flows = 1_024
log = "debug"

[[interface]]
name = "eth0"
mode = "generic"
lease = "1m30s"
on_exit = "keep"

[[interface]]
name = "eth1"

[[service]]
name = "web"
vip = "203.0.113.10:80"
protocol = "tcp"
mode = "packet"
scheduler = "least-load"
forward = "dsr"
affinity = "client-ip"
affinity_timeout = "1h"

[[service.backend]]
name = "b1"
address = "10.77.1.11:80"
weight = 0
state = "drain"

[[service.backend]]
name = "b2"
address = "10.77.1.12:80"

[[service]]
name = "dns6"
vip = "[2001:db8:113::10]:53"
protocol = "udp"
"#;

fn full() -> Config {
    let backend = |name: &str, address: &str, weight, state| BackendSpec {
        name: name.into(),
        address: address.parse().unwrap(),
        weight,
        state,
    };
    Config {
        daemon: Daemon {
            socket: "/run/lab/control.sock".into(),
            state: "/var/lib/lab/state.json".into(),
            keys: "/var/lib/lab/keys".into(),
            pins: "/sys/fs/bpf/lab".into(),
            flows: 1024,
            log: LogLevel::Debug,
        },
        interfaces: vec![
            Interface {
                name: "eth0".into(),
                mode: AttachMode::Generic,
                lease: Some(Duration::from_secs(90)),
                on_exit: OnExit::Keep,
            },
            Interface { name: "eth1".into(), mode: AttachMode::Native, lease: None, on_exit: OnExit::Detach },
        ],
        services: vec![
            ServiceSpec {
                name: "web".into(),
                vip: "203.0.113.10:80".parse().unwrap(),
                protocol: Protocol::Tcp,
                scheduler: Scheduler::LeastLoad,
                forward: Forward::Dsr,
                affinity: Affinity::ClientIp,
                affinity_timeout: Duration::from_secs(3600),
                secure: None,
                backends: vec![
                    backend("b1", "10.77.1.11:80", 0, AdminState::Drain),
                    backend("b2", "10.77.1.12:80", 100, AdminState::Ready),
                ],
            },
            ServiceSpec {
                name: "dns6".into(),
                vip: "[2001:db8:113::10]:53".parse().unwrap(),
                protocol: Protocol::Udp,
                scheduler: Scheduler::Rr,
                forward: Forward::Nat,
                affinity: Affinity::None,
                affinity_timeout: Duration::from_secs(600),
                secure: None,
                backends: Vec::new(),
            },
        ],
        ..Config::default()
    }
}

#[test]
fn every_key_is_read_and_every_default_is_known() {
    assert_eq!(parse(FULL, "f"), Ok(full()));
    assert_eq!(parse("", "f"), Ok(Config::default()));
}

#[test]
fn only_a_configuration_with_an_interface_can_run_by_itself() {
    assert_eq!(full().require_interface("f"), Ok(()));
    let failure = Config::default().require_interface("f").unwrap_err();
    assert_eq!(failure.code, Code::NO_INTERFACE);
}

/// What is told of a file.
fn told(text: &str) -> String {
    parse(text, "f.toml").unwrap_err().to_string()
}

/// A service and the start of a second one.
const SERVICE: &str = "[[service]]\nname = 'a'\nvip = '203.0.113.10:80'\nprotocol = 'tcp'\n";

/// Files and what is told of them.
const WRONG: &[(&str, &str)] = &[
    ("[daemon]\nsokcet = '/x'", "error[E201]: unknown key `sokcet`, did you mean `socket`?  f.toml:2:1"),
    ("[demon]\n", "error[E201]: unknown key `demon`, did you mean `daemon`?  f.toml:1:2"),
    (
        "[daemon]\n  colour = 'red'",
        "error[E201]: unknown key `colour`  f.toml:2:3\n  fix: [daemon] takes socket, state, keys, pins, flows, log",
    ),
    ("[daemon\n", "error[E202]: unclosed table, expected `]`  f.toml:1:8"),
    ("a = 1\na = 2", "error[E202]: duplicate key  f.toml:2:1"),
    ("[daemon]\nlog = \"info\nflows = 2000\n", "error[E202]: invalid basic string, expected `\"`  f.toml:2:12"),
    ("[daemon]\nflows = '2k'", "error[E203]: `flows` is a string, expected a whole number  f.toml:2:9"),
    ("[daemon]\nlog = 3", "error[E203]: `log` is a whole number, expected a string  f.toml:2:7"),
    ("daemon = 1.5", "error[E203]: `daemon` is a fraction, expected a section  f.toml:1:10"),
    (
        "[service]\nname = 'a'",
        "error[E203]: `service` is a section, expected an array of sections  f.toml:1:1\n  \
             fix: write [[service]], once for each",
    ),
    (
        "interface = ['eth0']",
        "error[E203]: `interface` is a string, expected an array of sections  f.toml:1:14\n  \
             fix: write [[interface]], once for each",
    ),
    ("[[interface]]", "error[E204]: [[interface]] lacks `name`  f.toml:1:1\n  fix: add name = \"eth0\""),
    (
        "[daemon]\nlog = 'loud'",
        "error[E205]: unknown log level `loud`, expected one of off, error, warn, info, debug, trace  f.toml:2:7",
    ),
    ("[daemon]\nlog = 'inf'", "error[E205]: unknown log level `inf`, did you mean `info`?  f.toml:2:7"),
    (
        "[daemon]\nadmin = ':1'",
        "error[E206]: `daemon.admin` is not built in this version  f.toml:2:1\n  fix: remove it",
    ),
    ("[cluster]", "error[E206]: `[cluster]` is not built in this version  f.toml:1:2\n  fix: remove it"),
    (
        "[[interface]]\nname = 'eth0/1'",
        "error[E207]: `eth0/1` is no interface name: it takes 1 to 15 bytes without spaces, `/` and `:`  f.toml:2:8",
    ),
    (
        "[[interface]]\nname = 'eth0'\n[[interface]]\nname = 'eth0'",
        "error[E208]: interface `eth0` is named twice  f.toml:4:8",
    ),
    (
        "[[interface]]\nname = 'a'\nlease = '10'",
        "error[E213]: `10` is no duration, such as 90s, 10m or 1h30m  f.toml:3:9",
    ),
    ("[[interface]]\nname = 'a'\nlease = '0s'", "error[E213]: 0s is out of range, expected 1s to 1day  f.toml:3:9"),
    ("[daemon]\nflows = 1000", "error[E214]: flows 1000 is out of range, expected 1024 to 16777216  f.toml:2:9"),
    (
        "[daemon]\nflows = 0x1_0000_0000_0000_0000",
        "error[E214]: flows 9223372036854775807 is out of range, expected 1024 to 16777216  f.toml:2:9",
    ),
    ("[daemon]\nstate = 'state.json'", "error[E219]: `state` is no absolute path  f.toml:2:9"),
];

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, expected) in WRONG {
        assert_eq!(told(text), *expected, "{text}");
    }
    let socket = format!("[daemon]\nsocket = '/{}'", "x".repeat(107));
    assert_eq!(told(&socket), "error[E219]: the path of a socket has at most 107 bytes, this one has 108  f.toml:2:10");
}

/// What follows a good service, from line 5 on, and what is told of it.
const WRONG_SERVICE: &[(&str, &str)] = &[
    (
        "weigth = 1",
        "error[E201]: unknown key `weigth`  f.toml:5:1\n  fix: [[service]] takes name, vip, protocol, mode, scheduler, forward, affinity, affinity_timeout, tls, session, secure, tunnels, limits, redirect, proxy_protocol_from, window, backend",
    ),
    (
        "[[service]]",
        "error[E204]: [[service]] lacks `name`  f.toml:5:1\n  fix: add name = \"web\"\n\
             error[E204]: [[service]] lacks `vip`  f.toml:5:1\n  fix: add vip = \"203.0.113.10:80\"\n\
             error[E204]: [[service]] lacks `protocol`  f.toml:5:1\n  fix: add protocol = \"tcp\"",
    ),
    ("scheduler = 'rrr'", "error[E205]: unknown scheduler `rrr`, did you mean `rr`?  f.toml:5:13"),
    (
        "forward = 'fullnat'",
        "error[E206]: forward mode `fullnat` is not built in this version  f.toml:5:11\n  fix: remove it",
    ),
    (
        "forward = 'encap'",
        "error[E206]: forward mode `encap` is not built in this version  f.toml:5:11\n  fix: remove it",
    ),
    ("consistency = 'fast'", "error[E206]: `consistency` is not built in this version  f.toml:5:1\n  fix: remove it"),
    ("health = {}", "error[E206]: `health` is not built in this version  f.toml:5:1\n  fix: remove it"),
    ("affinity_timeout = 'soon'", "error[E213]: `soon` is no duration, such as 90s, 10m or 1h30m  f.toml:5:20"),
    (
        "[[service]]\nname = 'a'\nvip = '203.0.113.11:80'\nprotocol = 'tcp'",
        "error[E208]: a service called `a` exists already  f.toml:6:8",
    ),
    (
        "[[service]]\nname = 'b'\nvip = '203.0.113.10:80'\nprotocol = 'tcp'",
        "error[E209]: service `a` has 203.0.113.10:80/tcp already  f.toml:7:7",
    ),
    (
        "[[service]]\nname = 'B'\nvip = '203.0.113.11:80'\nprotocol = 'tcp'",
        "error[E207]: `B` is no name: it takes 1 to 63 of a-z, 0-9, `.`, `_` and `-`, and starts with a letter or digit  f.toml:6:8",
    ),
    (
        "[[service]]\nname = 'b'\nvip = '203.0.113.11'\nprotocol = 'tcp'",
        "error[E210]: `203.0.113.11` is no address and port, such as 203.0.113.10:80 or [2001:db8::10]:80  f.toml:7:7",
    ),
    (
        "[[service]]\nname = 'b'\nvip = '0.0.0.0:80'\nprotocol = 'tcp'",
        "error[E210]: 0.0.0.0 cannot be used: it is the unspecified address  f.toml:7:7",
    ),
    (
        "[[service.backend]]\nname = 'x'\naddress = '[2001:db8::1]:80'",
        "error[E211]: backend 2001:db8::1 and VIP 203.0.113.10 are of different address families  f.toml:7:11\n  \
             fix: make a service for each address family, with backends of that family",
    ),
    (
        "forward = 'dsr'\n[[service.backend]]\nname = 'x'\naddress = '10.0.0.1:8080'",
        "error[E212]: with forward = \"dsr\" ports cannot change: backend port 8080 is not the VIP's 80  f.toml:8:11\n  \
             fix: let the backend serve on port 80, or set forward = \"nat\"",
    ),
    (
        "[[service.backend]]\nname = 'x'\naddress = '10.0.0.1:80'\nweight = 1001",
        "error[E214]: weight 1001 is out of range, expected 0 to 1000  f.toml:8:10",
    ),
    (
        "[[service.backend]]\nname = 'x'\naddress = '10.0.0.1:80'\nweigth = 1",
        "error[E201]: unknown key `weigth`, did you mean `weight`?  f.toml:8:1",
    ),
    (
        "[[service.backend]]\nname = 'x'\naddress = '10.0.0.1:80'\n[[service.backend]]\nname = 'x'\naddress = '10.0.0.2:80'",
        "error[E208]: service `a` has a backend `x` already  f.toml:9:8",
    ),
    (
        "[[service.backend]]\nname = 'x'\naddress = '10.0.0.1:80'\n[[service.backend]]\nname = 'y'\naddress = '10.0.0.1:80'",
        "error[E216]: backend `x` of service `a` has 10.0.0.1:80 already  f.toml:10:11",
    ),
];

#[test]
fn what_is_wrong_with_a_service_is_told_with_its_place() {
    for (text, expected) in WRONG_SERVICE {
        assert_eq!(told(&format!("{SERVICE}{text}")), *expected, "{text}");
    }
}

#[test]
fn everything_wrong_is_told_at_once_and_in_order() {
    let text =
        "[[service]]\nname = 'A'\nvip = 'x'\nprotocol = 'sctp'\n[[service.backend]]\nweight = -1\n[daemon]\nlog = 1\n";
    let codes: Vec<String> = parse(text, "f").unwrap_err().faults.iter().map(|fault| fault.code.to_string()).collect();
    assert_eq!(codes, ["E207", "E210", "E205", "E204", "E204", "E214", "E203"]);
}

#[test]
fn services_beyond_the_table_are_refused() {
    let service = |number: usize| {
        format!("[[service]]\nname = 's{number}'\nvip = '203.0.113.10:{}'\nprotocol = 'udp'\n", number + 1)
    };
    let text: String = (0..257).map(service).collect();
    assert_eq!(told(&text), "error[E218]: the table of services is full (256)  f.toml:1026:8");
}

#[test]
fn the_same_port_may_serve_both_protocols() {
    let second = SERVICE.replace("'a'", "'b'").replace("tcp", "udp");
    assert_eq!(parse(&format!("{SERVICE}{second}"), "f").unwrap().services.len(), 2);
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("f.toml");
    let failure = |path: &Path| load(path).unwrap_err().faults.remove(0);
    assert_eq!(failure(&path).code, Code::UNREADABLE);
    fs::write(&path, b"[daemon]\nlog = \"\xff\"\n").unwrap();
    let told = failure(&path);
    assert_eq!((told.code, told.message.as_str()), (Code::SYNTAX, "the file is not UTF-8 text"));
    assert!(told.at.unwrap().ends_with("f.toml:2:8"));
    fs::write(&path, FULL).unwrap();
    assert_eq!(load(&path), Ok(full()));
}

/// Pieces that meet in files, so that mutations go deeper than the parser.
const PIECES: [&str; 42] = [
    "[[qos]]\n",
    "[service.tls]\n",
    "[service.session]\n",
    "[service.tunnels]\n",
    "[[service.secure]]\n",
    "mode = 'secure'\n",
    "match",
    "path",
    "certificates",
    "chain",
    "'/cart/**'",
    "'*'",
    "[daemon]\n",
    "[[interface]]\n",
    "[[service]]\n",
    "[[service.backend]]\n",
    "[service.backend]\n",
    "[",
    "]",
    "\n",
    " = ",
    "'",
    "\"",
    "name",
    "vip",
    "address",
    "weight",
    "state",
    "lease",
    "flows",
    "'a'",
    "'203.0.113.1:80'",
    "'[::1]:0'",
    "-1",
    "0x7f",
    "1e400",
    "nan",
    "1979-05-27",
    "{",
    "}",
    "é",
    "\\u0000",
];

proptest! {
    #[test]
    fn a_dump_reads_back_as_the_same_configuration(config in arbitrary::configs()) {
        let text = dump(&config);
        prop_assert_eq!(parse(&text, "dump"), Ok(config), "{}", text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..400)) {
        read_bytes(bytes).ok();
    }

    #[test]
    fn no_pieces_make_it_panic(pieces in vec(select(&PIECES[..]), 0..60)) {
        read_bytes(pieces.concat().into_bytes()).ok();
    }

    #[test]
    fn no_slip_makes_it_panic(at in 0..FULL.len() + secure::SHOP.len(), cut in 0_usize..6, put in "[\\x00-\\x7fé]{0,6}") {
        let full = [FULL, secure::SHOP].concat();
        let bytes = full.as_bytes();
        let rest = &bytes[(at + cut).min(bytes.len())..];
        read_bytes([&bytes[..at], put.as_bytes(), rest].concat()).ok();
    }
}

fn read_bytes(bytes: Vec<u8>) -> Result<Config, Invalid> {
    parse(&decode(bytes, "bytes")?, "bytes")
}

#[test]
fn deep_nesting_ends_in_an_error() {
    let text = format!("a = {}", "[".repeat(100_000));
    assert!(parse(&text, "deep").is_err());
    let text = format!("[{}a]", "a.".repeat(100_000));
    assert!(parse(&text, "deep").is_err());
}
