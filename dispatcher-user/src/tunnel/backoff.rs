//! How long a slot waits before it dials again.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// Doubles the wait with each failure, up to a bound, and spreads it.
///
/// Half of a wait is fixed and half is random ("equal jitter": Brooker, "Exponential Backoff And Jitter", AWS
/// Architecture Blog, 2015), so that the slots of all dispatchers do not dial a backend that came back in one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts without a wait.
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and returns the wait that follows it; `random` spreads it.
    pub(super) fn fail(&mut self, random: u64) -> Duration {
        let doublings = self.failures.min(20);
        self.failures = self.failures.saturating_add(1);
        let half = self.first.saturating_mul(1 << doublings).min(self.longest) / 2;
        half + share(half, random)
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random part of a duration, from none to all of it.
pub(super) fn share(of: Duration, random: u64) -> Duration {
    let part = u128::from(random).saturating_mul(of.as_nanos()) >> 64;
    Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

/// A random number; the standard library's hash keys are seeded by the system and differ at each call.
pub(super) fn draw() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_double_up_to_the_bound_and_start_again_after_success() {
        let mut backoff = Backoff::new(100 * MS, 1000 * MS);
        let longest: Vec<u128> = (0..6).map(|_| backoff.fail(u64::MAX).as_millis()).collect();
        // One nanosecond short of the whole: the random part is below one.
        assert_eq!(longest, [99, 199, 399, 799, 999, 999]);
        assert_eq!(backoff.failures(), 6);
        backoff.reset();
        assert_eq!(backoff.fail(0), 50 * MS);
    }

    #[test]
    fn a_backend_that_stays_away_for_years_overflows_nothing() {
        let mut backoff = Backoff { first: 100 * MS, longest: 5000 * MS, failures: u32::MAX };
        assert_eq!(backoff.fail(0), 2500 * MS);
        assert_eq!(backoff.failures(), u32::MAX);
    }

    #[test]
    fn draws_differ() {
        let drawn: std::collections::BTreeSet<u64> = (0..100).map(|_| draw()).collect();
        assert_eq!(drawn.len(), 100);
        assert!(drawn.iter().any(|&number| number > u64::MAX / 2));
    }
}
