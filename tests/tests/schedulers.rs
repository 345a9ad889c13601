//! Every scheduler picks by its rule, seen in who answers.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{
    addresses::{CLIENT_HOSTS, VIP4, client4},
    wait_until,
};
use dispatcher_tests::{
    Stage,
    curl::Downloads,
    http::{self, Answer, Connection},
    stage::{BACKENDS, NewService, SOON},
};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    ops::RangeInclusive,
};

const PORT: u16 = 8002;

fn vip() -> SocketAddr {
    (VIP4, PORT).into()
}

/// A stage with one more service, `shared`.
fn stage(mark: &str, scheduler: &str, weights: [u16; BACKENDS as usize]) -> Option<Stage> {
    let mut stage = Stage::start(mark)?;
    let options = &["--scheduler", scheduler];
    let service = NewService { name: "shared", vip: vip(), protocol: "tcp", options, backend_port: 8080, weights };
    stage.add_service(&service);
    Some(stage)
}

/// Opens connections and holds them; with what each of b1, b2 and b3 has of them.
fn hold(stage: &mut Stage, count: usize) -> (Vec<Connection>, [u64; BACKENDS as usize]) {
    let picked = stage.count("picked_in_kernel");
    let connections = http::hold(stage.client(), vip(), None, count);
    let picked_now = stage.count("picked_in_kernel");
    assert!(picked_now - picked <= 2, "the ring has picked instead of the scheduler, on too busy a machine");
    let mut shares = [0; BACKENDS as usize];
    for connection in &connections {
        let number: usize = connection.answer.backend.trim_start_matches('b').parse().unwrap();
        shares[number - 1] += 1;
    }
    (connections, shares)
}

fn assert_shares(shares: [u64; BACKENDS as usize], expected: [RangeInclusive<u64>; BACKENDS as usize]) {
    let fits = shares.iter().zip(&expected).all(|(share, expected)| expected.contains(share));
    assert!(fits, "{shares:?}, and not {expected:?}");
}

#[test]
fn round_robin_takes_turns() {
    let Some(mut stage) = stage("rr", "rr", [100, 1, 10]) else { return };
    let (_held, shares) = hold(&mut stage, 60);
    assert_shares(shares, [18..=22, 18..=22, 18..=22]);
}

#[test]
fn weighted_round_robin_goes_by_weight() {
    let Some(mut stage) = stage("wrr", "wrr", [30, 20, 10]) else { return };
    let (_held, shares) = hold(&mut stage, 60);
    assert_shares(shares, [28..=32, 18..=22, 8..=12]);
    stage.done(&["backend", "weight", "shared/b1", "0"]);
    let (_held, shares) = hold(&mut stage, 30);
    assert_shares(shares, [0..=0, 18..=22, 8..=12]);
}

#[test]
fn least_connections_fills_the_emptiest() {
    let Some(mut stage) = stage("lc", "lc", [100, 1, 10]) else { return };
    let (mut held, shares) = hold(&mut stage, 60);
    assert_shares(shares, [18..=22, 18..=22, 18..=22]);
    held.retain(|connection| connection.answer.backend != "b2");
    wait_until("the end of the flows of b2", SOON, || stage.flows("shared")["b2"] == 0).unwrap();
    let (_more, shares) = hold(&mut stage, 16);
    assert_shares(shares, [0..=2, 13..=16, 0..=2]);
}

/// With connections held, weights are seen in how many each backend has; a change of weights in who gets the next.
fn assert_load_follows_weights(stage: &mut Stage, expected: [RangeInclusive<u64>; BACKENDS as usize]) {
    let (_held, shares) = hold(stage, 160);
    assert_shares(shares, expected);
    for (backend, weight) in [("b1", "10"), ("b3", "100")] {
        stage.done(&["backend", "weight", &format!("shared/{backend}"), weight]);
    }
    let (_more, shares) = hold(stage, 160);
    // 320 connections over 10 : 50 : 100 would be 20, 100 and 200. b1 has far too many already and b3 catches up; b2 gets
    // some, unless the traffic of the first connections still counts against it.
    assert_shares(shares, [0..=3, 0..=40, 120..=160]);
}

#[test]
fn weighted_least_connections_shifts_with_weights() {
    let Some(mut stage) = stage("wlc", "wlc", [100, 50, 10]) else { return };
    assert_load_follows_weights(&mut stage, [92..=108, 44..=56, 6..=14]);
}

