//! How many requests a backend is given at a time: as configured, or found from its latency.
//!
//! A backend that gets more than it works on at once lets the rest wait in a queue of its own, first in, first out, which
//! no schedule of ours can overtake. Its latency shows that: it grows above what it is with an idle backend. So the
//! window is a gradient limit, as Envoy's adaptive concurrency filter (`gradient_controller.cc`) and Netflix's
//! concurrency-limits (`Gradient2Limit.java`) have it:
//!
//! ```text
//! gradient = latency without a queue * (1 + tolerance) / latency now        within 0.5 … 1
//! window   = window * gradient + growth                                     growth only if the window was full
//! ```
//!
//! The latency without a queue is measured, as in Envoy, not averaged over time, as in Gradient2: an average over a
//! lasting overload is the latency of the overload. It is taken whenever no more than half the window was in use, and if
//! that has not been for long, the window is halved for a moment. Latencies are medians of an interval: a backend's
//! requests differ, and its slowest ones say nothing about a queue. How far two medians differ by chance is known from
//! the spread of their samples (the notches of McGill, Tukey, Larsen, "Variations of Box Plots", 1978); less than that is
//! no difference.
//!
//! ```text
//!            enough measured at half the window
//!   ┌──────────────────────────────────────────────┐
//!   ▼                                              │
//! following ──no measurement without a queue for long, or the window shrank by half──▶ probing
//! ```

use super::settings::WindowSettings;

/// Latencies are judged over so long a time at least; nanoseconds.
const INTERVAL_NS: u64 = 100_000_000;
/// Fewer latencies than this say nothing.
const ENOUGH: usize = 16;
/// More than this many are not kept in one interval.
const SAMPLES: usize = 1024;
/// A latency without a queue is measured anew after this time.
const PROBE_AFTER_NS: u64 = 10_000_000_000;
/// A measurement that was far from the one before is repeated after this time.
const PROBE_AGAIN_NS: u64 = 1_000_000_000;
/// A probe lasts until it is certain within a twentieth, but not longer than this if there are enough latencies.
const PROBE_NS: u64 = 500_000_000;
/// What an answer gives back of the window after a probe.
const RECOVERY: f64 = 0.5;
/// A probe in which too few requests come ends after this time.
const VAIN_PROBE_NS: u64 = 2_000_000_000;
/// What latency may be above the one without a queue, in parts of it, and in nanoseconds for what a host adds by itself.
const TOLERANCE: f64 = 0.03;
const TOLERANCE_NS: f64 = 100_000.0;
/// How far the window goes towards its aim in an interval.
const SMOOTHING: f64 = 0.3;
/// Growth in an interval, in parts of the window; from the third interval in a row without a queue, it doubles.
const GROWTH: f64 = 1.0 / 32.0;
const MOST_DOUBLINGS: u32 = 3;
/// Growth in slots at least. With a queue it is what makes the window notice that there is none any more.
const LEAST_GROWTH: f64 = 0.3;

/// A backend's window.
#[derive(Debug)]
pub(super) enum Window {
    /// As configured.
    Fixed(u32),
    /// Found.
    Found(Box<Gradient>),
}

impl Window {
    /// The window to begin with.
    pub(super) fn new(settings: WindowSettings, now_ns: u64) -> Self {
        match settings {
            WindowSettings::Open => Self::Fixed(u32::MAX),
            WindowSettings::Fixed(slots) => Self::Fixed(slots),
            WindowSettings::Found { min, max, initial } => {
                Self::Found(Box::new(Gradient::new(now_ns, min, max, initial)))
            }
        }
    }

    /// Changes the settings. A window that is found goes on from where it is, within the new bounds.
    pub(super) fn set(&mut self, settings: WindowSettings, now_ns: u64) {
        match (self, settings) {
            (Self::Found(gradient), WindowSettings::Found { min, max, .. }) => gradient.bound(min, max),
            (window, _) => *window = Self::new(settings, now_ns),
        }
    }

    /// Latency without a queue, where the window is found and once it is known.
    pub(super) fn base_ns(&self) -> Option<u64> {
        match self {
            Self::Fixed(_) => None,
            Self::Found(gradient) => gradient.base.map(|base| base.median_ns),
        }
    }

    /// Slots.
    pub(super) fn slots(&self) -> u32 {
        match self {
            Self::Fixed(slots) => *slots,
            Self::Found(gradient) => whole(gradient.window),
        }
    }

