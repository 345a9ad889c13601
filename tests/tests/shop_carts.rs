//! Two hundred customers fill their carts over a new connection for each request; every cart is right at the end.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use dispatcher_tests::{
    Stage,
    crowd::{self, Crowd, Receipt},
    customer::Memory,
    kernel,
};
use std::collections::BTreeSet;

const CUSTOMERS: usize = 200;

/// Lets them shop, and asserts what must hold whatever they are known by.
fn shop(stage: &mut Stage, memory: Memory) -> Vec<Receipt> {
    let crowd = Crowd::enter(stage, CUSTOMERS, memory);
    crowd.wait_for_answers(8);
    let receipts = crowd.leave();
    crowd::assert_undisturbed(&receipts);
    assert!(receipts.iter().all(|receipt| receipt.items > 0 && receipt.answers >= 3), "{receipts:?}");
    let sessions: BTreeSet<&str> = receipts.iter().map(|receipt| receipt.session.as_str()).collect();
    assert_eq!(sessions.len(), CUSTOMERS, "each has a session of his own");
    // Requests without a cart have none, so that the table holds the carts' sessions alone.
    let listed = stage.items(&["session", "list", "--service", "shop"]);
    assert_eq!(listed.len(), CUSTOMERS);
    for receipt in &receipts {
        let row = listed.iter().find(|row| row["id"] == receipt.session.as_str()).unwrap();
        assert_eq!(row["backend"], receipt.home.as_str(), "{row}");
    }
    let homes = crowd::homes(&receipts);
    // Least load is not equal numbers: who was slow at first gets less.
    assert_eq!(homes.len(), 3, "{homes:?}");
    receipts
}

/// Requests that waited for a handshake with a backend, over all backends.
fn waited(stage: &mut Stage) -> Vec<u64> {
    let count = |stage: &mut Stage, name| {
        let pool = stage.items(&["tunnel", "show", &format!("shop/{name}")]);
        let counters = pool[0]["counters"].as_array().unwrap().clone();
        let found = counters.iter().find(|row| row["name"] == "handshakes_on_request_path");
        found.and_then(|row| row["count"].as_u64()).unwrap()
    };
    ["b1", "b2", "b3"].map(|name| count(stage, name)).to_vec()
}

#[test]
fn carts_stay_whole_by_cookies() {
    let Some(mut stage) = Stage::start_with_shop("crt") else { return };
    let receipts = shop(&mut stage, Memory::Cookie);
    assert!(receipts.iter().all(|receipt| receipt.resumed == 0), "it was the cookie, and nothing else");
    assert_eq!(waited(&mut stage), [0; 3], "no request waited for a handshake");
    // What bpftool shows without the daemon is the same table.
    let pinned = kernel::entries(stage.lab.directory(), "dsp_sessions");
    assert_eq!(pinned.len(), CUSTOMERS);
    assert!(pinned.iter().all(|entry| entry["value"]["requests"].is_u64()), "{:?}", pinned[0]);
}

#[test]
fn carts_stay_whole_by_tls_resumption_without_cookies() {
    let Some(mut stage) = Stage::start_with_shop("tkt") else { return };
    let receipts = shop(&mut stage, Memory::Ticket);
    for receipt in &receipts {
        assert_eq!(receipt.resumed, receipt.answers - 1, "all connections but the first: {receipt:?}");
    }
    assert_eq!(waited(&mut stage), [0; 3]);
}
