//! The schedule of one backend, sans I/O: who goes next, who waits, who is refused.
//!
//! ```text
//!  ask ─▶ class queue ──────▶ precedence ──────────▶ slots of the window ─▶ backend
//!         clients take turns  levels, shares, weights  reserved by level
//! ```
//!
//! The owner tells what happened ([`Scheduler::ask`], [`Scheduler::finish`], …) and then calls [`Scheduler::next`] until it
//! has nothing more to say. Time comes in as an argument. Every operation takes a step for each class, and none for what
//! waits; keeping the slot of a request whose client is gone takes the logarithm of the window.
//!
//! As long as a request waits that may have a free slot, `next` gives it that slot. The one exception is
//! `spacing`, whose cost is bounded.

mod change;
mod class;
mod pick;
mod show;

use self::class::Class;
pub(super) use self::show::ClassSum;
use super::{
    pool::Chain,
    precedence::Precedence,
    request::{Ask, QUEUE, Request, Requests, State, Ticket},
    settings::{Settings, SettingsError},
    slots::Slots,
    usual::Usual,
    view::{Shed, ShedReason},
};

/// The schedule of one backend. `T` is what its owner keeps with a request.
#[derive(Debug)]
pub struct Scheduler<T> {
    requests: Requests<T>,
    classes: Vec<Class>,
    precedence: Precedence,
    slots: Slots,
    /// What requests of all classes take, for a class of which nothing is known.
    usual: Usual,
    /// Requests that were refused after they had waited, and whose owners do not know yet.
    refused: Chain<QUEUE>,
    /// Requests that wait, of all classes.
    waiting: u32,
    standing_ns: u64,
    is_closed: bool,
}

/// The answer to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has a slot.
    Go(Ticket),
    /// It waits. [`Scheduler::next`] says when that is over, possibly at once.
    Wait(Ticket),
    /// It is refused.
    Shed(Shed),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request has a slot.
    Go,
    /// It is refused.
    Shed(Shed),
    /// It still waits: [`Scheduler::outcome`] was asked too early.
    Waits,
}

impl<T> Scheduler<T> {
    /// A schedule in which nothing waits.
    ///
    /// # Errors
    /// If the settings contradict themselves.
    pub fn new(settings: &Settings, now_ns: u64) -> Result<Self, SettingsError> {
        let mut scheduler = Self {
            requests: Requests::new(),
            classes: Vec::new(),
            precedence: Precedence::new([].iter()),
            slots: Slots::new(settings.window, now_ns),
            usual: Usual::new(),
            refused: Chain::default(),
            waiting: 0,
            standing_ns: 0,
            is_closed: false,
        };
        scheduler.configure(now_ns, settings)?;
        Ok(scheduler)
    }

    /// Takes in a request.
    pub fn ask(&mut self, now_ns: u64, ask: &Ask, payload: T) -> Answer {
        let class = self.known(ask.class);
        let request = Request::new(now_ns, &Ask { class, ..*ask }, payload);
        if self.is_closed {
            return Answer::Shed(self.count_shed(class, ask.client, ShedReason::Closed));
        }
        if self.may_go_at_once(now_ns, class) {
            let ticket = self.requests.insert(request);
            self.admit(now_ns, ticket);
            return Answer::Go(ticket);
        }
        self.enqueue(now_ns, request)
    }

    /// Asks for a slot again, for a request that has stalled. It waits before all others of its class, without a limit.
    pub fn resume(&mut self, now_ns: u64, ticket: Ticket) -> Outcome {
        let Some(request) = self.requests.find_mut(ticket).filter(|request| request.state == State::Stalled) else {
            return self.outcome(ticket);
        };
        let class = request.class;
        request.state = State::Returning;
        self.slots.end_loan();
        if self.may_go_at_once(now_ns, class) {
            self.start(now_ns, ticket);
            return Outcome::Go;
        }
        self.wake(class);
        if let Some(class) = self.classes.get_mut(class.index()) {
            self.requests.push_back(&mut class.returning, ticket);
            self.waiting = self.waiting.saturating_add(1);
        }
        Outcome::Waits
    }