    /// Slots for now: fewer while a probe lasts.
    pub(super) fn slots_now(&self) -> u32 {
        match self {
            Self::Fixed(slots) => *slots,
            Self::Found(gradient) => whole(gradient.limit.unwrap_or(gradient.window)),
        }
    }

    /// Takes in the latency of a request that started at `started_ns`; `in_flight` others are with the backend now.
    pub(super) fn measure(&mut self, now_ns: u64, started_ns: u64, in_flight: u32) {
        if let Self::Found(gradient) = self {
            gradient.measure(now_ns, started_ns, in_flight);
        }
    }
}

/// A window that follows the gradient of latency.
#[derive(Debug)]
pub(super) struct Gradient {
    min: f64,
    max: f64,
    window: f64,
    /// Latency without a queue, once it was measured.
    base: Option<Latency>,
    /// When that was last.
    based_ns: u64,
    probe_after_ns: u64,
    probing: Option<Probe>,
    /// What may be used of the window during a probe, and for a moment after it.
    limit: Option<f64>,
    interval_began_ns: u64,
    most_in_flight: u32,
    /// Intervals in a row that showed no queue with a full window.
    clear_intervals: u32,
    /// The window when the latency without a queue was last measured.
    based_window: f64,
    samples: Vec<u64>,
}

/// A latency and how uncertain it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Latency {
    median_ns: u64,
    notch_ns: u64,
}

/// A measurement at half the window.
#[derive(Clone, Copy, Debug)]
struct Probe {
    began_ns: u64,
    /// Since when no more than the limit are in flight. What started before has met a longer queue.
    clear_since_ns: Option<u64>,
}

impl Gradient {
    fn new(now_ns: u64, min: u32, max: u32, initial: u32) -> Self {
        Self {
            min: f64::from(min),
            max: f64::from(max),
            window: f64::from(initial),
            base: None,
            based_ns: now_ns,
            probe_after_ns: PROBE_AGAIN_NS,
            // What is not known yet is measured first.
            probing: Some(Probe { began_ns: now_ns, clear_since_ns: None }),
            limit: Some(f64::from((initial / 2).max(min))),
            interval_began_ns: now_ns,
            most_in_flight: 0,
            clear_intervals: 0,
            based_window: f64::from(initial),
            samples: Vec::with_capacity(SAMPLES),
        }
    }

    fn bound(&mut self, min: u32, max: u32) {
        (self.min, self.max) = (f64::from(min), f64::from(max));
        self.window = self.window.clamp(self.min, self.max);
    }

    fn measure(&mut self, now_ns: u64, started_ns: u64, in_flight: u32) {
        match (&mut self.probing, self.limit) {
            (Some(probe), Some(limit)) if f64::from(in_flight) < limit => {
                probe.clear_since_ns.get_or_insert(now_ns);
            }
            // All at once, they would start together, end together, and make others wait together.
            (None, Some(limit)) => self.limit = Some(limit + RECOVERY).filter(|limit| *limit < self.window),
            (Some(_), _) | (None, None) => {}
        }
        let counts =
            self.probing.is_none_or(|probe| probe.clear_since_ns.is_some_and(|since_ns| started_ns >= since_ns));
        if counts {
            // With this one.
            self.most_in_flight = self.most_in_flight.max(in_flight.saturating_add(1));
            if self.samples.len() < SAMPLES {
                self.samples.push(now_ns.saturating_sub(started_ns));
            }
        }
        match self.probing {
            Some(probe) => self.end_probe(now_ns, probe),
            None if now_ns.saturating_sub(self.interval_began_ns) >= INTERVAL_NS => self.end_interval(now_ns),
            None => {}
        }
    }

    fn end_probe(&mut self, now_ns: u64, probe: Probe) {
        let lasted_ns = now_ns.saturating_sub(probe.began_ns);
        // Looking takes time, so it is done for every so many.
        let looks = !self.samples.is_empty() && self.samples.len().is_multiple_of(ENOUGH);
        let latency = if looks { self.latency() } else { None };
        let is_certain = latency.is_some_and(|latency| latency.notch_ns <= latency.median_ns / 20);
        match latency {
            Some(latency) if is_certain || lasted_ns >= PROBE_NS => self.rebase(now_ns, latency),
            Some(_) | None if lasted_ns < VAIN_PROBE_NS => return,
            Some(_) | None => {}
        }
        self.based_ns = now_ns;
        self.based_window = self.window;
        self.probing = None;
        self.begin_interval(now_ns);
    }

