//! A seeded simulation in virtual time: open-loop clients, the schedule, and a backend of a fixed capacity with a queue of
//! its own, first in, first out, behind it.
//!
//! Latency counts from the moment at which a request was due to be sent, and only answers that somebody still waits for
//! count as goodput. The schedule's invariants are checked on the way.
//!
//! Every scenario is played from a few seeds; `DISPATCHER_SIMULATION_SEEDS=N` plays it from so many.

mod backend;
mod load;
mod scenarios;
mod slow_bodies;
mod windows;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    env,
    panic::{self, AssertUnwindSafe},
};

use self::{
    backend::Backend,
    load::{Random, Source},
};
use super::{
    request::{Ask, Ticket},
    scheduler::{Answer, Outcome, Scheduler},
    settings::{ClassSettings, Settings, WindowSettings},
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// Seeds from which a scenario is played unless told otherwise.
const SEEDS: u64 = 2;

/// Plays a scenario from each seed, and names those with which it fails.
fn play(scenario: impl Fn(u64)) {
    let seeds = env::var("DISPATCHER_SIMULATION_SEEDS").map_or(SEEDS, |text| text.parse().unwrap());
    let fails = |seed: &u64| panic::catch_unwind(AssertUnwindSafe(|| scenario(*seed))).is_err();
    let failed: Vec<u64> = (1..=seeds).filter(fails).collect();
    assert!(failed.is_empty(), "seeds {failed:?} of {seeds} fail");
}

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A source sends its next request.
    Arrive(usize),
    /// A client has no patience left.
    GiveUp(usize),
    /// The backend is ready with a request.
    Done(usize),
    /// A client's next bytes are there, or it has not sent them in time.
    Body(usize),
    /// The schedule has something to do.
    Due,
    /// The backend's capacity or service time changes.
    Change(usize),
}

/// A request and where it is.
#[derive(Clone, Debug)]
struct Job {
    source: usize,
    due_ns: u64,
    ticket: Option<Ticket>,
    place: Place,
    /// Bytes that its client has not sent yet.
    body_left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    /// Its body is on its way through, with or without a slot.
    Uploading,
    /// All but its last byte is through, and it waits for a slot again.
    Resuming,
    Backend,
    Over,
}

/// What a source saw.
#[derive(Clone, Debug, Default)]
struct Seen {
    latencies_ns: Vec<u64>,
    /// Answers that came before the end of the time that is measured.
    in_time: u64,
    sent: u64,
    refused: u64,
    gave_up: u64,
}

impl Seen {
    fn good(&self) -> usize {
        self.latencies_ns.len()
    }

    /// The latency that `per_mille` of the answers had at most.
    fn quantile_ms(&self, per_mille: usize) -> f64 {
        let mut sorted = self.latencies_ns.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * per_mille).div_ceil(1000).saturating_sub(1);
        sorted.get(index).map_or(f64::NAN, |&latency_ns| latency_ns as f64 / MS as f64)
    }

    fn p99_ms(&self) -> f64 {
        self.quantile_ms(990)
    }
}

/// The clients, the schedule and the backend.
struct World {
    now_ns: u64,
    /// Not measured: the time in which the schedule learns what is usual.
    warm_up_ns: u64,
    end_ns: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    event_count: u64,
    armed_ns: u64,
    random: Random,
    sources: Vec<Source>,
    seen: Vec<Seen>,
    jobs: Vec<Job>,
    scheduler: Scheduler<usize>,
    backend: Backend,
    /// What the backend becomes, and when.
    changes: Vec<(u64, Backend)>,
    /// Longest queue behind the backend's own workers.
    longest_backend_queue: usize,
    windows: Vec<(u64, u32)>,
}

impl World {
    fn new(seed: u64, settings: &Settings, backend: Backend, sources: Vec<Source>) -> Self {
        let mut world = Self {
            now_ns: 0,
            warm_up_ns: 2 * SECOND,
            end_ns: 0,
            events: BinaryHeap::new(),
            event_count: 0,
            armed_ns: u64::MAX,
            random: Random::new(seed),
            seen: vec![Seen::default(); sources.len()],
            sources,
            jobs: Vec::new(),
            scheduler: Scheduler::new(settings, 0).unwrap(),
            backend,
            changes: Vec::new(),
            longest_backend_queue: 0,
            windows: Vec::new(),
        };
        for source in 0..world.sources.len() {
            let first_ns = world.sources[source].next_gap_ns(&mut world.random);
            world.at(first_ns, Event::Arrive(source));
        }
        world
    }

    /// The backend becomes another one at `at_ns`.
    fn change_backend(&mut self, at_ns: u64, backend: Backend) {
        self.at(at_ns, Event::Change(self.changes.len()));
        self.changes.push((at_ns, backend));
    }

    fn at(&mut self, at_ns: u64, event: Event) {
        self.event_count += 1;
        self.events.push(Reverse((at_ns, self.event_count, event)));
    }

    /// Runs for `seconds` after the warm-up and returns what each source saw of it.
    fn run(&mut self, seconds: u64) -> Vec<Seen> {
        let end_ns = self.warm_up_ns + seconds * SECOND;
        self.end_ns = end_ns;
        while let Some(Reverse((at_ns, _, event))) = self.events.pop() {
            // Requests sent before the end still get their time.
            if at_ns > end_ns + 10 * SECOND {
                break;
            }
            self.now_ns = at_ns;
            match event {
                Event::Arrive(source) if at_ns < end_ns => self.arrive(source),
                Event::Arrive(_) => {}
                Event::GiveUp(job) => self.give_up(job),
                Event::Done(job) => self.done(job),
                Event::Body(job) => self.body(job),
                Event::Change(change) => {
                    self.backend.become_like(&self.changes[change].1);
                    self.run_backend();
                }
                Event::Due if at_ns == self.armed_ns => self.armed_ns = u64::MAX,
                // It was wanted earlier meanwhile.
                Event::Due => {}
            }
            self.settle();
            // All of it looks at all that waits, so it is done for some steps only.
            if self.event_count.is_multiple_of(64) {
                self.scheduler.check();
            }
        }
        std::mem::take(&mut self.seen)
    }

