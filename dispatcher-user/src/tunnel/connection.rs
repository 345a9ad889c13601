//! One open tunnel: what it agreed on, what it carries, and who may send on it.
//!
//! ```text
//!   Open ──leave──▶ Draining ──last request ended, or cut──▶ Closed
//!     └───────────── the backend or the network ends it ────────▲
//! ```

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hyper::client::conn::http1;
use tokio::sync::Notify;

use super::{choice::Load, dial::Facts, home::Home, meter::Meter};

/// The way to send on a tunnel.
pub(super) enum Sender<B> {
    Http2(h2::client::SendRequest<Bytes>),
    Http1(http1::SendRequest<B>),
}

/// What a connection does. Only `leave` and `close` change it, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    Open = 0,
    Draining = 1,
    Closed = 2,
}

/// An open tunnel.
pub(super) struct Connection<B> {
    pub(super) slot: usize,
    pub(super) facts: Facts,
    pub(super) meter: Arc<Meter>,
    pub(super) home: Arc<Home>,
    /// Wakes the slot's task: the tunnel left, or became something else.
    pub(super) changed: Notify,
    /// Nothing once the tunnel closes, and while a request has an HTTP/1.1 tunnel.
    sender: Mutex<Option<Sender<B>>>,
    phase: AtomicU8,
    may_be_upgraded: AtomicBool,
    streams: AtomicU32,
    limit: AtomicU32,
    requests: AtomicU64,
    round_trip_ns: AtomicU64,
    opened_ns: AtomicU64,
}

impl<B> Connection<B> {
    pub(super) fn new(
        slot: usize,
        facts: Facts,
        meter: Arc<Meter>,
        home: Arc<Home>,
        sender: Sender<B>,
        limit: u32,
    ) -> Self {
        Self {
            slot,
            facts,
            meter,
            home,
            changed: Notify::new(),
            sender: Mutex::new(Some(sender)),
            phase: AtomicU8::new(Phase::Open as u8),
            may_be_upgraded: AtomicBool::new(false),
            streams: AtomicU32::new(0),
            limit: AtomicU32::new(limit),
            requests: AtomicU64::new(0),
            round_trip_ns: AtomicU64::new(0),
            opened_ns: AtomicU64::new(0),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Open,
            1 => Phase::Draining,
            _ => Phase::Closed,
        }
    }

    pub(super) fn streams(&self) -> u32 {
        self.streams.load(Ordering::SeqCst)
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn round_trip_ns(&self) -> u64 {
        self.round_trip_ns.load(Ordering::Relaxed)
    }

    pub(super) fn set_round_trip_ns(&self, round_trip_ns: u64) {
        self.round_trip_ns.store(round_trip_ns, Ordering::Relaxed);
    }

    /// When it began to take requests; monotonic clock.
    pub(super) fn opened_ns(&self) -> u64 {
        self.opened_ns.load(Ordering::Relaxed)
    }

    pub(super) fn set_opened_ns(&self, opened_ns: u64) {
        self.opened_ns.store(opened_ns, Ordering::Relaxed);
    }

    /// What it carries, for the choice of a tunnel.
    pub(super) fn load(&self) -> Load {
        let limit = if self.phase() == Phase::Open { self.limit() } else { 0 };
        Load { streams: self.streams(), limit }
    }

    /// Takes a place on the tunnel if there is one.
    pub(super) fn take(&self) -> bool {
        let limit = self.limit();
        let more = |streams| (streams < limit).then_some(streams + 1);
        if self.streams.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_err() {
            return false;
        }
        if self.phase() == Phase::Open {
            if !self.facts.is_http2() {
                self.home.http1_taken.fetch_add(1, Ordering::SeqCst);
            }
            return true;
        }
        self.give_back_stream();
        false
    }

    /// One more place for what outlives its request: an upload whose answer is complete.
    pub(super) fn take_more(&self) {
        self.streams.fetch_add(1, Ordering::SeqCst);
    }

    /// Gives a place back. Whatever was sent by it must have ended, or been reset.
    pub(super) fn give_back(&self) {
        if !self.facts.is_http2() {
            self.home.http1_taken.fetch_sub(1, Ordering::SeqCst);
        }
        self.give_back_stream();
    }

    /// Gives back what `take_more` took.
    pub(super) fn give_back_stream(&self) {
        let before = self.streams.fetch_sub(1, Ordering::SeqCst);
        // In step with `leave`: either this sees that it drains, or that one sees that nothing is left.
        if before == 1 && self.phase() == Phase::Draining {
            self.hang_up();
        }
        self.home.room.freed();
    }

    /// Counts a request that is about to be sent.
    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.home.counts.requests.add();
    }

