//! The only file that reads a clock.

use nix::time::{ClockId, clock_gettime};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Reads the clock that `bpf_ktime_get_ns` reads (`CLOCK_MONOTONIC`); nanoseconds since boot.
///
/// `bpf_ktime_get_coarse_ns` counts from the same start and is at most one timer tick behind.
#[must_use]
pub fn monotonic_ns() -> u64 {
    // Every Linux has this clock, and the kernel starts it at zero: none of the defaults is ever taken.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(NS_PER_SECOND).saturating_add(u64::try_from(now.tv_nsec()).unwrap_or(0))
    })
}

/// Reads the calendar (`CLOCK_REALTIME`); seconds since 1970.
///
/// For what outlives this host's boot: certificates, and cookies that clients keep. It may be set back.
#[must_use]
pub fn calendar_s() -> i64 {
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |now| now.tv_sec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_and_counts_from_boot() {
        let before_ns = monotonic_ns();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime_s: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
        assert!(before_ns <= monotonic_ns());
        // /proc/uptime has hundredths, and counts suspended time as well (CLOCK_BOOTTIME).
        assert!(before_ns as f64 / 1e9 <= uptime_s + 0.02, "{before_ns} ns, up {uptime_s} s");
    }
}
