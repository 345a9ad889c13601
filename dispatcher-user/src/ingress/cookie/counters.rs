//! Counts what requests brought as a cookie.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::Outcome;

/// The counters of a service.
#[derive(Debug, Default)]
pub struct Counters {
    valid: AtomicU64,
    none: AtomicU64,
    expired: AtomicU64,
    forged: AtomicU64,
    unknown_key: AtomicU64,
    malformed: AtomicU64,
}

/// The counts at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests with a cookie that counts.
    pub valid: u64,
    /// Requests without a cookie.
    pub none: u64,
    /// Cookies whose time was over.
    pub expired: u64,
    /// Cookies that were changed, made by somebody else, or of another service.
    pub forged: u64,
    /// Cookies sealed with a secret that is not, or no longer, there.
    pub unknown_key: u64,
    /// Cookies that are not shaped like ours.
    pub malformed: u64,
}

impl Counters {
    /// Counts what a request brought; `None`: no cookie.
    pub fn count(&self, outcome: Option<&Outcome>) {
        let count = match outcome {
            Some(Outcome::Valid(_)) => &self.valid,
            None => &self.none,
            Some(Outcome::Expired) => &self.expired,
            Some(Outcome::Forged) => &self.forged,
            Some(Outcome::UnknownKey) => &self.unknown_key,
            Some(Outcome::Malformed) => &self.malformed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            valid: of(&self.valid),
            none: of(&self.none),
            expired: of(&self.expired),
            forged: of(&self.forged),
            unknown_key: of(&self.unknown_key),
            malformed: of(&self.malformed),
        }
    }
}
