//! Schedulers: which of a service's usable backends gets a new flow, or a request.
//!
//! | scheduler | rule | source |
//! |---|---|---|
//! | `rr` | each in turn | |
//! | `wrr` | smooth weighted round robin: everyone's credit grows by its weight, the richest pays the sum of weights | nginx, `ngx_http_upstream_round_robin.c` |
//! | `lc` | least count | IPVS, `ip_vs_lc.c` |
//! | `wlc` | least count / weight | IPVS, `ip_vs_wlc.c`; the count includes the new one, as in `ip_vs_sed.c` |
//! | `sh`, `mh` | the ring's slot for the client, or for the 5-tuple: as the kernel does | Maglev |
//! | `p2c` | of two drawn at random, the one with less cost / weight | Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001 |
//! | `least-load` | least (share of all cost + share of all traffic) / weight | ours: `wlc`, with traffic as a second, equal measure |
//!
//! Shares are among the usable backends, so that cost and traffic count alike whatever their units, and a backend with few
//! but heavy flows is not taken for idle. Equals take turns.
//!
//! What count, cost and traffic are is for the caller to say ([`Load`]).

use dispatcher_common::ring::{self, Ring};

use super::{model::Scheduler, random::Random};

/// How many slots of the ring a hash tries; as in the kernel.
const PROBES: u64 = 4;

/// How loaded a backend is.
///
/// | | count | cost | traffic |
/// |---|---|---|---|
/// | flows of packets | live flows | live flows | bytes per second |
/// | requests | in flight | in flight x latency | none |
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// What it has in hand, with the new one.
    pub(super) count: f64,
    /// What the new one would wait for.
    pub(super) cost: f64,
    /// What passes through it.
    pub(super) traffic: f64,
}

/// The usable backends of one service, and what its scheduler remembers.
#[derive(Debug)]
pub(super) struct Balancer {
    candidates: Vec<Candidate>,
    /// Where the next turn starts.
    cursor: usize,
    random: Random,
}

/// A usable backend.
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
    /// How loaded a backend is; `None` if it is not usable after all.
    pub(super) load: &'a dyn Fn(u16) -> Option<Load>,
    /// The ring in force.
    pub(super) ring: &'a Ring,
    /// The client's address, hashed.
    pub(super) client_hash: u64,
    /// The 5-tuple, hashed.
    pub(super) flow_hash: u64,
}

impl Balancer {
    /// A balancer without candidates.
    pub(super) fn new(seed: u64) -> Self {
        Self { candidates: Vec::new(), cursor: 0, random: Random::new(seed) }
    }

    /// True if no backend is usable.
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

    /// Picks a backend that `admits` lets pass; `None` if none does. `admits` may be costly: it is asked for those that
    /// would be picked alone.
    pub(super) fn pick(&mut self, request: Request<'_>, admits: impl Fn(u16) -> bool) -> Option<u16> {
        let mut refused = Vec::new();
        for _ in 0..self.candidates.len() {
            let id = self.choose(&request, &refused)?;
            if admits(id) {
                return Some(id);
            }
            refused.push(id);
        }
        None
    }

    fn choose(&mut self, request: &Request<'_>, refused: &[u16]) -> Option<u16> {
        match request.scheduler {
            Scheduler::Rr => self.least(refused, |_| Some(0.0)),
            Scheduler::Wrr => self.richest(refused),
            Scheduler::Lc => self.least(refused, |each| Some((request.load)(each.id)?.count)),
            Scheduler::Wlc => self.least(refused, |each| Some((request.load)(each.id)?.count / each.share())),
            Scheduler::Sh => self.by_ring(request, request.client_hash, refused),
            Scheduler::Mh => self.by_ring(request, request.flow_hash, refused),
            Scheduler::P2c => self.better_of_two(request, refused),
            Scheduler::LeastLoad => self.least_loaded(request, refused),
        }
    }

    fn richest(&mut self, refused: &[u16]) -> Option<u16> {
        let mut total = 0;
        for candidate in &mut self.candidates {
            candidate.credit += i64::from(candidate.weight);
            total += i64::from(candidate.weight);
        }
        let admitted = self.candidates.iter_mut().filter(|candidate| !refused.contains(&candidate.id));
        // The first of equals, as in nginx; max_by_key would give the last.
        let richest = admitted.rev().max_by_key(|candidate| candidate.credit)?;
        richest.credit -= total;
        Some(richest.id)
    }

    /// The candidate with the least `load`. Equals take turns.
    fn least(&mut self, refused: &[u16], load: impl Fn(&Candidate) -> Option<f64>) -> Option<u16> {
        let (before, after) = self.candidates.split_at_checked(self.cursor)?;
        let in_turn = (self.cursor..).zip(after).chain((0..).zip(before));
        let admitted = in_turn.filter(|(_, candidate)| !refused.contains(&candidate.id));
        let weighed = admitted.filter_map(|(index, candidate)| Some((index, candidate.id, load(candidate)?)));
        let (index, id, _) = weighed.reduce(|least, other| if other.2 < least.2 { other } else { least })?;
        self.cursor = (index + 1) % self.candidates.len();
        Some(id)
    }

    fn least_loaded(&mut self, request: &Request<'_>, refused: &[u16]) -> Option<u16> {
        let loads = || self.candidates.iter().filter_map(|candidate| (request.load)(candidate.id));
        let all = loads().fold(Load::default(), |all, load| Load {
            cost: all.cost + load.cost,
            traffic: all.traffic + load.traffic,
            ..all
        });
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        self.least(refused, |candidate| {
            let load = (request.load)(candidate.id)?;
            Some((share(load.cost, all.cost) + share(load.traffic, all.traffic)) / candidate.share())
        })
    }

    fn better_of_two(&mut self, request: &Request<'_>, refused: &[u16]) -> Option<u16> {
        let count = self.candidates.iter().filter(|candidate| !refused.contains(&candidate.id)).count();
        let first = self.random.below(count);
        // Drawn among the others, so that the two differ.
        let second = (first + 1 + self.random.below(count.saturating_sub(1))) % count.max(1);
        let mut admitted = self.candidates.iter().filter(|candidate| !refused.contains(&candidate.id));
        let cost =
            |candidate: &Candidate| (request.load)(candidate.id).map_or(f64::MAX, |load| load.cost / candidate.share());
        let (lower, upper) = (first.min(second), first.max(second));
        let lower_one = admitted.nth(lower)?;
        let upper_one = if upper > lower { admitted.nth(upper - lower - 1)? } else { lower_one };
        Some(if cost(upper_one) < cost(lower_one) { upper_one.id } else { lower_one.id })
    }

    /// The first usable backend of the slots that the hash leads to; if there is none, whose turn it is.
    fn by_ring(&mut self, request: &Request<'_>, hash: u64, refused: &[u16]) -> Option<u16> {
        let slots = (0..PROBES).filter_map(|probe| request.ring.slots.get(ring::slot(hash.wrapping_add(probe))));
        let mut usable = slots.filter(|&&id| !refused.contains(&id) && (request.load)(id).is_some());
        usable.next().copied().or_else(|| self.least(refused, |_| Some(0.0)))
    }
}

impl Candidate {
    /// The weight to divide by. Weights of candidates are above 0.
    fn share(&self) -> f64 {
        f64::from(self.weight)
    }
}

#[cfg(test)]
mod tests;
