//! Schedulers: which of a service's usable backends gets a new flow.
//!
//! | scheduler | rule | source |
//! |---|---|---|
//! | `rr` | each in turn | |
//! | `wrr` | smooth weighted round robin: everyone's credit grows by its weight, the richest pays the sum of weights | nginx, `ngx_http_upstream_round_robin.c` |
//! | `lc` | least (live + 1) | IPVS, `ip_vs_lc.c` |
//! | `wlc` | least (live + 1) / weight | IPVS, `ip_vs_wlc.c`; the 1 is the new flow, as in `ip_vs_sed.c` |
//! | `sh`, `mh` | the ring's slot for the client, or for the 5-tuple: as the kernel does | Maglev |
//! | `p2c` | of two drawn at random, the one with less (live + 1) / weight | Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001 |
//! | `least-load` | least (share of live + 1, plus share of bytes per second) / weight | ours: `wlc`, with traffic as a second, equal measure |
//!
//! Shares are among the usable backends, so that flows and bytes count alike whatever their size, and a backend with few
//! but heavy flows is not taken for idle. Equals take turns.

use dispatcher_common::{
    address::Family,
    flow::FlowKey,
    hash,
    ring::{self, Ring},
};

use super::{
    backends::{Backends, Row},
    model::Scheduler,
    random::Random,
};

/// How many slots of the ring a hash tries; as in the kernel.
const PROBES: u64 = 4;

/// The usable backends of one service, and what its scheduler remembers.
#[derive(Debug)]
pub(super) struct Balancer {
    candidates: Vec<Candidate>,
    /// Where the next turn starts.
    cursor: usize,
    random: Random,
}

/// A backend that takes flows.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u16,
    weight: u16,
    /// What `wrr` owes it.
    credit: i64,
}

/// What a pick goes by.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    /// The rule.
    pub(super) scheduler: Scheduler,
    /// What is known of backends.
    pub(super) backends: &'a Backends,
    /// The ring in force.
    pub(super) ring: &'a Ring,
    /// The client's address, hashed.
    pub(super) client_hash: u64,
    /// The 5-tuple, hashed.
    pub(super) flow_hash: u64,
}

impl<'a> Request<'a> {
    /// A pick for the flow `key`.
    pub(super) fn new<A: Family>(
        scheduler: Scheduler,
        backends: &'a Backends,
        ring: &'a Ring,
        key: &FlowKey<A>,
    ) -> Self {
        Self { scheduler, backends, ring, client_hash: hash::client(key), flow_hash: hash::flow(key) }
    }
}

impl Balancer {
    /// A balancer without candidates.
    pub(super) fn new(seed: u64) -> Self {
        Self { candidates: Vec::new(), cursor: 0, random: Random::new(seed) }
    }

    /// True if no backend takes flows.
    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Sets the candidates, as (ID, weight); true if that changes them. Those that stay keep their credit and turn.
    pub(super) fn set(&mut self, candidates: impl Iterator<Item = (u16, u16)> + Clone) -> bool {
        if self.candidates.iter().map(|candidate| (candidate.id, candidate.weight)).eq(candidates.clone()) {
            return false;
        }
        let next = self.candidates.get(self.cursor).map(|candidate| candidate.id);
        let credit = |id| self.candidates.iter().find(|before| before.id == id).map_or(0, |before| before.credit);
        let fresh: Vec<Candidate> =
            candidates.map(|(id, weight)| Candidate { id, weight, credit: credit(id) }).collect();
        let kept = fresh.iter().position(|candidate| Some(candidate.id) == next);
        self.cursor = kept.unwrap_or(if fresh.is_empty() { 0 } else { self.cursor % fresh.len() });
        self.candidates = fresh;
        true
    }