    /// Takes no more requests; closes once those under way have ended. True if it was open.
    pub(super) fn leave(&self) -> bool {
        let was_open =
            self.phase.compare_exchange(Phase::Open as u8, Phase::Draining as u8, Ordering::SeqCst, Ordering::SeqCst);
        if was_open.is_ok() {
            self.changed.notify_one();
            if self.streams() == 0 {
                self.hang_up();
            }
        }
        was_open.is_ok()
    }

    /// The backend takes no more requests on it.
    pub(super) fn told_to_leave(&self) {
        if self.leave() {
            self.home.counts.left.add();
        }
    }

    /// It carries a request that may turn it into something else, and so end it for the pool.
    pub(super) fn may_be_upgraded(&self) {
        self.may_be_upgraded.store(true, Ordering::SeqCst);
    }

    /// It came to its end by itself, in good order or not.
    pub(super) fn ended(&self, in_order: bool) {
        let is_upgrade = in_order && self.may_be_upgraded.load(Ordering::SeqCst);
        if self.phase() == Phase::Open && !is_upgrade {
            let counts = &self.home.counts;
            if in_order { counts.left.add() } else { counts.lost.add() }
        }
    }

    /// It is closed, for whatever reason.
    pub(super) fn close(&self) {
        self.phase.store(Phase::Closed as u8, Ordering::SeqCst);
        self.hang_up();
        self.changed.notify_one();
    }

    /// Both HTTPs close a connection in good order once nobody can send on it.
    fn hang_up(&self) {
        let sender = self.sender().take();
        // h2 takes locks of its own when a sender is dropped; ours is released by then.
        drop(sender);
    }

    fn sender(&self) -> MutexGuard<'_, Option<Sender<B>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A way to send, if this is an HTTP/2 tunnel and not closed.
    pub(super) fn http2(&self) -> Option<h2::client::SendRequest<Bytes>> {
        match &*self.sender() {
            Some(Sender::Http2(sender)) => Some(sender.clone()),
            Some(Sender::Http1(_)) | None => None,
        }
    }

    /// The way to send, if this is an HTTP/1.1 tunnel that is free.
    pub(super) fn take_http1(&self) -> Option<http1::SendRequest<B>> {
        let mut sender = self.sender();
        match sender.take() {
            Some(Sender::Http1(taken)) => Some(taken),
            other => {
                *sender = other;
                None
            }
        }
    }

    /// Puts the way to send back, unless the tunnel closes.
    pub(super) fn put_back_http1(&self, sender: http1::SendRequest<B>) {
        if self.phase() == Phase::Open && !sender.is_closed() {
            *self.sender() = Some(Sender::Http1(sender));
        }
    }

    /// Takes what the backend says of itself: how many requests it takes at once, and whether it still takes any.
    pub(super) fn look(&self) {
        let (limit, leaves) = match &mut *self.sender() {
            Some(Sender::Http2(sender)) => {
                let limit = u32::try_from(sender.current_max_send_streams()).unwrap_or(u32::MAX);
                // A sender that has no stream of its own is ready or broken, and wakes nobody.
                (limit, matches!(sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_))))
            }
            Some(Sender::Http1(_)) | None => return,
        };
        let limit = limit.min(self.home.settings.max_streams);
        if self.limit.swap(limit, Ordering::Relaxed) < limit {
            self.home.room.all_changed();
        }
        if leaves {
            self.told_to_leave();
        }
    }
}
