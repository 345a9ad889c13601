//! Spreads the starts of lower levels over time, so that a slot becomes free for higher levels at short intervals.
//!
//! A backend whose requests take equally long keeps the rhythm in which they started. Eight that started at once end at
//! once, and a request of a higher level that comes in between waits for up to a whole service time. Spread evenly, it
//! waits an eighth of that at most, for the same throughput. So a lower level's start that takes the last slot is held
//! until most of (service time / slots) has passed since the start before it. A start once held keeps its place in the
//! rhythm without being held again.
//!
//! Where service times vary, slots become free at random anyway and holding gains little. The slot's idle time is paid
//! from a purse that fills with a fixed part of the busy time, so it costs 1/[`EARNED_PART`] of the throughput at most.

/// Part of the busy time that may be spent on holding.
pub(super) const EARNED_PART: u64 = 32;
/// The gap that is kept, in percent of the even one. Below 100, so that a rhythm once found needs no holding.
const GAP_PERCENT: u64 = 90;

/// When the next start of a lower level may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spacing {
    last_start_ns: u64,
    held_since_ns: Option<u64>,
    purse_ns: u64,
}

impl Spacing {
    /// Says until when a start that takes the last of `slots` is held; `None` if it need not be.
    pub(super) fn hold(&mut self, now_ns: u64, service_ns: u64, slots: u32) -> Option<u64> {
        self.pay(now_ns);
        let gap_ns = service_ns.saturating_mul(GAP_PERCENT) / 100 / u64::from(slots.max(1));
        let until_ns = self.last_start_ns.saturating_add(gap_ns).min(now_ns.saturating_add(self.purse_ns));
        self.held_since_ns = (until_ns > now_ns).then_some(now_ns);
        self.held_since_ns.map(|_| until_ns)
    }

    /// Nothing is held any more.
    pub(super) fn release(&mut self, now_ns: u64) {
        self.pay(now_ns);
        self.held_since_ns = None;
    }

    /// A request of a lower level started.
    pub(super) fn started(&mut self, now_ns: u64) {
        self.last_start_ns = now_ns;
    }

    /// A slot was in use for `busy_ns`. The purse holds one service time at most.
    pub(super) fn earn(&mut self, busy_ns: u64, service_ns: u64) {
        self.purse_ns = self.purse_ns.saturating_add(busy_ns / EARNED_PART).min(service_ns);
    }

    fn pay(&mut self, now_ns: u64) {
        if let Some(since_ns) = self.held_since_ns {
            self.purse_ns = self.purse_ns.saturating_sub(now_ns.saturating_sub(since_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE_NS: u64 = 10_000_000;

    #[test]
    fn a_start_right_after_another_is_held_for_most_of_an_even_gap() {
        let mut spacing = Spacing::default();
        spacing.earn(SERVICE_NS * 32, SERVICE_NS);
        spacing.started(SERVICE_NS);
        assert_eq!(spacing.hold(SERVICE_NS, SERVICE_NS, 10), Some(SERVICE_NS + 900_000));
        assert_eq!(spacing.hold(SERVICE_NS + 900_000, SERVICE_NS, 10), None);
    }

    #[test]
    fn holding_never_costs_more_than_was_earned() {
        let mut spacing = Spacing::default();
        assert_eq!(spacing.hold(5, SERVICE_NS, 2), None, "nothing was earned yet");
        let (mut now_ns, mut held_ns, mut busy_ns) = (0, 0, 0);
        for _ in 0..1000 {
            spacing.earn(SERVICE_NS, SERVICE_NS);
            busy_ns += SERVICE_NS;
            spacing.started(now_ns);
            while let Some(until_ns) = spacing.hold(now_ns, SERVICE_NS, 1) {
                held_ns += until_ns - now_ns;
                now_ns = until_ns;
            }
        }
        assert!(held_ns > 0 && held_ns <= busy_ns / EARNED_PART, "{held_ns} of {busy_ns}");
    }
}
