//! What the schedule shows of itself, ready to be serialised: classes and what became of their requests.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::settings::QueueBound;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShedReason {
    /// Its class has too much waiting, and its client has the most of it.
    #[error("the queue of its class is full")]
    QueueFull,
    /// It waited as long as its class allows.
    #[error("it waited too long")]
    Timeout,
    /// Its client would be gone before the answer.
    #[error("its answer would come too late")]
    Deadline,
    /// Its class asks more often than it may.
    #[error("its class is over its rate")]
    ClassRate,
    /// Its client asks more often than it may.
    #[error("its client is over its rate")]
    ClientRate,
    /// The backend takes no requests any more.
    #[error("the backend is gone")]
    Closed,
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Shed {
    /// Why.
    pub reason: ShedReason,
    /// When another attempt may find room; for the header `Retry-After`.
    pub retry_after_s: u32,
}

/// Requests refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShedCounts {
    /// [`ShedReason::QueueFull`].
    pub queue_full: u64,
    /// [`ShedReason::Timeout`].
    pub timeout: u64,
    /// [`ShedReason::Deadline`].
    pub deadline: u64,
    /// [`ShedReason::ClassRate`].
    pub class_rate: u64,
    /// [`ShedReason::ClientRate`].
    pub client_rate: u64,
    /// [`ShedReason::Closed`].
    pub closed: u64,
}

impl ShedCounts {
    /// The count of a reason.
    pub fn of(&mut self, reason: ShedReason) -> &mut u64 {
        match reason {
            ShedReason::QueueFull => &mut self.queue_full,
            ShedReason::Timeout => &mut self.timeout,
            ShedReason::Deadline => &mut self.deadline,
            ShedReason::ClassRate => &mut self.class_rate,
            ShedReason::ClientRate => &mut self.client_rate,
            ShedReason::Closed => &mut self.closed,
        }
    }

    /// All reasons together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { queue_full, timeout, deadline, class_rate, client_rate, closed } = self;
        queue_full + timeout + deadline + class_rate + client_rate + closed
    }

    /// Adds the counts of another backend.
    pub(super) fn add(&mut self, other: &Self) {
        self.queue_full += other.queue_full;
        self.timeout += other.timeout;
        self.deadline += other.deadline;
        self.class_rate += other.class_rate;
        self.client_rate += other.client_rate;
        self.closed += other.closed;
    }
}

/// What became of a class's requests. Each that asked is counted once in `admitted`, `shed` or `gave_up`, or still waits;
/// each that was admitted once in `finished` or `abandoned`, or is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// Let through to a backend.
    pub admitted: u64,
    /// Of these, those that waited.
    pub waited: u64,
    /// Answered, or otherwise over.
    pub finished: u64,
    /// Their clients left while they were at the backend.
    pub abandoned: u64,
    /// Their clients left while they waited.
    pub gave_up: u64,
    /// Refused.
    pub shed: ShedCounts,
}

impl ClassCounts {
    /// Adds the counts of another backend.
    pub(super) fn add(&mut self, other: &Self) {
        self.admitted += other.admitted;
        self.waited += other.waited;
        self.finished += other.finished;
        self.abandoned += other.abandoned;
        self.gave_up += other.gave_up;
        self.shed.add(&other.shed);
    }
}

/// A class, over all backends or at one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassView {
    /// Name.
    pub name: String,
    /// Level.
    pub priority: u8,
    /// Weight within its level.
    pub weight: u16,
    /// Guaranteed share.
    pub share_percent: u8,
    /// How much may wait for each backend.
    pub queue: QueueBound,
    /// How long a request may wait.
    pub timeout_ms: u64,
    /// Requests a second of the class; `None`: as many as there are.
    pub rate: Option<u32>,
    /// Requests a second of each client; `None`: as many as there are.
    pub client_rate: Option<u32>,
    /// Requests that wait.
    pub depth: u64,
    /// Bytes held for them.
    pub bytes: u64,
    /// Clients whose requests wait; a client that waits for several backends counts at each.
    pub clients: u64,
    /// Backends where the newest request goes first at the moment, for the queue is standing.
    pub overloaded: u64,
    /// Requests at backends.
    pub in_flight: u64,
    /// Median wait of those admitted in the last one to two minutes.
    pub wait_p50_us: u64,
    /// What 99 of 100 of them waited at most.
    pub wait_p99_us: u64,
    /// What became of its requests.
    pub counts: ClassCounts,
}

/// A backend's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowView {
    /// Requests that it is given at a time; `None`: as many as there are.
    pub slots: Option<u32>,
    /// Its latency without a queue, where the window is found from it.
    pub base_latency_us: Option<u64>,
    /// Slots in use.
    pub in_flight: u32,
    /// Of these, those of requests whose clients are gone.
    pub abandoned: u64,
    /// Requests that have lent their slots while they wait for their clients' bytes.
    pub stalled: u32,
    /// Requests that wait.
    pub waiting: u64,
}
