//! How long something usually takes: a smoothed mean and deviation, with the gains of RFC 6298.

/// A running estimate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    mean_ns: u64,
    deviation_ns: u64,
    is_known: bool,
}

/// What is assumed before anything was measured: half as long as a queue that begins to stand, and far above what
/// ordinary requests take.
const ASSUMED_NS: u64 = 50_000_000;

impl Usual {
    /// Nothing was measured yet.
    pub(super) fn new() -> Self {
        Self { mean_ns: ASSUMED_NS, deviation_ns: 0, is_known: false }
    }

    /// Takes in a measurement.
    pub(super) fn measure(&mut self, took_ns: u64) {
        if self.is_known {
            let error = self.mean_ns.abs_diff(took_ns);
            self.deviation_ns = self.deviation_ns - self.deviation_ns / 4 + error / 4;
            self.mean_ns = self.mean_ns - self.mean_ns / 8 + took_ns / 8;
        } else {
            *self = Self { mean_ns: took_ns, deviation_ns: took_ns / 2, is_known: true };
        }
    }

    /// What it takes on average.
    pub(super) fn mean_ns(&self) -> u64 {
        self.mean_ns
    }

    /// What is seldom exceeded.
    pub(super) fn long_ns(&self) -> u64 {
        self.mean_ns.saturating_add(self.deviation_ns.saturating_mul(2))
    }

    /// The mean, or 0 if nothing was measured.
    pub(super) fn known_ns(&self) -> u64 {
        if self.is_known { self.mean_ns } else { 0 }
    }

    /// This estimate, or another one if nothing was measured.
    pub(super) fn or<'a>(&'a self, other: &'a Self) -> &'a Self {
        if self.is_known { self } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_is_measured() {
        let mut usual = Usual::new();
        assert_eq!((usual.mean_ns(), usual.known_ns()), (ASSUMED_NS, 0));
        usual.measure(10_000);
        assert_eq!((usual.mean_ns(), usual.long_ns()), (10_000, 20_000));
        for _ in 0..100 {
            usual.measure(10_000);
        }
        assert!((10_000..=10_100).contains(&usual.long_ns()), "{usual:?}");
        for round in 0..200 {
            usual.measure(if round % 2 == 0 { 20_000 } else { 40_000 });
        }
        assert!((28_000..32_000).contains(&usual.mean_ns()), "{usual:?}");
        assert!((44_000..56_000).contains(&usual.long_ns()), "{usual:?}");
    }
}
