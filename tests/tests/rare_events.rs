//! What happens rarely in the kernel is told in the daemon's log, as far as the level of the log goes.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{CLIENT_INTERFACE, addresses::VIP4, wait_until};
use dispatcher_tests::{
    Stage,
    stage::SOON,
    syn::{self, Wire},
};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
};

/// Sends SYNs to a service that has no backend.
fn send(client: &Wire, gateway: [u8; 6], count: u16) {
    for port in 0..count {
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 201, 0, 1), 1024 + port);
        client.send(&syn::frame((client.mac(), gateway), from, SocketAddrV4::new(VIP4, 8010)));
    }
}

/// How often the log tells of packets that no backend took: the counts that it gives.
fn told(stage: &Stage) -> Vec<u64> {
    let log = fs::read_to_string(stage.lab.directory().log("dispatcher")).unwrap();
    let lines = log.lines().filter(|line| line.contains("drop_no_backend"));
    lines.map(|line| line.split(' ').find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}"))).collect()
}

#[test]
fn rare_event_of_the_program_reaches_the_log_at_the_level_that_is_set() {
    let Some(mut stage) = Stage::start("rare") else { return };
    // Counts are a processor's own, and a virtual cable is served where its sender runs.
    let mut here = CpuSet::new();
    here.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &here).unwrap();
    stage.done(&["service", "add", "empty", "--vip", "203.0.113.10:8010/tcp", "--scheduler", "sh"]);
    let client = Wire::tap(stage.client(), CLIENT_INTERFACE);
    let gateway = Wire::tap(&stage.lab.topology().dispatcher, "client0").mac();
    send(&client, gateway, 100);
    wait_until("a line in the log", SOON, || !told(&stage).is_empty()).unwrap();
    wait_until("all drops counted", SOON, || stage.count("drop_no_backend") >= 100).unwrap();
    // One line at 1, 2, 4, 8 … of each of the processors; never one a packet.
    let processors = std::thread::available_parallelism().unwrap().get();
    assert!(told(&stage).iter().all(|count| count.is_power_of_two()), "{:?}", told(&stage));
    assert!(told(&stage).len() <= 8 * processors, "{:?}", told(&stage));

    stage.done(&["log-level", "error"]);
    assert_eq!(stage.items(&["status"]).first().unwrap()["log"], "error");
    let before = told(&stage);
    send(&client, gateway, 2000);
    wait_until("all drops counted", SOON, || stage.count("drop_no_backend") >= 2100).unwrap();

    stage.done(&["log-level", "warn"]);
    let mut sent = 0;
    wait_until("a line in the log again", SOON, || {
        send(&client, gateway, 1000);
        sent += 1000;
        told(&stage).len() > before.len()
    })
    .unwrap();
    // Lines come in order: had the level not held, those for 128 and more would stand before these.
    let least = told(&stage).into_iter().skip(before.len()).min().unwrap();
    assert!(least > 128, "{before:?}, then {:?}", told(&stage));
}
