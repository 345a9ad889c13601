//! The only place that reads a clock.

use nix::time::{ClockId, clock_gettime};

/// The monotonic clock that `bpf_ktime_get_ns` reads too; nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    // The clock exists on every Linux, and no machine has been up for 584 years.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0)
    })
}