    fn end_interval(&mut self, now_ns: u64) {
        if self.samples.len() < ENOUGH {
            return;
        }
        let Some(latency) = self.latency() else { return };
        if self.most_in_flight <= self.half() || self.base.is_none() {
            self.rebase(now_ns, latency);
        }
        self.follow(latency);
        self.begin_interval(now_ns);
        // A window that shrank by half has gone by a latency that was perhaps low by chance, or is not true any more.
        let is_doubtful = self.window <= self.based_window / 2.0;
        if is_doubtful || now_ns.saturating_sub(self.based_ns) >= self.probe_after_ns {
            self.probing = Some(Probe { began_ns: now_ns, clear_since_ns: None });
            self.limit = Some(f64::from(self.half()));
        }
    }

    /// Half the window, but not less than the minimum: with no more in use, there is no queue.
    fn half(&self) -> u32 {
        whole((self.window / 2.0).max(self.min))
    }

    /// Takes in a latency without a queue. One that agrees with what is known makes that more certain.
    fn rebase(&mut self, now_ns: u64, latency: Latency) {
        let agreeing = self.base.filter(|base| {
            let by_chance_ns = base.notch_ns.saturating_add(latency.notch_ns).saturating_add(base.median_ns / 20);
            base.median_ns.abs_diff(latency.median_ns) <= by_chance_ns
        });
        self.probe_after_ns = if agreeing.is_some() { PROBE_AFTER_NS } else { PROBE_AGAIN_NS };
        self.base = Some(agreeing.map_or(latency, |base| Latency {
            median_ns: base.median_ns.midpoint(latency.median_ns),
            // The mean of two is more certain than each by the root of two.
            notch_ns: base.notch_ns.midpoint(latency.notch_ns) * 5 / 7,
        }));
        self.based_ns = now_ns;
        self.based_window = self.window;
    }

    fn follow(&mut self, latency: Latency) {
        let Some(base) = self.base else { return };
        // Exact up to 2^53 nanoseconds, which are 104 days.
        let by_chance = base.notch_ns.saturating_mul(2).saturating_add(latency.notch_ns) as f64;
        let tolerated = base.median_ns as f64 * (1.0 + TOLERANCE) + TOLERANCE_NS + by_chance;
        let gradient = (tolerated / latency.median_ns.max(1) as f64).clamp(0.5, 1.0);
        let was_full = self.most_in_flight >= whole(self.window);
        let has_queue = gradient < 1.0;
        let growth = if was_full { self.growth(has_queue) } else { 0.0 };
        let aim = self.window * gradient + growth;
        self.window = (self.window + SMOOTHING * (aim - self.window)).clamp(self.min, self.max);
        self.clear_intervals = if was_full && !has_queue { self.clear_intervals.saturating_add(1) } else { 0 };
    }

    /// What a full window may grow by. The longer there was no queue, the more.
    fn growth(&self, has_queue: bool) -> f64 {
        if has_queue {
            return LEAST_GROWTH;
        }
        let doublings = 1_u32 << self.clear_intervals.saturating_sub(1).min(MOST_DOUBLINGS);
        (self.window * GROWTH).max(LEAST_GROWTH) * f64::from(doublings)
    }

    fn begin_interval(&mut self, now_ns: u64) {
        self.interval_began_ns = now_ns;
        self.most_in_flight = 0;
        self.samples.clear();
    }

    /// The latency of the interval.
    fn latency(&mut self) -> Option<Latency> {
        self.samples.sort_unstable();
        let count = self.samples.len();
        let at = |part: usize| self.samples.get(count * part / 4).copied();
        let (low, median, high) = (at(1)?, at(2)?, at(3)?);
        // 0.93 / sqrt(n) of the distance between the quartiles.
        let notch = high.saturating_sub(low).saturating_mul(93) / 100 / (count.isqrt().max(1) as u64);
        Some(Latency { median_ns: median, notch_ns: notch })
    }
}

/// Whole slots.
fn whole(window: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the window lies between its bounds of 32 bits"
    )]
    let slots = window as u32;
    slots.max(1)
}
