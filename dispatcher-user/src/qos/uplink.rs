//! Upload bodies of all requests to one backend take turns on its tunnels, slice by slice.
//!
//! An HTTP/2 connection sends what it was given, first in, first out, so what matters is how much it is given ahead of
//! time. Here that is at most [`BUDGET`], of which lower levels leave some to the highest: whatever they upload, a slice
//! of a higher level, or a new request, has no more than that before it.

mod body;
mod turns;

use std::{
    fmt,
    future::Future as _,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

pub use self::body::{Sliced, SlicedError};
use self::turns::Turns;
use super::{
    admission::Clock,
    pool::Key,
    settings::{ClassId, ClassSettings},
};

/// Bytes that a body is let send at a time: the largest HTTP/2 frame that every peer accepts (RFC 9113, section 4.2).
pub const SLICE: usize = 16 << 10;
/// Bytes that tunnels may be given beyond what they have taken in.
pub const BUDGET: u64 = 128 << 10;

/// The turns of one backend.
pub(super) struct Uplink {
    turns: Mutex<Turns<Option<Waker>>>,
    clock: Clock,
}

impl Uplink {
    /// Nobody uploads.
    pub(super) fn new(classes: &[ClassSettings], clock: Clock) -> Self {
        Self { turns: Mutex::new(Turns::new(classes)), clock }
    }

    /// Changes the classes.
    pub(super) fn configure(&self, classes: &[ClassSettings]) {
        self.lock().configure(classes);
    }

    /// A body of a class joins the others.
    pub(super) fn join(self: &Arc<Self>, class: ClassId) -> Upload {
        let key = self.lock().join(class, None);
        Upload { uplink: Arc::clone(self), key, recheck: None }
    }

    fn lock(&self) -> MutexGuard<'_, Turns<Option<Waker>>> {
        // The turns are whole between any two of their operations, also if a task panicked after one.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everyone whose turn it is; wakers run without the lock.
    fn settle<'a>(&'a self, mut turns: MutexGuard<'a, Turns<Option<Waker>>>) {
        let now_ns = (self.clock)();
        while let Some(key) = turns.next(now_ns) {
            let waker = turns.payload_mut(key).and_then(Option::take);
            drop(turns);
            waker.into_iter().for_each(Waker::wake);
            turns = self.lock();
        }
    }
}

impl fmt::Debug for Uplink {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Uplink").finish_non_exhaustive()
    }
}

/// A body among those that take turns. To drop it is to leave them.
#[derive(Debug)]
pub(super) struct Upload {
    uplink: Arc<Uplink>,
    key: Key,
    /// When to look again although nobody woke it: slices that do not come back are written off by then.
    recheck: Option<Pin<Box<Sleep>>>,
}

impl Upload {
    /// Waits for the turn to send up to `wanted` bytes; gives how many may be sent. To ask again says that the tunnel has
    /// taken in what was sent before.
    pub(super) fn poll_turn(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        let bytes = wanted.min(SLICE);
        loop {
            let mut turns = self.uplink.lock();
            let has_turn = turns.ask((self.uplink.clock)(), self.key, bytes as u64);
            if !has_turn && let Some(waker) = turns.payload_mut(self.key) {
                *waker = Some(context.waker().clone());
            }
            self.uplink.settle(turns);
            if has_turn {
                self.recheck = None;
                return Poll::Ready(bytes);
            }
            let recheck = self.recheck.get_or_insert_with(|| Box::pin(sleep(Duration::from_nanos(turns::STUCK_NS))));
            std::task::ready!(recheck.as_mut().poll(context));
            self.recheck = None;
        }
    }

    /// The tunnel has taken in what was sent, and there is nothing more to send for now.
    pub(super) fn rest(&mut self) {
        let mut turns = self.uplink.lock();
        turns.rest(self.key);
        self.uplink.settle(turns);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut turns = self.uplink.lock();
        turns.leave(self.key);
        self.uplink.settle(turns);
    }
}
