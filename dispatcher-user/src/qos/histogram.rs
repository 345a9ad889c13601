//! How long requests waited: a histogram with eight steps for each doubling, over the last one to two minutes.

/// Steps for each doubling: a value is told from one an eighth larger.
const STEPS: u64 = 8;
/// Enough for an hour, in microseconds.
const BUCKETS: usize = 8 * 30;
/// How long a generation is filled.
const SPAN_NS: u64 = 60_000_000_000;

/// Two generations of counts: the one being filled, and the one before.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    current: Box<[u32; BUCKETS]>,
    previous: Box<[u32; BUCKETS]>,
    turned_ns: u64,
}

impl Histogram {
    /// Nothing was counted.
    pub(super) fn new(now_ns: u64) -> Self {
        Self { current: Box::new([0; BUCKETS]), previous: Box::new([0; BUCKETS]), turned_ns: now_ns }
    }

    /// Counts a value.
    pub(super) fn count(&mut self, now_ns: u64, value_ns: u64) {
        self.turn(now_ns);
        if let Some(bucket) = self.current.get_mut(bucket(value_ns / 1000)) {
            *bucket = bucket.saturating_add(1);
        }
    }

    /// Forgets what is due.
    pub(super) fn turn(&mut self, now_ns: u64) {
        let age_ns = now_ns.saturating_sub(self.turned_ns);
        if age_ns < SPAN_NS {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.fill(0);
        if age_ns >= 2 * SPAN_NS {
            self.previous.fill(0);
        }
        self.turned_ns = now_ns;
    }

    /// Adds another one's counts to those being filled.
    pub(super) fn add(&mut self, other: &Self) {
        for ((sum, current), previous) in self.current.iter_mut().zip(other.current.iter()).zip(other.previous.iter()) {
            *sum = sum.saturating_add(*current).saturating_add(*previous);
        }
    }

    /// The value that `per_mille` of all are at most, in nanoseconds; 0 if there are none.
    pub(super) fn quantile_ns(&self, per_mille: u64) -> u64 {
        let counts =
            || self.current.iter().zip(self.previous.iter()).map(|(now, before)| u64::from(*now) + u64::from(*before));
        let wanted = (counts().sum::<u64>() * per_mille).div_ceil(1000);
        let mut seen = 0;
        let reached = (0_u64..).zip(counts()).find(|(_, count)| {
            seen += count;
            seen >= wanted && *count > 0
        });
        reached.map_or(0, |(bucket, _)| upper_us(bucket) * 1000)
    }
}

/// The bucket of a value in microseconds. Below twice [`STEPS`] each value has its own.
fn bucket(value_us: u64) -> usize {
    let shift = u64::from(value_us.checked_ilog2().unwrap_or(0)).saturating_sub(u64::from(STEPS.ilog2()));
    let index = shift * STEPS + (value_us >> shift);
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The largest value of a bucket, in microseconds.
fn upper_us(bucket: u64) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    ((bucket - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_told_within_an_eighth(value_us in 0_u64..3_600_000_000) {
            let upper = upper_us(bucket(value_us) as u64);
            prop_assert!(value_us <= upper && upper <= value_us + value_us / STEPS, "{value_us} in a bucket up to {upper}");
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut histogram = Histogram::new(0);
        assert_eq!(histogram.quantile_ns(500), 0);
        for value_us in 1..=1000 {
            histogram.count(0, value_us * 1000);
        }
        let (median, high) = (histogram.quantile_ns(500), histogram.quantile_ns(990));
        assert!((500_000..=563_000).contains(&median), "{median}");
        assert!((990_000..=1_115_000).contains(&high), "{high}");
        let mut sum = Histogram::new(0);
        sum.count(0, 5_000_000_000);
        sum.add(&histogram);
        assert_eq!(sum.quantile_ns(500), median);
        assert!(sum.quantile_ns(1000) >= 5_000_000_000);
    }

    #[test]
    fn what_is_older_than_two_spans_is_forgotten() {
        let mut histogram = Histogram::new(0);
        histogram.count(0, 1_000_000);
        histogram.turn(SPAN_NS);
        assert!(histogram.quantile_ns(500) > 0);
        histogram.turn(2 * SPAN_NS);
        assert_eq!(histogram.quantile_ns(500), 0);
        histogram.count(2 * SPAN_NS, 1_000_000);
        histogram.turn(5 * SPAN_NS);
        assert_eq!(histogram.quantile_ns(500), 0, "one turn after a long rest forgets both");
    }
}
