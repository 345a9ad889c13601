//! Both address families, both forward modes and both protocols, with XDP in the driver and in the stack.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use dispatcher_lab::{
    addresses::{VIP4, VIP6, client4, client6},
    certificates::FARM,
    demo_backend::HTTPS_PORT,
};
use dispatcher_tests::{
    Stage,
    curl::{self, Download, Downloads},
    http::Answer,
    stage::{NewService, SOON},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, UdpSocket},
};

const LARGE: u64 = 20_000_000;

fn families() -> [(&'static str, IpAddr, IpAddr); 2] {
    [("", VIP4.into(), client4(2).into()), ("6", VIP6.into(), client6(2).into())]
}

#[test]
fn native_mode_serves_every_service_of_the_lab() {
    let Some(mut stage) = Stage::start("nat") else { return };
    assert_every_service_is_served(&mut stage, "native");
}

#[test]
fn generic_mode_serves_every_service_of_the_lab() {
    let Some(mut stage) = Stage::start_with("gen", |options| options.mode = "generic".to_owned()) else { return };
    assert_every_service_is_served(&mut stage, "generic");
}

fn assert_every_service_is_served(stage: &mut Stage, mode: &str) {
    let interfaces = stage.items(&["status"])[0]["interfaces"].clone();
    let interfaces = interfaces.as_array().unwrap();
    assert_eq!(interfaces.len(), 2, "{interfaces:?}");
    assert!(interfaces.iter().all(|interface| interface["mode"] == mode), "{interfaces:?}");
    for (mark, vip, client) in families() {
        assert_http_is_served(stage, &format!("web{mark}"), SocketAddr::new(vip, 80), client);
        assert_http_is_served(stage, &format!("web-dsr{mark}"), SocketAddr::new(vip, 81), client);
        assert_datagrams_are_answered(stage, SocketAddr::new(vip, 53), client);
        // The backend answers the client itself: its answers are none of the service's business.
        let (nat, dsr) = (packets_out(stage, &format!("web{mark}")), packets_out(stage, &format!("web-dsr{mark}")));
        assert!(nat > LARGE / 1500 && dsr == 0, "{nat} packets came back by nat, {dsr} by dsr");
    }
    assert_eq!(stage.count("drop_no_neighbour") + stage.count("drop_no_port") + stage.count("drop_bad_length"), 0);
}

fn assert_http_is_served(stage: &mut Stage, service: &str, vip: SocketAddr, client: IpAddr) {
    let before = stage.picks(service);
    let url = format!("http://{vip}/");
    let answers: Vec<Answer> = (0..12).map(|_| curl::answer(stage.client(), &[&url])).collect();
    assert!(answers.iter().all(|answer| answer.client.ip() == client), "{service}: {answers:?}");
    let backends: BTreeSet<&str> = answers.iter().map(|answer| answer.backend.as_str()).collect();
    assert_eq!(backends, BTreeSet::from(["b1", "b2", "b3"]), "{service}");
    let downloads = Downloads::start(stage.client(), &format!("http://{vip}/bytes/{LARGE}"), 3).finish();
    assert_eq!(downloads, vec![Download::whole(LARGE); 3], "{service}");
    for (backend, picks) in stage.picks(service) {
        assert!((4..=6).contains(&(picks - before[&backend])), "{service}/{backend}: {picks}");
    }
}

fn assert_datagrams_are_answered(stage: &Stage, vip: SocketAddr, client: IpAddr) {
    let ask = |number: usize| {
        let socket = UdpSocket::bind((client, 0)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.connect(vip).unwrap();
        let text = format!("question {number}");
        assert_eq!(socket.send(text.as_bytes()).unwrap(), text.len());
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{vip}: {text}: {error}"));
        let answer = Answer::read(&buffer[..length]);
        assert_eq!((&answer.echo, answer.client), (&text, socket.local_addr().unwrap()));
        answer.backend
    };
    let backends: BTreeSet<String> = stage.client().run(|| (0..12).map(ask).collect()).unwrap();
    assert_eq!(backends.len(), 3, "{vip}: {backends:?}");
}

fn packets_out(stage: &mut Stage, service: &str) -> u64 {
    stage.items(&["backend", "list", service]).iter().map(|row| row["packets_out"].as_u64().unwrap()).sum()
}

#[test]
fn tls_of_a_packet_service_ends_at_the_backend() {
    let Some(mut stage) = Stage::start("tls") else { return };
    let vip = SocketAddr::new(VIP4.into(), 443);
    let service =
        NewService { name: "farm", vip, protocol: "tcp", options: &[], backend_port: HTTPS_PORT, weights: [100; 3] };
    stage.add_service(&service);
    let authority = stage.lab.certificates().authority();
    let resolve = format!("{FARM}:443:{VIP4}");
    let arguments = ["--cacert", authority.to_str().unwrap(), "--resolve", &resolve, "--http2"];
    let url = format!("https://{FARM}/whoami");
    for _ in 0..3 {
        let text = curl::curl(stage.client(), &[arguments.as_slice(), &[&url]].concat());
        let seen: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&seen["protocol"], &seen["tls"]["server_name"]), (&"HTTP/2.0".into(), &FARM.into()));
        assert!(seen["client"].as_str().unwrap().starts_with("198.51.100.2:"), "{seen}");
    }
    assert!(stage.picks("farm").values().all(|picks| *picks == 1), "{:?}", stage.picks("farm"));
}
