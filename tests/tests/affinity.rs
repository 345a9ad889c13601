//! Affinity `client-ip`: a client stays on its backend until it is forgotten, or the backend takes no flows.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{
    addresses::{VIP4, VIP6, client4, client6},
    wait_until,
};
use dispatcher_tests::{
    Stage, curl,
    http::{self, Answer},
    kernel,
    stage::{NewService, SOON},
};
use nix::time::{ClockId, clock_gettime};
use std::net::{IpAddr, SocketAddr};

const PORT: u16 = 8001;

fn add_service(stage: &mut Stage, name: &str, vip: IpAddr) -> SocketAddr {
    let vip = SocketAddr::new(vip, PORT);
    let options = &["--affinity", "client-ip"];
    stage.add_service(&NewService { name, vip, protocol: "tcp", options, backend_port: 8080, weights: [100; 3] });
    vip
}

fn connect(stage: &Stage, vip: SocketAddr, from: impl Into<IpAddr>) -> Answer {
    let connections = http::hold(stage.client(), vip, Some(from.into()), 1);
    connections[0].answer.clone()
}

#[test]
fn two_clients_stay_on_their_backend_over_a_hundred_connections_each() {
    let Some(mut stage) = Stage::start("aff") else { return };
    let families: [(_, IpAddr, [IpAddr; 2]); 2] = [
        ("sticky", VIP4.into(), [client4(2).into(), client4(3).into()]),
        ("sticky6", VIP6.into(), [client6(2).into(), client6(3).into()]),
    ];
    for (name, vip, clients) in families {
        let url = format!("http://{}/", add_service(&mut stage, name, vip));
        let (upcalls, by_affinity) = (stage.status("upcalls"), stage.count("flows_by_affinity"));
        let mut homes: [Option<String>; 2] = [None, None];
        for number in 0..100 {
            for (client, home) in clients.iter().zip(&mut homes) {
                let answer = curl::answer(stage.client(), &["--interface", &client.to_string(), &url]);
                assert_eq!(answer.client.ip(), *client);
                let home = home.get_or_insert_with(|| answer.backend.clone());
                assert_eq!(answer.backend, *home, "connection {number} of {client}");
            }
        }
        assert_ne!(homes[0], homes[1], "round robin gives the second client another backend");
        // The daemon chose twice. All else the kernel did by itself, from the client's entry.
        assert_eq!(stage.status("upcalls") - upcalls, 2);
        assert_eq!(stage.count("flows_by_affinity") - by_affinity, 198);
    }
}

#[test]
fn client_is_forgotten_after_its_timeout_and_not_before() {
    let Some(mut stage) = Stage::start("exp") else { return };
    let vip = add_service(&mut stage, "sticky", VIP4.into());
    stage.done(&["service", "set", "sticky", "affinity_timeout=3s"]);
    let first = connect(&stage, vip, client4(2));
    let remembered_until = expiry(&stage);
    // The program's clock, which goes by ticks, may still be behind the daemon's.
    let remembered_since = remembered_until - 3_000_000_000;
    wait_until("a tick of the coarse clock", SOON, || now_ns() > remembered_since).unwrap();
    assert_eq!(connect(&stage, vip, client4(2)).backend, first.backend);
    assert!(expiry(&stage) > remembered_until, "a new flow keeps the client for as long again");
    wait_until("the client's expiry", SOON, || now_ns() > expiry(&stage)).unwrap();
    let later = connect(&stage, vip, client4(2));
    assert_ne!(later.backend, first.backend, "round robin has gone on");
    assert_eq!(connect(&stage, vip, client4(2)).backend, later.backend);
}

/// Until when the only client of all services is remembered.
fn expiry(stage: &Stage) -> u64 {
    let clients = kernel::entries(stage.lab.directory(), "dsp_clients");
    assert_eq!(clients.len(), 1, "{clients:?}");
    clients[0]["value"]["expires_ns"].as_u64().unwrap()
}

/// The clock that the kernel's program goes by.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    u64::try_from(now.tv_sec()).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap()
}

#[test]
fn client_of_a_backend_that_takes_no_flows_is_given_another_and_stays_there() {
    let Some(mut stage) = Stage::start("afdr") else { return };
    let vip = add_service(&mut stage, "sticky", VIP4.into());
    let held = http::hold(stage.client(), vip, None, 1);
    let home = held[0].answer.backend.clone();
    stage.done(&["backend", "drain", &format!("sticky/{home}")]);
    let next = connect(&stage, vip, client4(2)).backend;
    assert_ne!(next, home);
    for _ in 0..10 {
        assert_eq!(connect(&stage, vip, client4(2)).backend, next);
    }
    assert_eq!(held[0].ask().unwrap().backend, home, "what it has it keeps");
    // It does not go back either: its affinity is to whoever served it last.
    stage.done(&["backend", "ready", &format!("sticky/{home}")]);
    assert_eq!(connect(&stage, vip, client4(2)).backend, next);
    stage.done(&["backend", "remove", &format!("sticky/{next}"), "--force"]);
    assert_ne!(connect(&stage, vip, client4(2)).backend, next);
}
