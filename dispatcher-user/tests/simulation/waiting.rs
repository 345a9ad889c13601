//! Packets that wait for a backend: bounded, sent on in order, given up in time.

use dispatcher_common::{counter::Counter, flow::state};
use dispatcher_user::core::{
    event::Event,
    model::{Affinity, Change, Scheduler, ServiceSpec},
};

use crate::{
    kernel::Fate,
    scenario::{Scenario, backend, client, web},
};

const VIP: &str = "203.0.113.10:80";

fn two_services() -> Vec<ServiceSpec> {
    let other = ServiceSpec { name: "web2".into(), vip: "203.0.113.11:80".parse().unwrap(), ..web(Scheduler::Rr, 1) };
    vec![web(Scheduler::Rr, 1), other]
}

#[test]
fn packets_wait_for_a_neighbour_and_leave_in_order() {
    let mut scenario = Scenario::new(vec![web(Scheduler::Rr, 1)]);
    let clients = [client(2, 1), client(3, 2), client(2, 1), client(2, 9), client(3, 2)];
    for (seq, from) in (0..).zip(clients) {
        assert_eq!(scenario.send(from, VIP, seq), Fate::WentUp);
    }
    let snapshot = scenario.snapshot();
    assert_eq!((snapshot.held_packets, snapshot.pending_locks, snapshot.counters.waited), (5, 2, 5));
    assert_eq!(scenario.locks().len(), 2);
    assert_eq!(scenario.take_sent(), []);
    scenario.reach(0, true);
    let sent: Vec<(u32, u32)> = scenario.take_sent().iter().map(|(tag, _)| (tag.flow, tag.seq)).collect();
    assert_eq!(sent, [(1, 0), (2, 1), (1, 2), (9, 3), (2, 4)]);
    assert_eq!(scenario.locks(), []);
    assert_eq!(scenario.snapshot().held_packets, 0);
}

#[test]
fn a_released_flow_is_counted_whole_and_lets_nothing_pass_before_one_more_has_come_up() {
    let mut scenario = Scenario::new(vec![web(Scheduler::Rr, 1)]);
    for seq in 0..3 {
        scenario.send(client(2, 1), VIP, seq);
    }
    scenario.reach(0, true);
    let flow = *scenario.tables.flows4.borrow().values().find(|flow| flow.target == 1).unwrap();
    assert_eq!((flow.packets, flow.state, flow.fence), (3, state::HELD, u64::MAX));
    // 14 + 20 + 8 + 12 bytes a frame.
    assert_eq!(flow.bytes, 3 * 54);
    assert_eq!(scenario.send(client(2, 1), VIP, 3), Fate::WentUp);
    assert!(matches!(scenario.send(client(2, 1), VIP, 4), Fate::Forwarded { .. }));
    let flow = *scenario.tables.flows4.borrow().values().find(|flow| flow.target == 1).unwrap();
    assert_eq!((flow.packets, flow.state), (5, state::ESTABLISHED));
}

#[test]
fn what_waits_is_bounded_for_a_client_and_for_all() {
    let mut scenario = Scenario::new(vec![web(Scheduler::Rr, 1)]);
    for seq in 0..6 {
        scenario.send(client(2, 1), VIP, seq);
    }
    assert_eq!((scenario.snapshot().held_packets, scenario.snapshot().counters.drop_hold_overflow), (4, 2));
    for host in 3..9 {
        for seq in 0..4 {
            scenario.send(client(host, 1), VIP, seq);
        }
    }
    let snapshot = scenario.snapshot();
    assert_eq!((snapshot.held_packets, snapshot.counters.drop_hold_overflow), (10, 2 + 24 - 6));
    // Who found no room keeps no lock.
    assert_eq!((snapshot.pending_locks, scenario.locks().len()), (3, 3));
}

