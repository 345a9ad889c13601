//! A rate that is smoothed over time.

/// Time constant of the smoothing: after a step, 63 % of it shows after this many seconds.
const TIME_CONSTANT_SECONDS: f64 = 5.0;

/// An exponentially weighted moving average of a rate, for readings at uneven distances.
///
/// The new reading's share is 1 - e^(-dt/T): the response of a first-order low-pass filter to a rate that was constant
/// since the last reading. The load averages of Unix are the same with dt = 5 s.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    per_second: Option<f64>,
}

impl Rate {
    /// Takes in that something happened `count` times in the last `elapsed_ns`. No time is no reading.
    pub(super) fn read(&mut self, count: u64, elapsed_ns: u64) {
        if elapsed_ns == 0 {
            return;
        }
        let seconds = elapsed_ns as f64 / 1e9;
        let now = count as f64 / seconds;
        let share = 1.0 - (-seconds / TIME_CONSTANT_SECONDS).exp();
        self.per_second = Some(self.per_second.map_or(now, |before| before + (now - before) * share));
    }

    /// The rate, 0 before the first reading.
    pub(super) fn per_second(self) -> f64 {
        self.per_second.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_constant_rate_is_itself_at_any_distance() {
        let mut rate = Rate::default();
        for milliseconds in [10, 1000, 1, 333] {
            rate.read(milliseconds * 7, milliseconds * SECOND / 1000);
            assert!((rate.per_second() - 7000.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_step_shows_by_two_thirds_after_the_time_constant() {
        let mut rate = Rate::default();
        rate.read(0, SECOND);
        for _ in 0..50 {
            rate.read(100, SECOND / 10);
        }
        assert!((rate.per_second() - 632.1).abs() < 0.1, "{rate:?}");
        rate.read(1, 0);
        assert!((rate.per_second() - 632.1).abs() < 0.1, "{rate:?}");
    }
}
