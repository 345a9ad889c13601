//! What each scheduler promises: how often it picks whom.

use std::{cell::RefCell, collections::BTreeMap};

use dispatcher_common::ring::{EMPTY, SLOTS};
use proptest::prelude::*;

use super::*;
use crate::core::maglev::{self, Entrant};

const ALL: [Scheduler; 8] = [
    Scheduler::Rr,
    Scheduler::Wrr,
    Scheduler::Lc,
    Scheduler::Wlc,
    Scheduler::Sh,
    Scheduler::Mh,
    Scheduler::P2c,
    Scheduler::LeastLoad,
];

/// Backends 0, 1, … of the given weights, with what they have in hand.
struct Farm {
    balancer: Balancer,
    ring: Box<Ring>,
    live: RefCell<Vec<u64>>,
    traffic: Vec<f64>,
}

impl Farm {
    fn new(weights: &[u16]) -> Self {
        let mut balancer = Balancer::new(7);
        balancer.set((0..).zip(weights.iter().copied()));
        let (live, traffic) = (RefCell::new(vec![0; weights.len()]), vec![0.0; weights.len()]);
        Self { balancer, ring: Box::new(Ring { slots: [EMPTY; SLOTS] }), live, traffic }
    }

    /// The same with a ring, which takes a while to fill.
    fn with_ring(weights: &[u16]) -> Self {
        let address = |id: u16| std::net::SocketAddr::from(([10, 77, 1, 11], 8000 + id));
        let entrants: Vec<Entrant> =
            (0..).zip(weights).map(|(id, &weight)| Entrant { id, address: address(id), weight }).collect();
        Self { ring: maglev::populate(&entrants), ..Self::new(weights) }
    }

    /// Picks for the client `hash` among all but `refused`; the flow stays.
    fn pick(&mut self, scheduler: Scheduler, hash: u64, refused: &[u16]) -> Option<u16> {
        let load = |id: u16| {
            let index = usize::from(id);
            let live = *self.live.borrow().get(index)? as f64 + 1.0;
            Some(Load { count: live, cost: live, traffic: self.traffic[index] })
        };
        let request = Request { scheduler, load: &load, ring: &self.ring, client_hash: hash, flow_hash: !hash };
        let picked = self.balancer.pick(request, |id| !refused.contains(&id))?;
        self.live.borrow_mut()[usize::from(picked)] += 1;
        Some(picked)
    }

    fn picks(&mut self, scheduler: Scheduler, count: u64) -> Vec<u16> {
        (0..count).map(|hash| self.pick(scheduler, hash, &[]).unwrap()).collect()
    }

    fn live(&self) -> Vec<u64> {
        self.live.borrow().clone()
    }
}

