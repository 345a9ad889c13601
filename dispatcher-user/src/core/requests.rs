//! The load-balancing table of a service of mode `secure`: which backend gets a request.
//!
//! The schedulers are those of packets (`balancer.rs`). What loads a backend differs: the requests that it has in
//! hand, and for how long such a request takes there at the moment. That latency is a peak-sensitive average ("peak
//! EWMA"): a slow answer counts at once and in full, quick ones bring it down over ten seconds. Source: Finagle,
//! `com.twitter.finagle.loadbalancer.PeakEwma`, and Linkerd, which took it over.
//!
//! A backend that fails at once would look like the quickest of all. A failure therefore counts like an answer that took
//! five seconds.

use std::time::Duration;

use dispatcher_common::ring::Ring;

use super::{
    balancer::{self, Balancer, Load},
    maglev::{self, Entrant},
    model::Scheduler,
};

/// How long it takes until a peak counts e times less.
const DECAY: Duration = Duration::from_secs(10);
/// What a failure counts as.
const FAILURE: Duration = Duration::from_secs(5);
/// What a request in hand costs at a backend that has never answered one. Any known latency is below it.
const UNKNOWN_NS: f64 = 60e9;

/// A backend, as the operator and the tunnels have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub entrant: Entrant,
    /// Which of those that had its ID.
    pub generation: u16,
    /// True if it is given what is new.
    pub takes_new: bool,
    /// True if it goes on with what it has.
    pub keeps: bool,
}

/// What a backend has in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RequestLoad {
    /// Requests under way.
    pub in_flight: u32,
    /// Requests since it was added.
    pub requests: u64,
    /// Those that came to nothing.
    pub failures: u64,
    /// Until the answer begins, in nanoseconds: the average that picks go by.
    pub latency_ns: f64,
}

/// The backends of one service, and where its next request goes.
#[derive(Debug)]
pub struct Requests {
    scheduler: Scheduler,
    rows: Vec<Row>,
    balancer: Balancer,
    ring: Box<Ring>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    member: Member,
    load: RequestLoad,
    latency: PeakEwma,
}

impl Requests {
    /// A table without backends. `seed` is a random number.
    #[must_use]
    pub fn new(scheduler: Scheduler, seed: u64) -> Self {
        Self { scheduler, rows: Vec::new(), balancer: Balancer::new(seed), ring: maglev::populate(&[]) }
    }

    /// Goes on with these backends and this scheduler. What is known of those that stay is kept.
    pub fn follow(&mut self, scheduler: Scheduler, members: &[Member]) {
        self.scheduler = scheduler;
        let known = |member: &Member| {
            let is_it = |row: &&Row| (row.id(), row.member.generation) == (member.entrant.id, member.generation);
            self.rows.iter().find(is_it).copied()
        };
        let fresh = |member: &Member| {
            let row = Row { member: *member, load: RequestLoad::default(), latency: PeakEwma::default() };
            known(member).map_or(row, |known| Row { member: *member, ..known })
        };
        self.rows = members.iter().map(fresh).collect();
        let takers = || self.rows.iter().filter(|row| row.takes()).map(|row| row.member.entrant);
        if self.balancer.set(takers().map(|entrant| (entrant.id, entrant.weight)).collect::<Vec<_>>().into_iter()) {
            self.ring = maglev::populate(&takers().collect::<Vec<_>>());
        }
    }

    /// Picks a backend for something new, other than those that `refused` names. `client` is the client's hash.
    pub fn pick(&mut self, now_ns: u64, client: u64, refused: &[u16]) -> Option<u16> {
        let Self { scheduler, rows, balancer, ring } = self;
        let load = |id| rows.iter().find(|row| row.id() == id).map(|row| row.weighed(now_ns));
        let request =
            balancer::Request { scheduler: *scheduler, load: &load, ring, client_hash: client, flow_hash: client };
        balancer.pick(request, |id| !refused.contains(&id))
    }

    /// True if the backend goes on with what it has.
    #[must_use]
    pub fn keeps(&self, id: u16) -> bool {
        self.row(id).is_some_and(|row| row.member.keeps)
    }

    /// A request goes to a backend.
    pub fn began(&mut self, id: u16) {
        if let Some(row) = self.row_mut(id) {
            row.load.in_flight = row.load.in_flight.saturating_add(1);
            row.load.requests = row.load.requests.wrapping_add(1);
        }
    }

    /// A request is over. `latency_ns` is how long its answer took to begin, if it did; `is_answered` is false for one that
    /// the backend failed.
    pub fn ended(&mut self, now_ns: u64, id: u16, latency_ns: Option<u64>, is_answered: bool) {
        let Some(row) = self.row_mut(id) else { return };
        row.load.in_flight = row.load.in_flight.saturating_sub(1);
        if let Some(latency_ns) = latency_ns {
            row.latency.read(now_ns, latency_ns as f64);
        }
        if !is_answered {
            row.load.failures = row.load.failures.wrapping_add(1);
            row.latency.read(now_ns, FAILURE.as_nanos() as f64);
        }
    }

    /// What a backend has in hand.
    #[must_use]
    pub fn load(&self, now_ns: u64, id: u16) -> Option<RequestLoad> {
        let row = self.row(id)?;
        Some(RequestLoad { latency_ns: row.latency.at(now_ns), ..row.load })
    }

    fn row(&self, id: u16) -> Option<&Row> {
        self.rows.iter().find(|row| row.id() == id)
    }

    fn row_mut(&mut self, id: u16) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.id() == id)
    }
}

impl Row {
    fn id(&self) -> u16 {
        self.member.entrant.id
    }

    fn takes(&self) -> bool {
        self.member.takes_new && self.member.entrant.weight > 0
    }

    /// What one more request would meet here.
    fn weighed(&self, now_ns: u64) -> Load {
        let count = f64::from(self.load.in_flight) + 1.0;
        let latency_ns = self.latency.at(now_ns);
        // Nothing is known: the first request is free, so that a backend is tried, and the next ones are not.
        let cost = match self.load.in_flight {
            0 if latency_ns == 0.0 => 0.0,
            _ if latency_ns == 0.0 => UNKNOWN_NS * count,
            _ => latency_ns * count,
        };
        Load { count, cost, traffic: 0.0 }
    }
}

/// An average over time that follows peaks at once.
#[derive(Clone, Copy, Debug, Default)]
struct PeakEwma {
    value: f64,
    read_ns: u64,
}

impl PeakEwma {
    fn read(&mut self, now_ns: u64, reading: f64) {
        let before = if self.read_ns == 0 { 0.0 } else { self.value };
        let share = self.share(now_ns);
        self.value =
            if reading >= before || self.read_ns == 0 { reading } else { before * share + reading * (1.0 - share) };
        self.read_ns = now_ns.max(1);
    }

    /// The average now: without readings it falls, so that a backend which once was slow is tried again.
    fn at(self, now_ns: u64) -> f64 {
        self.value * self.share(now_ns)
    }

    /// What the past counts at `now_ns`.
    fn share(self, now_ns: u64) -> f64 {
        let elapsed_ns = now_ns.saturating_sub(self.read_ns) as f64;
        (-elapsed_ns / DECAY.as_nanos() as f64).exp()
    }
}

#[cfg(test)]
mod tests;
