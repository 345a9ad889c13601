//! Fills rings: which backend each slot leads to.
//!
//! Maglev's population (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4):
//! every backend has a permutation of the slots, and backends take turns in claiming their next free one. With equal
//! weights the turns go round. With unequal ones, which the paper leaves open, a backend's k-th turn comes at the virtual
//! time k / weight, so that over any stretch turns are in proportion to weights, and a backend that leaves does not change
//! the order of the others' turns.
//!
//! Permutations follow from address and port alone. Every dispatcher fills the same ring, whatever IDs it gave and in
//! whatever order it heard of the backends.

use std::{cmp::Reverse, collections::BinaryHeap, net::SocketAddr};

use dispatcher_common::{
    hash,
    ring::{self, EMPTY, Ring, SLOTS},
};

use super::entry;

/// A backend that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// Backend ID, written into its slots.
    pub id: u16,
    /// What its permutation follows from.
    pub address: SocketAddr,
    /// Its share; 0 takes no part.
    pub weight: u16,
}

/// The slots that a backend claims, in order.
struct Claim {
    id: u16,
    weight: u64,
    turn: u64,
    position: usize,
    skip: usize,
}

impl Claim {
    fn new(entrant: &Entrant) -> Self {
        let identity = identity(entrant.address);
        let skip = hash::finish(identity ^ 0xd6e8_feb8_6659_fd93) % (SLOTS as u64 - 1) + 1;
        Self {
            id: entrant.id,
            weight: u64::from(entrant.weight),
            turn: 0,
            position: ring::slot(identity),
            // Below SLOTS, so that it fits.
            skip: usize::try_from(skip).unwrap_or(1),
        }
    }

    /// When its next turn is, in units of 2^-32. Weights have 16 bits and turns 14, so that nothing overflows.
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        (self.turn << 32) / self.weight
    }

    /// The slot to try next.
    fn step(&mut self) -> usize {
        let position = self.position;
        self.position = (position + self.skip) % SLOTS;
        position
    }
}

/// Fills a ring. All slots are [`EMPTY`] if nobody takes part.
pub(super) fn populate(entrants: &[Entrant]) -> Box<Ring> {
    let mut ring = Box::new(Ring { slots: [EMPTY; SLOTS] });
    let mut entrants: Vec<Entrant> = entrants.iter().copied().filter(|entrant| entrant.weight != 0).collect();
    entrants.sort_by_key(|entrant| (identity(entrant.address), entrant.address));
    let mut claims: Vec<Claim> = entrants.iter().map(Claim::new).collect();
    let mut turns: BinaryHeap<_> =
        claims.iter_mut().enumerate().map(|(index, claim)| Reverse((claim.next_turn(), index))).collect();
    for _ in 0..SLOTS {
        let Some(mut next) = turns.peek_mut() else { break };
        let Reverse((time, index)) = &mut *next;
        let Some(claim) = claims.get_mut(*index) else { break };
        claim_slot(&mut ring, claim);
        *time = claim.next_turn();
    }
    ring
}

/// Gives a backend the next free slot of its permutation. There is one: it is called once for each slot.
fn claim_slot(ring: &mut Ring, claim: &mut Claim) {
    for _ in 0..SLOTS {
        if let Some(slot) = ring.slots.get_mut(claim.step()).filter(|slot| **slot == EMPTY) {
            *slot = claim.id;
            return;
        }
    }
}

/// Names a backend by address and port, in 64 bits: FNV-1a, finished.
fn identity(address: SocketAddr) -> u64 {
    let [high, low] = address.port().to_be_bytes();
    let bytes = entry::mapped(address.ip()).into_iter().chain([high, low]);
    hash::finish(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entrants(weights: &[u16]) -> Vec<Entrant> {
        (0..).zip(weights).map(|(id, &weight)| Entrant { id, address: address(id), weight }).collect()
    }

    fn address(id: u16) -> SocketAddr {
        let [high, low] = id.to_be_bytes();
        SocketAddr::from(([10, 77, high, low], 8080))
    }

    fn shares(ring: &Ring, backends: usize) -> Vec<usize> {
        let mut shares = vec![0; backends];
        for &id in &ring.slots {
            shares[usize::from(id)] += 1;
        }
        shares
    }

    /// Slots that lead elsewhere, among those that led to a backend that stays.
    fn disrupted(before: &Ring, after: &Ring, gone: u16) -> usize {
        before.slots.iter().zip(&after.slots).filter(|&(before, after)| *before != gone && before != after).count()
    }

    #[test]
    fn a_ring_of_nobody_is_empty() {
        assert!(populate(&[]).slots.iter().all(|&id| id == EMPTY));
        assert!(populate(&entrants(&[0])).slots.iter().all(|&id| id == EMPTY));
        assert!(populate(&entrants(&[0, 1])).slots.iter().all(|&id| id == 1));
    }

    #[test]
    fn a_backend_that_leaves_disrupts_few_others() {
        for weights in [vec![1; 10], vec![1; 100], vec![5, 1, 9, 2, 2, 1, 7, 3, 3, 1], vec![100, 1, 1, 1, 1, 1, 1, 1]] {
            let all = entrants(&weights);
            let before = populate(&all);
            for gone in &all {
                let rest: Vec<Entrant> = all.iter().copied().filter(|entrant| entrant.id != gone.id).collect();
                let moved = disrupted(&before, &populate(&rest), gone.id);
                // Maglev trades some disruption for balance (section 5.3 of the paper); consistent hashing by modulo
                // would move nine of ten.
                assert!(moved < SLOTS * 4 / 100, "{moved} of {SLOTS} slots moved when {} left {weights:?}", gone.id);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn shares_are_as_weights(weights in proptest::collection::vec(0..200_u16, 1..40)) {
            let total: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
            prop_assume!(total > 0);
            let shares = shares(&populate(&entrants(&weights)), weights.len());
            for (&share, &weight) in shares.iter().zip(&weights) {
                let due = SLOTS * usize::from(weight) / total;
                // Turns are whole: each backend is at most one ahead or behind, and one more by the order of equals.
                prop_assert!(share.abs_diff(due) <= 2, "{} of {} for weight {}", share, due, weight);
            }
        }

        #[test]
        fn the_order_of_entrants_does_not_matter(
            weights in proptest::collection::vec(0..50_u16, 1..20),
            seed in any::<u64>(),
        ) {
            let mut shuffled = entrants(&weights);
            let ring = populate(&shuffled);
            let mut random = crate::core::random::Random::new(seed);
            for index in (1..shuffled.len()).rev() {
                shuffled.swap(index, random.below(index + 1));
            }
            prop_assert!(populate(&shuffled) == ring);
        }

        #[test]
        fn ids_do_not_matter(ids in proptest::collection::hash_set(0..4096_u16, 5)) {
            let named = entrants(&[3, 1, 1, 2, 5]);
            let ids: Vec<u16> = ids.into_iter().collect();
            let renamed: Vec<Entrant> =
                named.iter().zip(&ids).map(|(entrant, &id)| Entrant { id, ..*entrant }).collect();
            let (ring, other) = (populate(&named), populate(&renamed));
            prop_assert!(ring.slots.iter().zip(&other.slots).all(|(&id, &other)| ids[usize::from(id)] == other));
        }
    }
}