#[test]
fn round_robin_goes_round() {
    assert_eq!(Farm::new(&[9, 1, 1]).picks(Scheduler::Rr, 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn weighted_round_robin_is_smooth() {
    // The example of nginx's commit that brought it.
    assert_eq!(Farm::new(&[5, 1, 1]).picks(Scheduler::Wrr, 7), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn least_count_evens_out_whatever_it_finds() {
    let mut farm = Farm::new(&[1, 9, 1]);
    farm.live = RefCell::new(vec![30, 0, 10]);
    farm.picks(Scheduler::Lc, 50);
    assert_eq!(farm.live(), [30, 30, 30]);
}

#[test]
fn equals_take_turns() {
    for scheduler in [Scheduler::Lc, Scheduler::Wlc, Scheduler::LeastLoad] {
        let mut farm = Farm::new(&[2, 2, 2]);
        assert_eq!(farm.picks(scheduler, 6), [0, 1, 2, 0, 1, 2], "{scheduler:?}");
    }
}

#[test]
fn of_two_the_less_loaded_is_picked() {
    let mut farm = Farm::new(&[1, 1]);
    farm.live = RefCell::new(vec![5, 40]);
    assert!(farm.picks(Scheduler::P2c, 30).iter().all(|&id| id == 0));
    // With its weight counted, the other has less.
    let mut farm = Farm::new(&[1, 100]);
    farm.live = RefCell::new(vec![5, 40]);
    assert!(farm.picks(Scheduler::P2c, 30).iter().all(|&id| id == 1));
}

#[test]
fn two_choices_stay_closer_together_than_chance() {
    let mut farm = Farm::new(&[1; 32]);
    farm.picks(Scheduler::P2c, 32_000);
    // Thrown at random, 1000 balls a bin deviate by 3 x 32 somewhere among 32; with two choices by ln ln 32 + O(1).
    let live = farm.live();
    assert!(live.iter().all(|count| count.abs_diff(1000) <= 8), "{live:?}");
}

#[test]
fn traffic_counts_as_much_as_flows_for_the_least_load() {
    // Both have half the flows, one has all the traffic: it waits until the other has twice as many flows as it has.
    let mut farm = Farm::new(&[1, 1]);
    (farm.live, farm.traffic) = (RefCell::new(vec![100, 100]), vec![1e9, 0.0]);
    assert!(farm.picks(Scheduler::LeastLoad, 1000).iter().all(|&id| id == 1));
    // With little of the traffic it is soon even.
    let mut farm = Farm::new(&[1, 1]);
    (farm.live, farm.traffic) = (RefCell::new(vec![100, 100]), vec![1.1e6, 1.0e6]);
    let to_first = farm.picks(Scheduler::LeastLoad, 1000).iter().filter(|&&id| id == 0).count();
    assert!((400..500).contains(&to_first), "{to_first}");
}

#[test]
fn a_hash_leads_to_one_backend_and_spreads_by_weight() {
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        let mut farm = Farm::with_ring(&[1, 3]);
        let mut homes = BTreeMap::new();
        let mut shares = [0_u32; 2];
        for client in 0..4000_u64 {
            let hash = dispatcher_common::hash::finish(client);
            let home = farm.pick(scheduler, hash, &[]).unwrap();
            assert_eq!(farm.pick(scheduler, hash, &[]), Some(home));
            homes.insert(hash, home);
            shares[usize::from(home)] += 1;
        }
        assert!((900..1100).contains(&shares[0]), "{shares:?}");
        // Whoever leaves, the others' clients stay.
        farm.balancer.set([(1, 3)].into_iter());
        assert!(
            homes
                .into_iter()
                .filter(|(_, home)| *home == 1)
                .all(|(hash, _)| { farm.pick(scheduler, hash, &[0]) == Some(1) })
        );
    }
}

#[test]
fn the_daemon_picks_by_the_ring_as_the_kernel_does() {
    for usable in 1..=5 {
        let mut farm = Farm::with_ring(&[1, 2, 1, 3, 1]);
        farm.live.borrow_mut().truncate(usable);
        for flow in 0..200_u64 {
            let hash = dispatcher_common::hash::finish(flow);
            // As `decide::place::pick`: the first of four slots whose backend is usable.
            let slots = (0..4).map(|probe| farm.ring.slots[ring::slot((!hash).wrapping_add(probe))]);
            if let Some(expected) = slots.into_iter().find(|&id| usize::from(id) < usable) {
                assert_eq!(farm.pick(Scheduler::Mh, hash, &[]), Some(expected));
            }
        }
    }
}

#[test]
fn candidates_that_stay_keep_their_turn_and_their_credit() {
    let mut farm = Farm::new(&[1, 1, 1, 1]);
    assert_eq!(farm.picks(Scheduler::Rr, 2), [0, 1]);
    farm.balancer.set([(0, 1), (2, 1), (3, 1)].into_iter());
    assert_eq!(farm.picks(Scheduler::Rr, 3), [2, 3, 0]);
    assert!(!farm.balancer.set([(0, 1), (2, 1), (3, 1)].into_iter()), "nothing has changed");
    // The one whose turn it was leaves: its place in the row is the next one's.
    farm.balancer.set([(0, 1), (3, 1)].into_iter());
    assert_eq!(farm.picks(Scheduler::Rr, 2), [3, 0]);
    let mut farm = Farm::new(&[5, 1, 1]);
    assert_eq!(farm.picks(Scheduler::Wrr, 3), [0, 0, 1]);
    farm.balancer.set([(0, 5), (1, 1), (2, 1), (3, 1)].into_iter());
    farm.live = RefCell::new(vec![0; 4]);
    assert_eq!(farm.picks(Scheduler::Wrr, 2), [0, 2], "2 had waited for its turn, and its credit is kept");
}

proptest! {
    #[test]
    fn weighted_round_robin_gives_each_its_weight_in_a_round(weights in proptest::collection::vec(1_u16..50, 1..12)) {
        let mut farm = Farm::new(&weights);
        let round = weights.iter().map(|&weight| u64::from(weight)).sum();
        for rounds in 1..3 {
            farm.picks(Scheduler::Wrr, round);
            let due: Vec<u64> = weights.iter().map(|&weight| u64::from(weight) * rounds).collect();
            prop_assert_eq!(farm.live(), due);
        }
    }

    #[test]
    fn weighted_least_count_gives_at_least_the_quota(
        weights in proptest::collection::vec(1_u16..50, 1..12),
        count in 1_u64..2000,
    ) {
        let mut farm = Farm::new(&weights);
        farm.picks(Scheduler::Wlc, count);
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        // Least (n + 1) / weight is D'Hondt's method, which never gives less than the quota, rounded down.
        for (&live, &weight) in farm.live().iter().zip(&weights) {
            prop_assert!(live >= count * u64::from(weight) / total, "{:?} for {:?}", farm.live(), weights);
        }
    }

    #[test]
    fn whoever_is_refused_is_not_picked_and_nobody_waits_while_one_is_left(
        weights in proptest::collection::vec(1_u16..9, 1..6),
        refused in proptest::collection::vec(0_u16..6, 0..6),
        hash in any::<u64>(),
        which in 0_usize..8,
    ) {
        let mut farm = Farm::new(&weights);
        let left = (0..).take(weights.len()).filter(|id| !refused.contains(id)).count();
        for round in 0..20_u64 {
            let picked = farm.pick(ALL[which], hash.wrapping_add(round), &refused);
            prop_assert_eq!(picked.is_some(), left > 0);
            prop_assert!(picked.is_none_or(|id| !refused.contains(&id) && usize::from(id) < weights.len()));
        }
    }

}
