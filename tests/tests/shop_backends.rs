//! What operators and accidents do to backends, and what the shop's customers see of it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{Signal, wait_until};
use dispatcher_tests::{
    Stage,
    crowd::{self, Crowd, Receipt},
    customer::Memory,
    stage::SOON,
};
use std::fs;

const CUSTOMERS: usize = 200;

/// The sessions that a backend has.
fn sessions(stage: &mut Stage, backend: &str) -> usize {
    stage.items(&["session", "list", "--backend", backend]).len()
}

/// The number of the backend with the most sessions. Least load is not equal numbers, but a third is there at least.
fn busiest(stage: &mut Stage) -> usize {
    let all = [1, 2, 3].map(|number| (sessions(stage, &format!("shop/b{number}")), number));
    let (count, number) = *all.iter().max().unwrap();
    assert!(count >= CUSTOMERS / 3, "{all:?}");
    number
}

/// Asserts that customers of one backend, and nobody else, were moved, once, and never there again.
fn assert_moved_from(receipts: &[Receipt], backend: &str) {
    let moved = receipts.iter().filter(|receipt| !receipt.moves.is_empty());
    // Some of its customers may have had no answer yet, and know of no move.
    assert!(moved.clone().count() > CUSTOMERS / 10, "{receipts:?}");
    for receipt in moved {
        assert!(receipt.moves.len() == 1 && receipt.moves[0].0 == backend, "{receipt:?}");
    }
    assert!(receipts.iter().all(|receipt| receipt.home != backend));
}

#[test]
fn draining_backend_keeps_its_carts_and_gets_no_new_ones() {
    let Some(mut stage) = Stage::start_with_shop("sdr") else { return };
    let crowd = Crowd::enter(&stage, CUSTOMERS, Memory::Cookie);
    crowd.wait_for_answers(4);
    let name = format!("b{}", busiest(&mut stage));
    let backend = format!("shop/{name}");
    stage.done(&["backend", "drain", &backend]);
    let kept = sessions(&mut stage, &backend);
    let late = Crowd::enter(&stage, 20, Memory::Cookie);
    late.wait_for_answers(3);
    let late = late.leave();
    crowd::assert_undisturbed(&late);
    assert!(late.iter().all(|receipt| receipt.home != name), "{:?}", crowd::homes(&late));
    crowd.wait_for_answers(2);
    let receipts = crowd.leave();
    crowd::assert_undisturbed(&receipts);
    assert_eq!(crowd::homes(&receipts)[name.as_str()], kept);
    assert_eq!(sessions(&mut stage, &backend), kept);
}

#[test]
fn drain_with_move_gives_sessions_to_the_others_at_once() {
    let Some(mut stage) = Stage::start_with_shop("smv") else { return };
    let crowd = Crowd::enter(&stage, CUSTOMERS, Memory::Cookie);
    crowd.wait_for_answers(4);
    let name = format!("b{}", busiest(&mut stage));
    let said = stage.done(&["backend", "drain", &format!("shop/{name}"), "--move"]);
    assert_eq!(sessions(&mut stage, &format!("shop/{name}")), 0, "{said}");
    crowd.wait_for_answers(4);
    let receipts = crowd.leave();
    assert_moved_from(&receipts, &name);
    assert!(receipts.iter().all(|receipt| receipt.refusals.is_empty() && receipt.broken.is_empty()), "{receipts:?}");
    let homes = crowd::homes(&receipts);
    assert_eq!(homes.len(), 2, "both others took some: {homes:?}");
}

#[test]
fn killed_backend_costs_its_carts_and_nobody_else_s() {
    let Some(mut stage) = Stage::start_with_shop("sbk") else { return };
    let crowd = Crowd::enter(&stage, CUSTOMERS, Memory::Cookie);
    crowd.wait_for_answers(4);
    let number = busiest(&mut stage);
    stage.lab.backends()[number - 1].signal(Signal::SIGKILL).unwrap();
    crowd.wait_for_answers(6);
    let receipts = crowd.leave();
    // Anybody may be refused, for what belongs to nobody may have gone there; but nothing is broken off.
    assert!(receipts.iter().all(|receipt| receipt.broken.is_empty() && receipt.not_asked.is_empty()), "{receipts:?}");
    assert_moved_from(&receipts, &format!("b{number}"));
    let log = fs::read_to_string(stage.lab.directory().log("dispatcher")).unwrap();
    let said = log.lines().filter(|line| line.contains("session redispatched")).count();
    let moves = receipts.iter().filter(|receipt| !receipt.moves.is_empty()).count();
    assert!(said >= moves, "{said} of {moves} sessions that were given another backend are in the log");
}

#[test]
fn tunnels_are_reset_one_by_one_and_nobody_notices() {
    let Some(mut stage) = Stage::start_with_shop("str") else { return };
    let crowd = Crowd::enter(&stage, CUSTOMERS, Memory::Cookie);
    crowd.wait_for_answers(2);
    let tunnels = stage.items(&["tunnel", "list", "shop"]);
    assert!(tunnels.len() >= 6, "{tunnels:?}");
    for tunnel in &tunnels {
        let backend = format!("shop/{}", tunnel["backend"].as_str().unwrap());
        let number = tunnel["tunnel"].as_u64().unwrap();
        let source = tunnel["context"]["source"].clone();
        stage.done(&["tunnel", "reset", &backend, &number.to_string()]);
        wait_until("another tunnel in its place", SOON, || {
            let now = stage.items(&["tunnel", "list", "shop"]);
            let is_it = |row: &&serde_json::Value| {
                row["backend"] == tunnel["backend"] && row["tunnel"] == tunnel["tunnel"] && row["state"] == "open"
            };
            now.iter().find(is_it).is_some_and(|row| row["context"]["source"] != source)
        })
        .unwrap();
    }
    crowd.wait_for_answers(2);
    crowd::assert_undisturbed(&crowd.leave());
}