    /// The backend has begun to answer: the time until now is its latency.
    pub fn answered(&mut self, now_ns: u64, ticket: Ticket) {
        let Some(request) = self.requests.find_mut(ticket) else { return };
        let is_first = !std::mem::replace(&mut request.is_answered, true);
        if is_first && request.state == State::Running && !request.has_stalled {
            let started_ns = request.started_ns;
            self.slots.measure_latency(now_ns, started_ns);
        }
    }

    /// The request waits for bytes of its client, and lends its slot to others; false if it may not.
    pub fn stall(&mut self, ticket: Ticket) -> bool {
        let Some(request) = self.requests.find_mut(ticket).filter(|request| request.state == State::Running) else {
            return false;
        };
        if !self.slots.lend() {
            return false;
        }
        request.state = State::Stalled;
        request.has_stalled = true;
        let class = request.class;
        self.give_back(class);
        true
    }

    /// A request is over: the backend has answered it, or has reset it.
    pub fn finish(&mut self, now_ns: u64, ticket: Ticket) {
        self.answered(now_ns, ticket);
        let Some(request) = self.leave(now_ns, ticket) else { return };
        let busy_ns = now_ns.saturating_sub(request.started_ns);
        let is_timed = request.state == State::Running && !request.has_stalled;
        let level = self.precedence.level(request.class);
        let Some(class) = self.classes.get_mut(request.class.index()) else { return };
        class.counts.finished += 1;
        if is_timed {
            class.usual.measure(busy_ns);
            self.usual.measure(busy_ns);
            self.slots.measure_service(level, busy_ns);
        }
    }

    /// A request's client is gone. The backend may still work on it, so its slot stays taken until its usual time has
    /// passed. Whoever sees how the backend ends it calls [`Self::finish`] instead.
    pub fn abandon(&mut self, now_ns: u64, ticket: Ticket) {
        let Some(request) = self.requests.find_mut(ticket) else { return };
        let (is_running, started_ns) = (request.state == State::Running, request.started_ns);
        let Some(class) = self.classes.get_mut(request.class.index()) else { return };
        class.counts.abandoned += 1;
        if is_running {
            request.state = State::Abandoned;
            let until_ns = class.abandoned_until_ns(now_ns, started_ns, &self.usual);
            self.slots.keep(until_ns, ticket);
        } else {
            self.leave(now_ns, ticket);
        }
    }

    /// The owner of a request that waited is gone, or was told the outcome and does not want the slot.
    pub fn withdraw(&mut self, now_ns: u64, ticket: Ticket) {
        let Some(Request { class, state, .. }) = self.leave(now_ns, ticket) else { return };
        let Some(class) = self.classes.get_mut(class.index()) else { return };
        match state {
            State::Waiting => class.counts.gave_up += 1,
            State::Running => {
                class.counts.admitted = class.counts.admitted.saturating_sub(1);
                class.counts.gave_up += 1;
            }
            State::Returning | State::Stalled => class.counts.abandoned += 1,
            State::Abandoned | State::Refused(_) | State::Told(_) => {}
        }
    }

    /// How the wait of a request ended. If it was refused, it is gone with that, unless it has had a slot before: then it
    /// still has to be finished or abandoned.
    pub fn outcome(&mut self, ticket: Ticket) -> Outcome {
        let Some(request) = self.requests.find(ticket) else { return Outcome::Go };
        let (class, client) = (request.class, request.client);
        match request.state {
            State::Waiting | State::Returning => Outcome::Waits,
            State::Running | State::Stalled | State::Abandoned => Outcome::Go,
            State::Refused(reason) | State::Told(reason) => {
                // One that has had a slot is its permit's to end.
                if !request.has_stalled {
                    self.leave(0, ticket);
                }
                Outcome::Shed(self.shed(class, client, reason))
            }
        }
    }

    /// What the owner keeps with a request.
    pub fn payload_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        self.requests.find_mut(ticket).map(|request| &mut request.payload)
    }

    /// How long a request waited for its slot.
    #[must_use]
    pub fn waited_ns(&self, ticket: Ticket) -> u64 {
        self.requests.find(ticket).map_or(0, |request| request.started_ns.saturating_sub(request.asked_ns))
    }
}

#[cfg(test)]
mod tests;
