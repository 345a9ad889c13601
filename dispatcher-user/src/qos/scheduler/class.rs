//! A class at one backend: its queue, what its requests usually take, and its counts.

use crate::qos::{
    histogram::Histogram,
    pool::Chain,
    precedence::Wants,
    queue::{Order, Queue},
    request::{QUEUE, Requests, Ticket, nanoseconds},
    settings::ClassSettings,
    usual::Usual,
    view::ClassCounts,
};

/// A class.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) settings: ClassSettings,
    timeout_ns: u64,
    /// Requests that wait for their first slot.
    pub(super) queue: Queue,
    /// Requests that had a slot before, oldest first. Their clients have sent most of them: they are not refused any more.
    pub(super) returning: Chain<QUEUE>,
    pub(super) in_flight: u32,
    pub(super) usual: Usual,
    pub(super) waits: Histogram,
    pub(super) counts: ClassCounts,
}

impl Class {
    /// A class without requests.
    pub(super) fn new(settings: ClassSettings, now_ns: u64) -> Self {
        Self {
            timeout_ns: nanoseconds(settings.timeout),
            settings,
            queue: Queue::new(),
            returning: Chain::default(),
            in_flight: 0,
            usual: Usual::new(),
            waits: Histogram::new(now_ns),
            counts: ClassCounts::default(),
        }
    }

    /// Changes the settings. What waits stays; what was measured and counted stays with the name.
    pub(super) fn set(&mut self, settings: ClassSettings, now_ns: u64) {
        if settings.name != self.settings.name {
            self.usual = Usual::new();
            self.waits = Histogram::new(now_ns);
            self.counts = ClassCounts::default();
        }
        self.timeout_ns = nanoseconds(settings.timeout);
        self.settings = settings;
    }

    /// True if a request of it waits.
    pub(super) fn waits(&self) -> bool {
        self.queue.len() > 0 || !self.returning.is_empty()
    }

    /// What it brings to the choice between classes. It counts as aged once it waits for half of what it may.
    pub(super) fn wants<T>(&self, now_ns: u64, requests: &Requests<T>) -> Wants {
        if !self.waits() {
            return Wants::Nothing;
        }
        if self.age_ns(now_ns, requests) >= self.timeout_ns / 2 { Wants::AgedTurn } else { Wants::Turn }
    }

    /// Which request goes first. A wait as long as the requests themselves take is no sign of overload.
    pub(super) fn order<T>(&self, now_ns: u64, standing_ns: u64, requests: &Requests<T>) -> Order {
        let standing_ns = standing_ns.max(self.usual.known_ns()).min(self.timeout_ns / 2);
        let is_standing = self.queue.len() > 0 && self.age_ns(now_ns, requests) >= standing_ns;
        if is_standing {
            Order::NewestFirst { long_ago_ns: now_ns.saturating_sub(standing_ns) }
        } else {
            Order::OldestFirst
        }
    }

    /// Takes out the request whose turn it is.
    pub(super) fn take_out<T>(&mut self, now_ns: u64, standing_ns: u64, requests: &mut Requests<T>) -> Option<Ticket> {
        let order = self.order(now_ns, standing_ns, requests);
        requests.pop_front(&mut self.returning).or_else(|| self.queue.pop(requests, order))
    }

    /// When the request that has waited longest has waited too long.
    pub(super) fn expires_ns<T>(&self, requests: &Requests<T>) -> Option<u64> {
        Some(requests.find(self.queue.oldest()?)?.asked_ns.saturating_add(self.timeout_ns))
    }

    /// Until when the backend probably works on a request whose client has left: its usual time, and half of that from now
    /// at least. How much longer one takes that is late already is not known, and clients that lose patience with a
    /// backend that has become slow must not make it busier still. So what was seen of a late one counts as usual, too.
    pub(super) fn abandoned_until_ns(&mut self, now_ns: u64, started_ns: u64, others: &Usual) -> u64 {
        let elapsed_ns = now_ns.saturating_sub(started_ns);
        if elapsed_ns > self.usual.or(others).mean_ns() {
            self.usual.measure(elapsed_ns);
        }
        let usual = self.usual.or(others);
        let usually_until_ns = started_ns.saturating_add(usual.long_ns());
        usually_until_ns.max(now_ns.saturating_add(usual.mean_ns() / 2))
    }

    /// How long its oldest request waits.
    fn age_ns<T>(&self, now_ns: u64, requests: &Requests<T>) -> u64 {
        let oldest = self.queue.oldest().and_then(|oldest| requests.find(oldest));
        oldest.map_or(0, |request| now_ns.saturating_sub(request.asked_ns))
    }
}
