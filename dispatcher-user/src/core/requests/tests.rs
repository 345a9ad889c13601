//! What loads a backend, and where requests go then.

use super::*;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn member(id: u16, weight: u16) -> Member {
    let entrant = Entrant { id, address: ([10, 0, 0, 1], 8000 + id).into(), weight };
    Member { entrant, generation: 1, takes_new: true, keeps: true }
}

fn table(scheduler: Scheduler, weights: &[u16]) -> Requests {
    let mut table = Requests::new(scheduler, 7);
    let members: Vec<Member> = (0..).zip(weights).map(|(id, &weight)| member(id, weight)).collect();
    table.follow(scheduler, &members);
    table
}

/// Requests that each take as long as `latency_ms` says of the backend, one after the other; says who got how many.
fn one_by_one(table: &mut Requests, now_ns: &mut u64, count: usize, latency_ms: &[u64]) -> Vec<usize> {
    let mut got = vec![0; latency_ms.len()];
    for client in 0..count as u64 {
        let id = table.pick(*now_ns, client, &[]).unwrap();
        table.began(id);
        let latency_ns = latency_ms[usize::from(id)] * MS;
        *now_ns += latency_ns;
        table.ended(*now_ns, id, Some(latency_ns), true);
        got[usize::from(id)] += 1;
    }
    got
}

#[test]
fn round_robin_takes_turns_and_passes_over_the_refused() {
    let mut table = table(Scheduler::Rr, &[1, 1, 1]);
    let picks: Vec<_> = (0..6).map(|_| table.pick(0, 0, &[]).unwrap()).collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    assert_eq!(table.pick(0, 0, &[0, 1]), Some(2));
    assert_eq!(table.pick(0, 0, &[0, 1, 2]), None);
}

#[test]
fn least_connections_counts_requests_in_flight() {
    let mut table = table(Scheduler::Wlc, &[100, 200]);
    for _ in 0..30 {
        let id = table.pick(0, 0, &[]).unwrap();
        table.began(id);
    }
    let in_flight = |id| table.load(0, id).unwrap().in_flight;
    assert_eq!((in_flight(0), in_flight(1)), (10, 20));
}

#[test]
fn least_load_prefers_the_quick_and_tries_the_slow_again() {
    let mut table = table(Scheduler::LeastLoad, &[1, 1]);
    let mut now_ns = SECOND;
    let got = one_by_one(&mut table, &mut now_ns, 200, &[5, 50]);
    assert!(got[1] <= 4 && got[1] >= 1, "{got:?}");
    // It is quick now, which is seen once its peak has decayed.
    now_ns += 60 * SECOND;
    let got = one_by_one(&mut table, &mut now_ns, 200, &[5, 1]);
    assert!(got[1] > 150, "{got:?}");
}

#[test]
fn requests_in_flight_count_with_latency() {
    let mut table = table(Scheduler::LeastLoad, &[1, 1]);
    for id in [0, 1] {
        table.began(id);
        table.ended(SECOND, id, Some(if id == 0 { 10 * MS } else { 30 * MS }), true);
    }
    // Three at the quick one cost as much as one at the other.
    let picks: Vec<_> = (0..8)
        .map(|_| {
            let id = table.pick(SECOND, 0, &[]).unwrap();
            table.began(id);
            id
        })
        .collect();
    assert_eq!(picks.iter().filter(|&&id| id == 0).count(), 6, "{picks:?}");
}

#[test]
fn a_backend_that_fails_at_once_is_no_quick_one() {
    for scheduler in [Scheduler::LeastLoad, Scheduler::P2c] {
        let mut table = table(scheduler, &[1, 1]);
        let mut got = [0; 2];
        for round in 0..100 {
            let now_ns = SECOND + round * 10 * MS;
            let id = table.pick(now_ns, 0, &[]).unwrap();
            table.began(id);
            let failed = id == 1;
            table.ended(now_ns, id, (!failed).then_some(20 * MS), !failed);
            got[usize::from(id)] += 1;
        }
        assert!(got[1] <= 2, "{scheduler:?} {got:?}");
        assert_eq!(table.load(SECOND, 1).unwrap().failures, got[1]);
    }
}

#[test]
fn hashing_leads_a_client_where_it_led_before_and_moves_few_when_one_leaves() {
    let mut table = table(Scheduler::Sh, &[1, 1, 1]);
    let homes: Vec<_> = (0..300).map(|client| table.pick(0, hash(client), &[]).unwrap()).collect();
    assert_eq!(homes, (0..300).map(|client| table.pick(0, hash(client), &[]).unwrap()).collect::<Vec<_>>());
    for id in 0..3 {
        assert!(homes.iter().filter(|&&home| home == id).count() > 50);
    }
    table.follow(Scheduler::Sh, &[member(0, 1), member(1, 1), Member { takes_new: false, ..member(2, 1) }]);
    let moved = (0..).zip(&homes).filter(|&(client, &home)| {
        let now = table.pick(0, hash(client), &[]).unwrap();
        assert_ne!(now, 2);
        home != 2 && now != home
    });
    assert!(moved.count() < 30);
}

fn hash(client: u64) -> u64 {
    dispatcher_common::hash::finish(client)
}

#[test]
fn who_stays_keeps_what_is_known_of_it_and_a_successor_does_not() {
    let mut table = table(Scheduler::Rr, &[1, 1]);
    table.began(0);
    table.began(1);
    table.follow(Scheduler::Rr, &[member(0, 5), Member { generation: 2, keeps: false, ..member(1, 1) }]);
    assert_eq!(table.load(0, 0).unwrap().in_flight, 1);
    assert_eq!(table.load(0, 1).unwrap().in_flight, 0);
    assert!(table.keeps(0) && !table.keeps(1) && !table.keeps(2));
    // What began at the one before ends without an effect on this one.
    table.ended(0, 1, None, true);
    assert_eq!(table.load(0, 1).unwrap().in_flight, 0);
}

#[test]
fn without_a_weight_or_readiness_nothing_new_comes() {
    let mut table = Requests::new(Scheduler::Rr, 7);
    assert_eq!(table.pick(0, 0, &[]), None);
    table.follow(Scheduler::Rr, &[member(0, 0), Member { takes_new: false, ..member(1, 1) }]);
    assert_eq!(table.pick(0, 0, &[]), None);
    assert!(table.keeps(0) && table.keeps(1));
}