#[test]
fn least_load_shifts_with_weights() {
    let Some(mut stage) = stage("ll", "least-load", [100, 50, 10]) else { return };
    assert_load_follows_weights(&mut stage, [80..=125, 30..=65, 2..=20]);
}

#[test]
fn least_load_spares_a_backend_with_heavy_traffic() {
    let Some(mut stage) = stage("lltr", "least-load", [100; 3]) else { return };
    let url = format!("http://{}/bytes/400000000?rate=10000000", vip());
    let mut download = Downloads::start(stage.client(), &url, 1);
    let mut busy = String::new();
    wait_until("a backend with traffic", SOON, || {
        let rows = stage.items(&["backend", "list", "shared"]);
        let row = rows.iter().find(|row| row["rate"].as_u64().unwrap() > 1_000_000);
        busy = row.map(|row| row["name"].as_str().unwrap().to_owned()).unwrap_or_default();
        !busy.is_empty()
    })
    .unwrap();
    let (_held, _) = hold(&mut stage, 30);
    let flows = stage.flows("shared");
    assert!(download.are_running());
    let others: u64 = flows.iter().filter(|(name, _)| **name != busy).map(|(_, flows)| flows).sum();
    assert!(flows[&busy] <= 6 && others >= 25, "{busy} is busy: {flows:?}");
}

#[test]
fn power_of_two_choices_spreads_evenly() {
    let Some(mut stage) = stage("p2c", "p2c", [100; 3]) else { return };
    let (_held, shares) = hold(&mut stage, 90);
    assert_shares(shares, [24..=36, 24..=36, 24..=36]);
}

#[test]
fn source_hash_goes_by_the_clients_address_and_needs_no_daemon() {
    let Some(mut stage) = stage("sh", "sh", [100; 3]) else { return };
    let (upcalls, by_hash) = (stage.status("upcalls"), stage.count("flows_by_hash"));
    let mut homes = BTreeMap::new();
    for host in CLIENT_HOSTS {
        let held = http::hold(stage.client(), vip(), Some(client4(host).into()), 5);
        assert!(held.iter().all(|one| one.answer.backend == held[0].answer.backend), "{held:?}");
        *homes.entry(held[0].answer.backend.clone()).or_insert(0) += 1;
    }
    assert!(homes.len() > 1, "all clients are on one backend: {homes:?}");
    assert_eq!(stage.status("upcalls"), upcalls);
    assert_eq!(stage.count("flows_by_hash") - by_hash, 40);
}

#[test]
fn maglev_hash_spreads_flows_and_leads_a_tuple_where_it_led_before() {
    let Some(mut stage) = stage("mh", "mh", [100; 3]) else { return };
    let upcalls = stage.status("upcalls");
    let (_held, shares) = hold(&mut stage, 300);
    assert_shares(shares, [70..=130, 70..=130, 70..=130]);
    assert_eq!(stage.status("upcalls"), upcalls);

    let vip = SocketAddr::new(VIP4.into(), PORT + 1);
    let options = &["--scheduler", "mh"];
    stage.add_service(&NewService {
        name: "names",
        vip,
        protocol: "udp",
        options,
        backend_port: 5353,
        weights: [100; 3],
    });
    let open = || {
        let socket = UdpSocket::bind((client4(2), 0))?;
        socket.set_read_timeout(Some(SOON))?;
        socket.connect(vip).map(|()| socket)
    };
    let sockets: Vec<UdpSocket> = stage.client().run(|| (0..20).map(|_| open().unwrap()).collect()).unwrap();
    let before: Vec<String> = sockets.iter().map(who_answers).collect();
    for socket in &sockets {
        stage.done(&["flow", "remove", &format!("{}>{vip}/udp", socket.local_addr().unwrap())]);
    }
    // A backend that came and went leaves hardly a trace in the ring; the tuples still lead where they led.
    stage.done(&["backend", "drain", "names/b3"]);
    stage.done(&["backend", "ready", "names/b3"]);
    assert_eq!(sockets.iter().map(who_answers).collect::<Vec<_>>(), before);
}

fn who_answers(socket: &UdpSocket) -> String {
    assert_eq!(socket.send(b"who").unwrap(), 3);
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).unwrap();
    Answer::read(&buffer[..length]).backend
}