    fn is_measured(&self, job: usize) -> bool {
        self.jobs[job].due_ns >= self.warm_up_ns
    }

    fn arrive(&mut self, index: usize) {
        let source = self.sources[index].clone();
        let gap_ns = source.next_gap_ns(&mut self.random);
        self.at(self.now_ns + gap_ns, Event::Arrive(index));
        let job = self.jobs.len();
        let body_left = source.body.map_or(0, |body| body.bytes);
        self.jobs.push(Job { source: index, due_ns: self.now_ns, ticket: None, place: Place::Waiting, body_left });
        if self.is_measured(job) {
            self.seen[index].sent += 1;
        }
        if let Some(patience_ns) = source.patience_ns {
            self.at(self.now_ns + patience_ns, Event::GiveUp(job));
        }
        let ask = Ask::new(source.class, source.client(job as u64, &mut self.random));
        match self.scheduler.ask(self.now_ns, &ask, job) {
            Answer::Go(ticket) => {
                self.jobs[job].ticket = Some(ticket);
                self.go(job);
            }
            Answer::Wait(ticket) => self.jobs[job].ticket = Some(ticket),
            Answer::Shed(_) => self.refused(job),
        }
    }

    /// A request has its slot.
    fn go(&mut self, job: usize) {
        if self.jobs[job].body_left == 0 {
            self.jobs[job].place = Place::Backend;
            self.backend.queue.push_back(job);
            self.run_backend();
        } else {
            self.jobs[job].place = Place::Uploading;
            self.body(job);
        }
    }

    fn refused(&mut self, job: usize) {
        self.jobs[job].place = Place::Over;
        if self.is_measured(job) {
            self.seen[self.jobs[job].source].refused += 1;
        }
    }

    fn give_up(&mut self, job: usize) {
        let (place, ticket) = (self.jobs[job].place, self.jobs[job].ticket);
        if place == Place::Over {
            return;
        }
        match place {
            Place::Waiting => self.scheduler.withdraw(self.now_ns, ticket.unwrap()),
            // The backend is not told, or does not listen.
            Place::Backend | Place::Uploading | Place::Resuming => self.scheduler.abandon(self.now_ns, ticket.unwrap()),
            Place::Over => {}
        }
        self.jobs[job].place = Place::Over;
        if self.is_measured(job) {
            self.seen[self.jobs[job].source].gave_up += 1;
        }
    }

    fn done(&mut self, job: usize) {
        self.backend.busy -= 1;
        self.run_backend();
        let Job { source, due_ns, ticket, place, .. } = self.jobs[job];
        if place != Place::Backend {
            return;
        }
        self.jobs[job].place = Place::Over;
        self.scheduler.finish(self.now_ns, ticket.unwrap());
        if self.is_measured(job) {
            self.seen[source].latencies_ns.push(self.now_ns - due_ns);
        }
        if (self.warm_up_ns..self.end_ns).contains(&self.now_ns) {
            self.seen[source].in_time += 1;
        }
    }

    /// The next part of a body arrives: the slot is lent while the client's bytes are awaited, and is needed at the end.
    fn body(&mut self, job: usize) {
        if self.jobs[job].place != Place::Uploading {
            return;
        }
        let body = self.sources[self.jobs[job].source].body.unwrap();
        if self.jobs[job].body_left == 0 {
            let outcome = self.scheduler.resume(self.now_ns, self.jobs[job].ticket.unwrap());
            match outcome {
                Outcome::Go => self.go(job),
                Outcome::Waits => self.jobs[job].place = Place::Resuming,
                Outcome::Shed(_) => self.refused(job),
            }
            return;
        }
        if body.lends_slot {
            self.scheduler.stall(self.jobs[job].ticket.unwrap());
        }
        let chunk = self.jobs[job].body_left.min(16 << 10);
        self.jobs[job].body_left -= chunk;
        self.at(self.now_ns + chunk * SECOND / body.bytes_per_second, Event::Body(job));
    }

    fn run_backend(&mut self) {
        while let Some((job, service_ns)) =
            self.backend.take(&mut self.random, |job| self.sources[self.jobs[job].source].service)
        {
            self.at(self.now_ns + service_ns, Event::Done(job));
        }
        self.longest_backend_queue = self.longest_backend_queue.max(self.backend.queue.len());
    }

    /// Carries out what the schedule says, and comes back when it wants to be asked.
    fn settle(&mut self) {
        while let Some((ticket, outcome)) = self.scheduler.next(self.now_ns) {
            let job = *self.scheduler.payload_mut(ticket).unwrap();
            match outcome {
                Outcome::Go => self.go(job),
                Outcome::Shed(_) => {
                    assert!(matches!(self.scheduler.outcome(ticket), Outcome::Shed(_)));
                    self.refused(job);
                }
                Outcome::Waits => unreachable!("a wait that is over"),
            }
        }
        if let Some(due_ns) = self.scheduler.due_ns()
            && due_ns < self.armed_ns
        {
            self.armed_ns = due_ns.max(self.now_ns);
            self.at(self.armed_ns, Event::Due);
        }
        let slots = self.scheduler.window().slots.unwrap_or(0);
        if self.windows.last().is_none_or(|&(_, last)| last != slots) {
            self.windows.push((self.now_ns, slots));
        }
    }
}
