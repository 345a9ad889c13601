//! Packets of a mapped flow are no business of the daemon's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{addresses::VIP4, wait_until};
use dispatcher_tests::{Stage, curl, kernel};
use std::time::{Duration, Instant};

const GIGABYTE: u64 = 1_000_000_000;

#[test]
#[expect(clippy::disallowed_methods, reason = "processor time is compared over real time")]
fn mapped_flows_cost_the_daemon_nothing() {
    let Some(mut stage) = Stage::start("map") else { return };
    let pid = stage.lab.daemon().process().id();
    let (upcalls, received) = (stage.status("upcalls"), bytes_out(&mut stage));
    let (start, before) = (Instant::now(), kernel::processor_time(pid));
    let url = format!("http://{VIP4}/bytes/{GIGABYTE}");
    let report =
        curl::curl(stage.client(), &["--max-time", "300", "--output", "/dev/null", "-w", "%{size_download}", &url]);
    let (took, busy) = (start.elapsed(), kernel::processor_time(pid) - before);
    assert_eq!(report, GIGABYTE.to_string());

    // Its heartbeat and its looks at the tables go on all the time: what they take in as much time without traffic.
    let (start, before) = (Instant::now(), kernel::processor_time(pid));
    let enough = took + Duration::from_secs(5);
    wait_until("an idle interval of the same length", enough, || start.elapsed() >= took).unwrap();
    let idle = kernel::processor_time(pid) - before;
    // The same work takes longer where a download has the caches and the other processor. Had each of the 700,000
    // packets cost the daemon a microsecond, it were 700 ms more.
    let most = idle * 2 + Duration::from_millis(100);
    assert!(busy <= most, "{busy:?} in {took:?} of download, {idle:?} in as long without");
    assert_eq!(stage.status("upcalls") - upcalls, 1, "one flow");
    let received = bytes_out(&mut stage) - received;
    assert!(received > GIGABYTE, "{received} bytes went back through the dispatcher");
}

/// What all backends sent back through XDP.
fn bytes_out(stage: &mut Stage) -> u64 {
    let wait = Duration::from_secs(5);
    let read = |stage: &mut Stage| -> u64 {
        stage.items(&["backend", "list", "web"]).iter().map(|row| row["bytes_out"].as_u64().unwrap()).sum()
    };
    // The daemon reads the counters ten times a second: two equal readings are those of the end.
    let mut last = read(stage);
    wait_until("a counter that stands still", wait, || {
        let uptime = stage.status("uptime_ms");
        wait_until("a reading", wait, || stage.status("uptime_ms") > uptime + 250).unwrap();
        std::mem::replace(&mut last, read(stage)) == last
    })
    .unwrap();
    last
}
