//! Samples of one measurement, and what is said about them: median, extremes, and ratios within one round.

use serde::{Deserialize, Serialize};

/// Values that were measured, in the order of the rounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Samples(Vec<f64>);

/// What samples amount to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle value; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// How many values there are.
    pub count: usize,
}

impl Samples {
    /// No samples yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds the value of one more round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// What the samples amount to; nothing if there are none, or one of them is no number.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        if self.0.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (lower, upper) = (sorted.get((sorted.len() - 1) / 2)?, sorted.get(sorted.len() / 2)?);
        Some(Summary { median: f64::midpoint(*lower, *upper), min, max, count: sorted.len() })
    }

    /// The samples divided by those of another subject, round by round.
    ///
    /// What disturbs the machine disturbs both halves of a round, so that these ratios vary less than the values.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        self.paired(other, |value, other| value / other)
    }

    /// The samples less those of another subject, round by round.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        self.paired(other, |value, other| value - other)
    }

    /// The samples after a function was applied to each.
    #[must_use]
    pub fn map(&self, each: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().map(|&value| each(value)).collect())
    }

    fn paired(&self, other: &Self, join: impl Fn(f64, f64) -> f64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(&value, &other)| join(value, other)).collect())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let odd = samples(&[9.0, 1.0, 5.0]).summary().unwrap();
        assert_eq!(odd, Summary { median: 5.0, min: 1.0, max: 9.0, count: 3 });
        let even = samples(&[4.0, 1.0, 2.0, 100.0]).summary().unwrap();
        assert_eq!(even, Summary { median: 3.0, min: 1.0, max: 100.0, count: 4 });
        assert_eq!(samples(&[7.0]).summary().unwrap().median, 7.0);
    }

    #[test]
    fn nothing_is_said_of_no_samples_or_of_no_numbers() {
        assert_eq!(samples(&[]).summary(), None);
        assert_eq!(samples(&[1.0, f64::NAN]).summary(), None);
        assert_eq!(samples(&[1.0, f64::INFINITY]).summary(), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was twice as slow in the second round, for both.
        let (ours, floor) = (samples(&[10.0, 20.0, 11.0]), samples(&[8.0, 16.0, 8.8]));
        let ratio = ours.over(&floor).summary().unwrap();
        assert!((ratio.min - 1.25).abs() < 1e-9 && (ratio.max - 1.25).abs() < 1e-9, "{ratio:?}");
        assert_eq!(ours.less(&floor).summary().unwrap().max, 4.0);
    }

    #[test]
    fn a_round_that_one_subject_lacks_is_left_out() {
        assert_eq!(samples(&[2.0, 4.0]).over(&samples(&[1.0])), samples(&[2.0]));
    }
}
