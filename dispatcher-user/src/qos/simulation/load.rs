//! Clients that send at times of their own, whatever becomes of their requests.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use crate::qos::settings::ClassId;

/// A sequence of random numbers: xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Above 0, at most 1.
    pub(super) fn part(&mut self) -> f64 {
        ((self.draw() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn exponential_ns(&mut self, mean_ns: f64) -> u64 {
        (-self.part().ln() * mean_ns) as u64
    }
}

/// How long the backend works on a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Service {
    /// Always as long.
    Even(u64),
    /// Within two percent of it.
    Nearly(u64),
    /// Exponentially distributed.
    Varied(u64),
}

impl Service {
    pub(super) fn draw_ns(self, random: &mut Random) -> u64 {
        match self {
            Self::Even(ns) => ns,
            Self::Nearly(ns) => ns - ns / 50 + (ns as f64 / 25.0 * random.part()) as u64,
            Self::Varied(ns) => random.exponential_ns(ns as f64),
        }
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// At equal intervals.
    Even,
    /// At random.
    Random,
}

/// Whose requests they are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    /// All of one client.
    One(u64),
    /// Each of a client that comes once.
    Each,
    /// Of so many clients.
    Any(u64),
}

/// A body that its client sends slowly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    pub(super) bytes: u64,
    pub(super) bytes_per_second: u64,
    pub(super) lends_slot: bool,
}

/// A source of requests.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) class: ClassId,
    pub(super) per_second: u64,
    pub(super) pace: Pace,
    pub(super) whose: Whose,
    pub(super) patience_ns: Option<u64>,
    /// If its requests take another time than the backend's others.
    pub(super) service: Option<Service>,
    pub(super) body: Option<Body>,
}

impl Source {
    pub(super) fn new(class: u16, per_second: u64) -> Self {
        Self {
            class: ClassId(class),
            per_second,
            pace: Pace::Random,
            whose: Whose::Any(64),
            patience_ns: None,
            service: None,
            body: None,
        }
    }

    pub(super) fn next_gap_ns(&self, random: &mut Random) -> u64 {
        let mean_ns = super::SECOND / self.per_second;
        match self.pace {
            Pace::Even => mean_ns,
            Pace::Random => random.exponential_ns(mean_ns as f64),
        }
    }

    pub(super) fn client(&self, job: u64, random: &mut Random) -> u64 {
        match self.whose {
            Whose::One(client) => client,
            Whose::Each => (1 << 40) + job,
            Whose::Any(clients) => (u64::from(self.class.0) << 32) + random.draw() % clients,
        }
    }
}
