//! The lab itself: it carries traffic of both families, and leaves nothing behind.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{
    LabError, Namespace, Status, Suffix, Topology,
    addresses::{backend, client4},
    demo_backend::{DemoBackend, Settings},
};
use std::{
    net::{SocketAddr, UdpSocket},
    process::Command,
    time::Duration,
};

/// Whether namespaces can be made here. Without root the test says so and ends, but never in CI.
fn is_capable() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    assert!(is_root || std::env::var_os("CI").is_none(), "network namespaces need root");
    if !is_root {
        eprintln!("skipped: network namespaces need root");
    }
    is_root
}

/// A suffix that no other test process uses.
fn suffix(mark: char) -> Suffix {
    format!("{mark}{}", std::process::id()).parse().unwrap()
}

fn curl(namespace: &Namespace, url: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--globoff", "--max-time", "10", url]);
    namespace.succeed(&mut curl).unwrap()
}

#[test]
fn client_and_backends_reach_each_other_and_nothing_is_left() {
    if !is_capable() {
        return;
    }
    let suffix = suffix('t');
    let topology = Topology::build(&suffix, 2).unwrap();
    let servers: Vec<DemoBackend> = (1..)
        .zip(&topology.backends)
        .map(|(number, at)| DemoBackend::start_in(at, &Settings::of_lab(number, None)).unwrap())
        .collect();
    for number in 1..=2 {
        for address in backend(number) {
            let answer = curl(&topology.client, &format!("http://{}/", SocketAddr::new(address, 8080)));
            assert!(answer.starts_with(&format!("{{\"backend\":\"b{number}\",\"client\":")), "{answer}");
            let echo = datagram(&topology.client, SocketAddr::new(address, 5353));
            assert!(echo.contains("\"echo\":\"hello\""), "{echo}");
        }
    }
    let answer = curl(&topology.client, &format!("http://{}/", SocketAddr::new(backend(1)[0], 8080)));
    assert!(answer.contains(&format!("\"client\":\"{}:", client4(2))), "{answer}");
    let bytes = curl(&topology.client, &format!("http://{}/bytes/3000000", SocketAddr::new(backend(2)[1], 8080)));
    assert_eq!(bytes.len(), 3_000_000);
    // Two plain and two datagrams each, and one more; bytes are not counted.
    assert_eq!(servers.iter().map(DemoBackend::requests).sum::<u64>(), 9);
    assert!(matches!(Topology::build(&suffix, 2), Err(LabError::Exists { .. })));
    drop(servers);
    drop(topology);
    assert!(Status::of(&suffix).is_absent());
}

fn datagram(namespace: &Namespace, to: SocketAddr) -> String {
    let exchange = || -> std::io::Result<String> {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.connect(to)?;
        socket.send(b"hello")?;
        let mut buffer = [0; 2048];
        let length = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    namespace.run(exchange).unwrap().unwrap()
}

#[test]
fn frames_are_whole_on_every_cable() {
    if !is_capable() {
        return;
    }
    let topology = Topology::build(&suffix('o'), 1).unwrap();
    let cables = [
        (&topology.client, "lan0"),
        (&topology.dispatcher, "client0"),
        (&topology.dispatcher, "farm0"),
        (&topology.farm, "lb1"),
        (&topology.farm, "b1"),
        (&topology.backends[0], "net0"),
    ];
    for (namespace, interface) in cables {
        let features = namespace.succeed(Command::new("ethtool").args(["-k", interface])).unwrap();
        for wanted in [
            "generic-receive-offload: on",
            "tx-checksumming: off",
            "tcp-segmentation-offload: off",
            "generic-segmentation-offload: off",
        ] {
            assert!(features.contains(wanted), "{interface}: {wanted} is not in\n{features}");
        }
    }
}
