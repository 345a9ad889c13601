//! How requests wait, and how waits end: with a slot, or with a refusal.

use super::{Answer, Outcome, Scheduler, class::Class};
use crate::qos::{
    precedence::Wants,
    request::{Request, Requests, State, Ticket},
    settings::ClassId,
    view::{Shed, ShedReason},
};

/// Retry-After says at most this.
const LONGEST_RETRY_S: u64 = 30;

impl<T> Scheduler<T> {
    /// The next wait that is over, and how it ended; `None` if nothing is to be done until something happens, or until
    /// [`Self::due_ns`].
    pub fn next(&mut self, now_ns: u64) -> Option<(Ticket, Outcome)> {
        self.free_overdue(now_ns);
        self.expire(now_ns);
        if let Some(refusal) = self.tell() {
            return Some(refusal);
        }
        match self.pick(now_ns) {
            Some(ticket) => Some((ticket, Outcome::Go)),
            // Looking for one that may go has perhaps found some that may not.
            None => self.tell(),
        }
    }

    /// When [`Self::next`] has something to do by time alone; `None`: never.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        let oldest = self.classes.iter().filter_map(|class| class.expires_ns(&self.requests));
        oldest.chain(self.slots.held_until_ns()).chain(self.slots.overdue_ns()).min()
    }

    /// True if nothing waits and a slot is free.
    pub(super) fn may_go_at_once(&mut self, now_ns: u64, class: ClassId) -> bool {
        if self.waiting > 0 {
            return false;
        }
        self.free_overdue(now_ns);
        let level = self.precedence.level(class);
        self.slots.open_levels(now_ns, level) > level
    }

    /// Lets a request wait. If its class has too much waiting, the client that has most of it loses its oldest request.
    pub(super) fn enqueue(&mut self, now_ns: u64, request: Request<T>) -> Answer {
        let (class_id, client) = (request.class, request.client);
        self.wake(class_id);
        let ticket = self.requests.insert(request);
        let Some(class) = self.classes.get_mut(class_id.index()) else {
            self.requests.remove(ticket);
            return Answer::Shed(self.shed(class_id, client, ShedReason::Closed));
        };
        let order = class.order(now_ns, self.standing_ns, &self.requests);
        class.queue.push(&mut self.requests, ticket, order);
        self.waiting = self.waiting.saturating_add(1);
        while let Some(victim) = self.crowded_out(class_id) {
            self.refuse(now_ns, victim, ShedReason::QueueFull);
            if victim == ticket {
                self.leave(now_ns, ticket);
                return Answer::Shed(self.shed(class_id, client, ShedReason::QueueFull));
            }
        }
        Answer::Wait(ticket)
    }

    /// Notes that a class is about to have something waiting.
    pub(super) fn wake(&mut self, class: ClassId) {
        if self.classes.get(class.index()).is_some_and(|class| !class.waits()) {
            self.precedence.woke(class);
        }
    }

    /// A request that was not in flight before starts.
    pub(super) fn admit(&mut self, now_ns: u64, ticket: Ticket) {
        let Some(request) = self.requests.find(ticket) else { return };
        let waited_ns = now_ns.saturating_sub(request.asked_ns);
        if let Some(class) = self.classes.get_mut(request.class.index()) {
            class.counts.admitted += 1;
            class.counts.waited += u64::from(waited_ns > 0);
            class.waits.count(now_ns, waited_ns);
        }
        self.start(now_ns, ticket);
    }

    /// A request takes a slot.
    pub(super) fn start(&mut self, now_ns: u64, ticket: Ticket) {
        let Some(request) = self.requests.find_mut(ticket) else { return };
        request.state = State::Running;
        request.started_ns = now_ns;
        let class = request.class;
        self.slots.take(now_ns, self.precedence.level(class));
        if let Some(class) = self.classes.get_mut(class.index()) {
            class.in_flight = class.in_flight.saturating_add(1);
        }
    }

    /// A request of a class gives its slot back.
    pub(super) fn give_back(&mut self, class: ClassId) {
        self.slots.free(self.precedence.level(class));
        if let Some(class) = self.classes.get_mut(class.index()) {
            class.in_flight = class.in_flight.saturating_sub(1);
        }
    }

    /// Removes a request from wherever it is; what it was is returned.
    pub(super) fn leave(&mut self, now_ns: u64, ticket: Ticket) -> Option<Request<T>> {
        let request = self.requests.find(ticket)?;
        let class = request.class;
        match request.state {
            State::Waiting | State::Returning => self.stop_waiting(now_ns, ticket),
            State::Running | State::Abandoned => self.give_back(class),
            State::Stalled => self.slots.end_loan(),
            State::Refused(_) => self.requests.unlink(&mut self.refused, ticket),
            State::Told(_) => {}
        }
        self.requests.remove(ticket)
    }

    /// Refuses a request that waits; its owner is told by [`Self::next`].
    pub(super) fn refuse(&mut self, now_ns: u64, ticket: Ticket, reason: ShedReason) {
        self.stop_waiting(now_ns, ticket);
        self.note_refused(ticket, reason);
    }

    /// Counts a refusal and says it.
    pub(super) fn count_shed(&mut self, class: ClassId, client: u64, reason: ShedReason) -> Shed {
        if let Some(class) = self.classes.get_mut(class.index()) {
            *class.counts.shed.of(reason) += 1;
        }
        self.shed(class, client, reason)
    }

    /// A refusal with the time after which another attempt may find room: what the class has waiting, at the pace of the
    /// window. Clients that are refused together do not all come back together.
    pub(super) fn shed(&self, class: ClassId, client: u64, reason: ShedReason) -> Shed {
        let drained_ns = self.classes.get(class.index()).map_or(0, |class| {
            class.usual.or(&self.usual).mean_ns().saturating_mul(u64::from(class.queue.len()))
                / u64::from(self.slots.window().max(1))
        });
        let least_s = drained_ns.div_ceil(1_000_000_000).clamp(1, LONGEST_RETRY_S / 2);
        let retry_after_s = u32::try_from(least_s + client % (least_s + 1)).unwrap_or(u32::MAX);
        Shed { reason, retry_after_s }
    }

    fn note_refused(&mut self, ticket: Ticket, reason: ShedReason) {
        let Some(request) = self.requests.find_mut(ticket) else { return };
        request.state = State::Refused(reason);
        let (class, client, is_new) = (request.class, request.client, !request.has_stalled);
        self.requests.push_back(&mut self.refused, ticket);
        // One that has had a slot is counted as abandoned when its owner ends it.
        if is_new {
            self.count_shed(class, client, reason);
        }
    }

    fn stop_waiting(&mut self, now_ns: u64, ticket: Ticket) {
        let Some(request) = self.requests.find(ticket) else { return };
        let is_returning = request.state == State::Returning;
        let Some(class) = self.classes.get_mut(request.class.index()) else { return };
        if is_returning {
            self.requests.unlink(&mut class.returning, ticket);
        } else {
            class.queue.remove(&mut self.requests, ticket);
        }
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            self.slots.release(now_ns);
        }
    }

    /// Gives the next slot that may be given to whose turn it is.
    fn pick(&mut self, now_ns: u64) -> Option<Ticket> {
        while self.waiting > 0 {
            let waiting = (0..).map(ClassId).zip(&self.classes).filter(|(_, class)| class.waits());
            let lowest = waiting.map(|(id, _)| self.precedence.level(id)).max()?;
            let open = self.slots.open_levels(now_ns, lowest);
            let (classes, requests) = (&self.classes, &self.requests);
            let class_id = self.precedence.choose(open, |id| wants(classes, requests, now_ns, id))?;
            let class = self.classes.get_mut(class_id.index())?;
            let ticket = class.take_out(now_ns, self.standing_ns, &mut self.requests)?;
            self.waiting = self.waiting.saturating_sub(1);
            let request = self.requests.find(ticket)?;
            let (cost, is_new) = (request.cost, request.state == State::Waiting);
            if is_new && now_ns.saturating_add(class.usual.or(&self.usual).known_ns()) > request.patience_ns {
                self.note_refused(ticket, ShedReason::Deadline);
                continue;
            }
            let (classes, requests) = (&self.classes, &self.requests);
            self.precedence.served(class_id, cost, |id| wants(classes, requests, now_ns, id));
            if is_new {
                self.admit(now_ns, ticket);
            } else {
                self.start(now_ns, ticket);
            }
            return Some(ticket);
        }
        None
    }

    /// The next refusal that its owner does not know of.
    fn tell(&mut self) -> Option<(Ticket, Outcome)> {
        let ticket = self.requests.pop_front(&mut self.refused)?;
        let request = self.requests.find_mut(ticket)?;
        let State::Refused(reason) = request.state else { return None };
        request.state = State::Told(reason);
        let (class, client) = (request.class, request.client);
        Some((ticket, Outcome::Shed(self.shed(class, client, reason))))
    }

    /// Refuses what has waited as long as its class allows.
    fn expire(&mut self, now_ns: u64) {
        for index in 0..self.classes.len() {
            while let Some(class) = self.classes.get(index)
                && class.expires_ns(&self.requests).is_some_and(|at_ns| at_ns <= now_ns)
                && let Some(oldest) = class.queue.oldest()
            {
                self.refuse(now_ns, oldest, ShedReason::Timeout);
            }
        }
    }

    /// Frees the slots of requests whose clients are gone and whose usual time has passed. They held them for a service
    /// time as others do, so starts are spread over time also if all clients leave early.
    fn free_overdue(&mut self, now_ns: u64) {
        while let Some(ticket) = self.slots.overdue(now_ns) {
            if let Some(request) = self.leave(now_ns, ticket) {
                let level = self.precedence.level(request.class);
                self.slots.measure_service(level, now_ns.saturating_sub(request.started_ns));
            }
        }
    }

    /// The request that has to go for its class to keep its bounds; `None` if it keeps them.
    fn crowded_out(&self, class: ClassId) -> Option<Ticket> {
        let class = self.classes.get(class.index())?;
        let bound = class.settings.queue;
        let is_crowded = class.queue.len() > bound.entries || class.queue.bytes() > bound.bytes;
        if is_crowded { class.queue.crowding() } else { None }
    }
}

fn wants<T>(classes: &[Class], requests: &Requests<T>, now_ns: u64, id: ClassId) -> Wants {
    classes.get(id.index()).map_or(Wants::Nothing, |class| class.wants(now_ns, requests))
}
