//! What a dispatcher's end costs the shop's customers: connections that they open again, and no cart.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{LabOptions, Signal, wait_until};
use dispatcher_tests::{
    Stage,
    crowd::{Crowd, Receipt},
    customer::Memory,
    stage::SOON,
};

const CUSTOMERS: usize = 200;

fn end(stage: &mut Stage, signal: Signal) {
    stage.lab.daemon().process().signal(signal).unwrap();
    wait_until("the dispatcher's end", SOON, || stage.lab.daemon().ended().unwrap().is_some()).unwrap();
}

fn assert_nobody(receipts: &[Receipt], what: &str, is_so: impl Fn(&Receipt) -> bool) {
    let those: Vec<&Receipt> = receipts.iter().filter(|receipt| is_so(receipt)).collect();
    assert!(those.is_empty(), "{} of {} customers: {what}; such as {:?}", those.len(), receipts.len(), those[0]);
}

/// Lets customers shop while the dispatcher ends and another one starts.
fn shop_through(stage: &mut Stage, memory: Memory, signal: Signal) -> Vec<Receipt> {
    let crowd = Crowd::enter(stage, CUSTOMERS, memory);
    crowd.wait_for_answers(4);
    end(stage, signal);
    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    crowd.wait_for_answers(4);
    let receipts = crowd.leave();
    assert!(receipts.iter().any(|receipt| !receipt.not_asked.is_empty()), "nobody noticed: it was not during");
    assert_nobody(&receipts, "has lost his cart", |receipt| !receipt.moves.is_empty());
    assert_nobody(&receipts, "was refused", |receipt| !receipt.refusals.is_empty());
    receipts
}

#[test]
fn killed_dispatcher_costs_no_cart_of_customers_with_cookies() {
    let Some(mut stage) = Stage::start_with_shop("skc") else { return };
    shop_through(&mut stage, Memory::Cookie, Signal::SIGKILL);
}

#[test]
fn killed_dispatcher_costs_no_cart_of_customers_without_cookies() {
    let Some(mut stage) = Stage::start_with_shop("skt") else { return };
    shop_through(&mut stage, Memory::Ticket, Signal::SIGKILL);
}

#[test]
fn terminated_dispatcher_costs_no_cart_and_breaks_nothing_off() {
    let Some(mut stage) = Stage::start_with_shop("stc") else { return };
    let receipts = shop_through(&mut stage, Memory::Cookie, Signal::SIGTERM);
    assert_nobody(&receipts, "had a request broken off", |receipt| !receipt.broken.is_empty());
}

fn keep(options: &mut LabOptions) {
    (options.has_shop, options.on_exit) = (true, "keep".to_owned());
}

#[test]
fn terminated_dispatcher_that_keeps_its_tables_knows_customers_without_cookies() {
    let Some(mut stage) = Stage::start_with("stt", keep) else { return };
    let receipts = shop_through(&mut stage, Memory::Ticket, Signal::SIGTERM);
    assert_nobody(&receipts, "had a request broken off", |receipt| !receipt.broken.is_empty());
}
