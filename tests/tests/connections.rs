//! Connections are spread over all backends, none fails, and the daemon hears of each once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::addresses::{VIP4, client4};
use dispatcher_tests::{
    Stage,
    curl::{self, Download, Downloads},
    http::Answer,
    stage,
};
use std::collections::BTreeMap;

const SEQUENTIAL: u64 = 1000;
const CONCURRENT: u64 = 200;

/// What XDP has counted, and the daemon has shown.
#[derive(Debug, Clone, Copy)]
struct Counts {
    upcalls: u64,
    picked_in_kernel: u64,
    packets: u64,
}

fn counts(stage: &mut Stage) -> Counts {
    let rows = stage.items(&["backend", "list", "web"]);
    let packets = rows.iter().map(|row| row["packets_in"].as_u64().unwrap() + row["packets_out"].as_u64().unwrap());
    Counts {
        packets: packets.sum(),
        upcalls: stage.status("upcalls"),
        picked_in_kernel: stage.count("picked_in_kernel"),
    }
}

/// Every new flow was asked of the daemon once, or picked in the kernel while a busy machine kept the daemon waiting.
fn assert_one_upcall_a_flow(before: Counts, after: Counts, flows: u64) {
    let picked = after.picked_in_kernel - before.picked_in_kernel;
    assert_eq!(after.upcalls - before.upcalls + picked, flows, "{before:?} {after:?}");
    assert!(picked * 20 <= flows, "the daemon was not heard: {before:?} {after:?}");
}

#[test]
fn thousand_sequential_and_two_hundred_concurrent_connections_over_all_backends() {
    let Some(mut stage) = Stage::start("conn") else { return };
    let url = format!("http://{VIP4}/");
    let before = counts(&mut stage);
    let one = || curl::command(&[&url]).output().unwrap();
    let answers = stage.client().run(|| (0..SEQUENTIAL).map(|_| one()).collect::<Vec<_>>()).unwrap();
    let mut served = BTreeMap::<String, u64>::new();
    for output in &answers {
        assert!(output.status.success(), "{}", stage::text(&output.stderr));
        let answer = Answer::read(&output.stdout);
        assert_eq!(answer.client.ip(), client4(2), "the backend sees the client's own address");
        *served.entry(answer.backend).or_default() += 1;
    }
    // Round robin, of which the kernel's picks alone know nothing.
    assert_eq!(served.len(), usize::from(stage::BACKENDS), "{served:?}");
    assert!(served.values().all(|count| (283..=383).contains(count)), "{served:?}");
    let after = counts(&mut stage);
    assert_one_upcall_a_flow(before, after, SEQUENTIAL);
    // Connecting, asking, answering and parting take ten packets or so; one of them goes up.
    assert!(after.packets - before.packets >= 8 * SEQUENTIAL, "{before:?} {after:?}");

    let before = after;
    let picks = stage.picks("web");
    let url = format!("http://{VIP4}/bytes/30000?rate=10000");
    let downloads = Downloads::start(stage.client(), &url, CONCURRENT).finish();
    assert_eq!(downloads, vec![Download::whole(30_000); usize::try_from(CONCURRENT).unwrap()]);
    assert_one_upcall_a_flow(before, counts(&mut stage), CONCURRENT);
    for (backend, count) in stage.picks("web") {
        let given = count - picks[&backend];
        assert!((60..=73).contains(&given), "{backend} was given {given} of {CONCURRENT}");
    }
}
