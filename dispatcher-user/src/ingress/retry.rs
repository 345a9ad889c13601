//! Whether a request that was not answered may be sent again: without harm, and without making a bad hour worse.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use crate::tunnel::error::Progress;

/// Times that one request is sent, the first one included: once more on another tunnel, once more to another backend.
pub const ATTEMPTS: u32 = 3;

/// Retries that requests pay for, in thousandths of one: one for each five requests.
const DEPOSIT: u64 = 200;
/// What one retry costs.
const COST: u64 = 1_000;
/// Retries that may be saved up.
const BURST: u64 = 100 * COST;

/// Bounds the retries of a service by its requests, so that a farm that cannot keep up does not get a multiple of them.
///
/// Source: retry budgets of Finagle (`com.twitter.finagle.service.RetryBudget`) and Linkerd, without their floor by time:
/// what is saved up to begin with is enough for a service with few requests.
#[derive(Debug)]
pub struct RetryBudget(AtomicU64);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU64::new(BURST))
    }
}

impl RetryBudget {
    /// A request pays its part.
    pub fn deposit(&self) {
        let saved = self.0.load(Ordering::Relaxed);
        // The common case is a full purse: then nothing is written, and cores do not fight for the line. A deposit that
        // is lost to another one at the same time does not matter.
        if saved < BURST {
            self.0.store((saved + DEPOSIT).min(BURST), Ordering::Relaxed);
        }
    }

    /// Takes what a retry costs; false if there is not enough.
    pub fn withdraw(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(COST)).is_ok()
    }
}

/// True if sending a request once more cannot carry it out twice with another outcome than once (RFC 9110 section 9.2.2).
#[must_use]
pub fn is_harmless(progress: Progress, method: &Method) -> bool {
    progress.is_safe_to_repeat() || method.is_idempotent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_carried_out_or_may_be_twice_is_sent_again() {
        for (progress, method, wanted) in [
            (Progress::Unsent, Method::POST, true),
            (Progress::Refused, Method::POST, true),
            (Progress::Unknown, Method::POST, false),
            (Progress::Unknown, Method::PATCH, false),
            (Progress::Unknown, Method::GET, true),
            (Progress::Unknown, Method::PUT, true),
            (Progress::Unknown, Method::DELETE, true),
        ] {
            assert_eq!(is_harmless(progress, &method), wanted, "{progress:?} {method}");
        }
    }

    #[test]
    fn retries_are_a_part_of_the_requests() {
        let budget = RetryBudget::default();
        let saved = (0..1_000).filter(|_| budget.withdraw()).count();
        assert_eq!(saved, 100);
        let retries = (0..1_000)
            .filter(|_| {
                budget.deposit();
                budget.withdraw()
            })
            .count();
        assert_eq!(retries, 200);
        for _ in 0..10_000 {
            budget.deposit();
        }
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), 100, "no more than that is saved up");
    }
}
