//! The verdict table: every row runs on the host and in the kernel, and both do what the row says.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

mod conflicts;
mod effects;
mod faulty;
mod first;
mod foreign;
mod held;
mod mapped;
mod picks;
mod secure;
mod states;

use dispatcher_common::counter::{Counter, Stats};
use dispatcher_tests::packet_path::row::check;

#[test]
fn packets_of_other_hosts_pass_untouched() {
    check(&foreign::rows());
}

#[test]
fn malformed_packets_of_a_service_are_dropped() {
    check(&faulty::rows());
}

#[test]
fn mapped_packets_are_rewritten_and_sent_on() {
    check(&mapped::rows());
}

#[test]
fn states_of_flows_follow_their_packets() {
    check(&states::rows());
}

#[test]
fn held_flows_open_in_order() {
    check(&held::rows());
}

#[test]
fn first_packets_go_up_or_are_given_a_backend() {
    check(&first::rows());
}

#[test]
fn new_flows_go_where_client_or_ring_leads() {
    check(&picks::rows());
}

#[test]
fn packets_whose_tls_ends_here_go_to_the_local_stack() {
    check(&secure::rows());
}

#[test]
fn answers_of_two_flows_are_told_apart() {
    check(&conflicts::rows());
}

#[test]
fn every_counter_has_a_row() {
    let rows = [
        foreign::rows(),
        faulty::rows(),
        mapped::rows(),
        states::rows(),
        held::rows(),
        first::rows(),
        picks::rows(),
        conflicts::rows(),
        secure::rows(),
    ];
    let mut sum = Stats::default();
    for row in rows.iter().flatten() {
        sum.merge(&row.expected_stats());
    }
    let missing: Vec<&str> =
        Counter::ALL.iter().filter(|&&counter| sum.count(counter) == 0).map(|counter| counter.name()).collect();
    assert!(missing.is_empty(), "no row counts {missing:?}");
}