    /// Picks a backend that `admits` lets pass; `None` if none does.
    pub(super) fn pick(&mut self, request: Request<'_>, admits: impl Fn(u16) -> bool) -> Option<u16> {
        let choice = match request.scheduler {
            Scheduler::Rr => self.take_turn(),
            Scheduler::Wrr => self.richest(),
            Scheduler::Lc => self.least(&request, |row, _| live(row)),
            Scheduler::Wlc => self.least(&request, |row, weight| live(row) / weight),
            Scheduler::Sh => self.by_ring(&request, request.client_hash),
            Scheduler::Mh => self.by_ring(&request, request.flow_hash),
            Scheduler::P2c => self.better_of_two(&request),
            Scheduler::LeastLoad => self.least_loaded(&request),
        };
        choice.filter(|&id| admits(id)).or_else(|| self.candidates.iter().map(|c| c.id).find(|&id| admits(id)))
    }

    fn take_turn(&mut self) -> Option<u16> {
        let candidate = self.candidates.get(self.cursor)?;
        self.cursor = (self.cursor + 1) % self.candidates.len();
        Some(candidate.id)
    }

    fn richest(&mut self) -> Option<u16> {
        let mut total = 0;
        for candidate in &mut self.candidates {
            candidate.credit += i64::from(candidate.weight);
            total += i64::from(candidate.weight);
        }
        // The first of equals, as in nginx; max_by_key would give the last.
        let richest = self.candidates.iter_mut().rev().max_by_key(|candidate| candidate.credit)?;
        richest.credit -= total;
        Some(richest.id)
    }

    /// The candidate with the least `load`, given its row and weight. Equals take turns.
    fn least(&mut self, request: &Request<'_>, load: impl Fn(&Row, f64) -> f64) -> Option<u16> {
        let (before, after) = self.candidates.split_at_checked(self.cursor)?;
        let in_turn = (self.cursor..).zip(after).chain((0..).zip(before));
        let weighed = in_turn.filter_map(|(index, candidate)| {
            let row = request.backends.row(candidate.id)?;
            Some((index, candidate.id, load(row, f64::from(candidate.weight))))
        });
        let (index, id, _) = weighed.reduce(|least, other| if other.2 < least.2 { other } else { least })?;
        self.cursor = (index + 1) % self.candidates.len();
        Some(id)
    }

    fn least_loaded(&mut self, request: &Request<'_>) -> Option<u16> {
        let rows = || self.candidates.iter().filter_map(|candidate| request.backends.row(candidate.id));
        let all_live: f64 = rows().map(live).sum();
        let all_bytes: f64 = rows().map(|row| row.bytes.per_second()).sum();
        let bytes_share = move |row: &Row| if all_bytes > 0.0 { row.bytes.per_second() / all_bytes } else { 0.0 };
        self.least(request, move |row, weight| (live(row) / all_live + bytes_share(row)) / weight)
    }

    fn better_of_two(&mut self, request: &Request<'_>) -> Option<u16> {
        let count = self.candidates.len();
        let first = self.random.below(count);
        // Drawn among the others, so that the two differ.
        let second = (first + 1 + self.random.below(count.saturating_sub(1))) % count.max(1);
        let load = |candidate: &Candidate| {
            request.backends.row(candidate.id).map_or(f64::MAX, |row| live(row) / f64::from(candidate.weight))
        };
        let (first, second) = (self.candidates.get(first)?, self.candidates.get(second)?);
        Some(if load(second) < load(first) { second.id } else { first.id })
    }

    fn by_ring(&self, request: &Request<'_>, hash: u64) -> Option<u16> {
        let slots = (0..PROBES).filter_map(|probe| request.ring.slots.get(ring::slot(hash.wrapping_add(probe))));
        let mut usable = slots.filter(|&&id| request.backends.entry(id).is_some_and(|entry| entry.takes_flows()));
        usable.next().copied()
    }
}

/// Live flows with the new one. Exact up to 2^53.
fn live(row: &Row) -> f64 {
    row.live as f64 + 1.0
}
