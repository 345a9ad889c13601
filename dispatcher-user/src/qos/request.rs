//! A request on its way through the schedule: the record behind every ticket.
//!
//! ```text
//!            ┌────────────── withdrawn ───────────────┐
//!  asked ──▶ waiting ──turn──▶ running ──finished─────▶ gone
//!             │    ▲              │ ▲ │                  ▲
//!             │    │       stalled│ │ └──abandoned──▶ abandoned
//!             │    │              ▼ │turn                (until its usual time has passed)
//!             │    └──resumed── stalled ──finished, abandoned──▶ gone
//!             └──refused──▶ refused ──told──▶ told ──▶ gone
//! ```
//!
//! Running and abandoned requests hold a slot of the backend's window. A stalled one has lent it to others while it waits
//! for its client's bytes; it resumes before its last byte goes out.

use std::time::Duration;

use super::{
    pool::{Key, Pool},
    settings::{ClassId, MAX_COST},
    view::ShedReason,
};

/// Names a request to the scheduler.
pub type Ticket = Key;

/// All requests of one backend.
pub(super) type Requests<T> = Pool<Request<T>, 2>;

/// Link number: the queue of the request's client, or one of the scheduler's own short lists.
pub(super) const QUEUE: usize = 0;
/// Link number: the order in which the waiting requests of a class came.
pub(super) const ARRIVAL: usize = 1;

/// What wants to go to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Class.
    pub class: ClassId,
    /// Whose it is: a hash of the session or address. Clients of a class take turns.
    pub client: u64,
    /// How much of the backend it takes, in ordinary requests; from 1 to [`MAX_COST`].
    pub cost: u32,
    /// Bytes that the dispatcher holds while it waits.
    pub bytes: u64,
    /// How long its client waits for the answer, if the client said so (`grpc-timeout`).
    pub patience: Option<Duration>,
}

impl Ask {
    /// An ordinary request of a client.
    #[must_use]
    pub fn new(class: ClassId, client: u64) -> Self {
        Self { class, client, cost: 1, bytes: 0, patience: None }
    }
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In its class's queue.
    Waiting,
    /// It was let through before, has stalled, and waits for a slot again.
    Returning,
    /// At the backend.
    Running,
    /// At the backend, which waits for its body.
    Stalled,
    /// Its client is gone; the backend may still work on it.
    Abandoned,
    /// Refused after it had waited, which its owner has to be told.
    Refused(ShedReason),
    /// Refused, which its owner was told.
    Told(ShedReason),
}

/// A request.
#[derive(Debug)]
pub(super) struct Request<T> {
    pub(super) class: ClassId,
    pub(super) client: u64,
    pub(super) cost: u32,
    pub(super) bytes: u64,
    pub(super) state: State,
    pub(super) asked_ns: u64,
    /// When it got its slot.
    pub(super) started_ns: u64,
    /// When its client will be gone.
    pub(super) patience_ns: u64,
    /// It has lent its slot once, so its time says nothing about the backend.
    pub(super) has_stalled: bool,
    /// The backend has begun to answer it.
    pub(super) is_answered: bool,
    /// Its client's record in the queue, while it waits there.
    pub(super) seat: Option<Key>,
    /// What the owner of the scheduler keeps with it.
    pub(super) payload: T,
}

impl<T> Request<T> {
    /// A request that is about to wait or run.
    pub(super) fn new(now_ns: u64, ask: &Ask, payload: T) -> Self {
        Self {
            class: ask.class,
            client: ask.client,
            cost: ask.cost.clamp(1, MAX_COST),
            bytes: ask.bytes,
            state: State::Waiting,
            asked_ns: now_ns,
            started_ns: now_ns,
            patience_ns: ask.patience.map_or(u64::MAX, |patience| now_ns.saturating_add(nanoseconds(patience))),
            has_stalled: false,
            is_answered: false,
            seat: None,
            payload,
        }
    }
}

/// A duration in nanoseconds; the longest that 64 bits hold if it is longer.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