#[test]
fn what_waits_too_long_is_given_up_with_its_lock() {
    let mut scenario = Scenario::new(vec![web(Scheduler::Rr, 1)]);
    scenario.send(client(2, 1), VIP, 0);
    scenario.pass(600);
    scenario.send(client(2, 1), VIP, 1);
    scenario.pass(399);
    assert_eq!(scenario.snapshot().held_packets, 2);
    scenario.pass(1);
    let snapshot = scenario.snapshot();
    assert_eq!((snapshot.held_packets, snapshot.counters.drop_hold_timeout), (1, 1));
    assert_eq!(scenario.locks().len(), 1, "a packet of the client still waits");
    scenario.pass(600);
    let snapshot = scenario.snapshot();
    assert_eq!((snapshot.held_packets, snapshot.counters.drop_hold_timeout), (0, 2));
    assert_eq!(scenario.locks(), []);
}

#[test]
fn a_removed_service_gives_up_what_waits_for_it_alone() {
    let mut scenario = Scenario::new(two_services());
    scenario.send(client(2, 1), VIP, 0);
    scenario.send(client(2, 1), "203.0.113.11:80", 0);
    scenario.change(Change::RemoveService { service: "web".into() }).unwrap();
    let snapshot = scenario.snapshot();
    assert_eq!((snapshot.held_packets, snapshot.counters.drop_no_service), (1, 1));
    assert_eq!(scenario.locks().len(), 1);
    assert!(matches!(scenario.send(client(2, 1), VIP, 1), Fate::Passed(Counter::NotOurs)));
    scenario.reach(0, true);
    assert_eq!(scenario.take_sent().len(), 1);
}

#[test]
fn services_that_share_an_address_are_released_together_and_see_each_others_flows() {
    let mut scenario = Scenario::new(two_services());
    // One port to two VIPs, and one backend behind both: its answers to the second could not be told from the first's.
    scenario.send(client(2, 1), VIP, 0);
    scenario.send(client(2, 1), "203.0.113.11:80", 0);
    scenario.send(client(2, 2), "203.0.113.11:80", 0);
    scenario.reach(0, true);
    let sent: Vec<u32> = scenario.take_sent().iter().map(|(tag, _)| tag.flow).collect();
    assert_eq!(sent, [1, 2]);
    assert_eq!(scenario.snapshot().counters.drop_tuple_conflict, 1);
    assert_eq!(scenario.locks(), []);
}

#[test]
fn a_clients_flows_are_released_to_one_backend() {
    let sticky = ServiceSpec { affinity: Affinity::ClientIp, ..web(Scheduler::Rr, 2) };
    let mut scenario = Scenario::new(vec![sticky]);
    for port in 1..4 {
        scenario.send(client(2, port), VIP, 0);
    }
    scenario.send(client(3, 9), VIP, 0);
    // The first neighbour that is found releases all; the second comes too late for them.
    scenario.reach(1, true);
    scenario.reach(0, true);
    assert!(scenario.take_sent().iter().all(|(_, to)| *to == backend(1).address));
    let counters = scenario.snapshot().counters;
    assert_eq!((counters.flows_picked, counters.flows_by_affinity), (2, 2));
    assert_eq!(scenario.tables.clients.borrow().len(), 2);
}

#[test]
fn a_ring_that_does_not_fit_any_more_is_written_at_most_once_in_its_interval() {
    let mut scenario = Scenario::new(vec![web(Scheduler::Rr, 3)]);
    (0..3).for_each(|number| scenario.reach(number, true));
    scenario.pass(100);
    scenario.now_ns += 20_000_000;
    let first = scenario.service(VIP, true).unwrap().ring;
    scenario.reach(0, false);
    let second = scenario.service(VIP, true).unwrap().ring;
    assert_ne!(first, second, "the ring is written beside the one in force");
    scenario.now_ns += 1_000_000;
    scenario.reach(1, false);
    assert_eq!(scenario.service(VIP, true).unwrap().ring, second, "a millisecond later it stays");
    scenario.now_ns += 20_000_000;
    scenario.hand(Event::Tick);
    let third = scenario.service(VIP, true).unwrap().ring;
    assert_eq!(third, first);
    let (last, _) = scenario.row(2).unwrap();
    assert!(scenario.tables.rings[&third].slots.iter().all(|&id| id == last));
}
