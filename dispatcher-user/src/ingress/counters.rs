//! What is counted: connections and handshakes at the edge, requests behind it, and everything refused by its reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts one more.
    pub fn one(&self) {
        self.add(1);
    }

    /// Counts `more`.
    pub fn add(&self, more: u64) {
        // Nothing is ordered by a counter.
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a listener counts.
#[derive(Debug, Default)]
pub struct EdgeCounters {
    /// Connections that were taken.
    pub accepted: Count,
    /// Connections that were not, because there were as many as may be.
    pub refused_full: Count,
    /// Connections that were not, because their source had as many as one may have.
    pub refused_source: Count,
    /// Connections that the system failed to hand over; it usually lacks file descriptors.
    pub accept_failed: Count,
    /// Connections that ended for the want of a proper PROXY header.
    pub proxy_header: Count,
    /// Handshakes in full.
    pub handshakes_full: Count,
    /// Handshakes that resumed an earlier connection.
    pub handshakes_resumed: Count,
    /// Handshakes that failed.
    pub handshakes_failed: Count,
    /// Handshakes, or PROXY headers before them, that took too long.
    pub handshakes_late: Count,
    /// Connections that ended because no request came.
    pub idle: Count,
    /// Connections that ended because a request's head took too long.
    pub slow_header: Count,
    /// Connections that ended because the client took nothing of its answer.
    pub stalled: Count,
}

/// What a service counts of its requests, over all backends.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    /// Requests that were malformed, or asked for what is not passed on.
    pub bad_requests: Count,
    /// Requests whose body paused for too long or broke off.
    pub bad_bodies: Count,
    /// Requests for which no backend was ready.
    pub no_backend: Count,
    /// Sessions that were given another backend because theirs was gone.
    pub redispatched: Count,
    /// Requests refused because their session's backend was gone.
    pub lost: Count,
    /// Requests that QoS refused.
    pub shed: Count,
    /// Requests sent once more.
    pub retried: Count,
    /// Retries that were not made because there had been too many.
    pub retries_exhausted: Count,
    /// Requests that a backend did not begin to answer in time.
    pub late: Count,
    /// Requests whose clients left before the answer's end.
    pub client_gone: Count,
    /// Answers that a backend broke off after their head had gone to the client.
    pub cut_short: Count,
    /// Connections that became something else (WebSocket).
    pub upgraded: Count,
    /// Cookies given to clients.
    pub cookies_given: Count,
}

/// What is counted of the requests at one backend.
#[derive(Debug, Default)]
pub struct BackendCounters {
    plain: ByStatus,
    secure: ByStatus,
    /// From the request's end to the answer's head.
    pub answer: Durations,
    /// From the request's head to the answer's end.
    pub total: Durations,
}

/// Answers by the first digit of their status: 1xx to 5xx, and what is none.
type ByStatus = [Count; 6];

impl BackendCounters {
    /// Counts an answer.
    pub fn answered(&self, is_secure: bool, status: u16) {
        let by_status = if is_secure { &self.secure } else { &self.plain };
        if let Some(count) = by_status.get(usize::from(status / 100)).or(by_status.first()) {
            count.one();
        }
    }

    /// Answers so far, by the first digit of their status; index 0 counts what is none.
    #[must_use]
    pub fn answers(&self, is_secure: bool) -> [u64; 6] {
        let by_status = if is_secure { &self.secure } else { &self.plain };
        std::array::from_fn(|digit| by_status.get(digit).map_or(0, Count::value))
    }
}

/// Bounds of a histogram, in microseconds; what is longer has a place of its own.
pub const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// How long something took, as a histogram that only grows.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [Count; BOUNDS_US.len() + 1],
    sum_us: Count,
}

impl Durations {
    /// Counts one.
    pub fn count(&self, nanoseconds: u64) {
        let microseconds = nanoseconds / 1_000;
        let place = BOUNDS_US.partition_point(|bound| *bound < microseconds);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.one();
        }
        self.sum_us.add(microseconds);
    }

    /// How many there are in each bucket, and the sum of all in microseconds.
    #[must_use]
    pub fn value(&self) -> ([u64; BOUNDS_US.len() + 1], u64) {
        (std::array::from_fn(|place| self.buckets.get(place).map_or(0, Count::value)), self.sum_us.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_kind_and_status() {
        let counters = BackendCounters::default();
        for (is_secure, status) in [(true, 200), (true, 204), (false, 302), (false, 503), (true, 999)] {
            counters.answered(is_secure, status);
        }
        assert_eq!(counters.answers(true), [1, 0, 2, 0, 0, 0]);
        assert_eq!(counters.answers(false), [0, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn a_duration_is_counted_at_the_bound_that_holds_it() {
        let durations = Durations::default();
        for microseconds in [0, 500, 501, 10_000_000, 10_000_001] {
            durations.count(microseconds * 1_000);
        }
        let (buckets, sum_us) = durations.value();
        assert_eq!((buckets[0], buckets[1], buckets[13], buckets[14]), (2, 1, 1, 1));
        assert_eq!(sum_us, 20_001_002);
    }
}
