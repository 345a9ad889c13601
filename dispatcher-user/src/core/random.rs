//! Random numbers from a seed, and hash tables whose buckets a stranger cannot aim at.

use std::hash::{BuildHasher, DefaultHasher, Hasher as _};

use dispatcher_common::hash;

/// A sequence of random numbers: splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The sequence that starts at `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash::finish(self.0)
    }

    /// A number below `bound`, or 0 if that is 0.
    ///
    /// The high half of a product instead of a remainder (Lemire, "Fast Random Integer Generation in an Interval",
    /// 2019); the bias is below 2^-32 for bounds of 32 bits.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.draw()) * bound as u128;
        usize::try_from(product >> 64).unwrap_or_default()
    }
}

/// Hashes with a seed, for tables whose keys clients choose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(pub(super) u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut random = Random::new(1);
        let mut seen = [0_u32; 5];
        for _ in 0..5000 {
            seen[random.below(5)] += 1;
        }
        assert!(seen.iter().all(|&count| (900..1100).contains(&count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn another_seed_gives_another_order() {
        assert_ne!(Seeded(1).hash_one(7), Seeded(2).hash_one(7));
        assert_ne!(Random::new(1).draw(), Random::new(2).draw());
    }
}
