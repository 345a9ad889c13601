//! Whose slice is next, sans I/O.
//!
//! ```text
//!  resting ──ask──▶ waiting ──turn──▶ granted ──ask──▶ out ──rest, or ask──▶ resting
//!     └─────────────turn at once──────────────────────▶ │
//!                                        └──for long──┬─┘
//!                                                     ▼
//!                                                written off ──rest, or ask──▶ resting
//! ```
//!
//! A slice is out from when it may be sent until the tunnel wants more. A tunnel whose peer does not read wants nothing
//! more, so its slice is written off after [`STUCK_NS`]: it does not count against the budget any longer, and others go on.

use super::{BUDGET, SLICE};
use crate::qos::{
    pool::{Chain, Key, Pool},
    precedence::{Precedence, Wants},
    settings::{ClassId, ClassSettings},
};

/// After this time a slice that was not taken in does not count any more; nanoseconds.
pub(super) const STUCK_NS: u64 = 20_000_000;
/// What levels below the highest leave of the budget.
const KEPT_FOR_HIGHEST: u64 = 2 * SLICE as u64;
/// Bytes of a slice that cost 1.
const COST_BYTES: u64 = 1024;

/// Link number: the class's turn.
const TURN: usize = 0;
/// Link number: slices that are out.
const OUT: usize = 1;

/// The bodies of one backend.
#[derive(Debug)]
pub(super) struct Turns<T> {
    uploads: Pool<Upload<T>, 2>,
    classes: Vec<Chain<TURN>>,
    precedence: Precedence,
    /// Slices that are out, oldest first.
    out: Chain<OUT>,
    out_bytes: u64,
    waiting: u32,
}

#[derive(Debug)]
struct Upload<T> {
    class: ClassId,
    state: State,
    bytes: u64,
    /// When its slice went out.
    since_ns: u64,
    payload: T,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resting,
    Waiting,
    /// It may send, and does not know it yet.
    Granted,
    /// It sends.
    Out,
    WrittenOff,
}

impl<T> Turns<T> {
    /// Nobody uploads.
    pub(super) fn new(classes: &[ClassSettings]) -> Self {
        Self {
            uploads: Pool::new(),
            classes: vec![Chain::default(); classes.len()],
            precedence: Precedence::new(classes.iter()),
            out: Chain::default(),
            out_bytes: 0,
            waiting: 0,
        }
    }

    /// Changes the classes; there may be more than before, not fewer.
    pub(super) fn configure(&mut self, classes: &[ClassSettings]) {
        self.classes.resize(classes.len().max(self.classes.len()), Chain::default());
        self.precedence = Precedence::new(classes.iter());
    }

    /// A body joins.
    pub(super) fn join(&mut self, class: ClassId, payload: T) -> Key {
        let class = if class.index() < self.classes.len() { class } else { ClassId::default() };
        self.uploads.insert(Upload { class, state: State::Resting, bytes: 0, since_ns: 0, payload })
    }

    /// A body wants to send `bytes`; true if it may, false if it waits. What it sent before was taken in.
    pub(super) fn ask(&mut self, now_ns: u64, key: Key, bytes: u64) -> bool {
        let Some(upload) = self.uploads.find_mut(key) else { return true };
        match upload.state {
            State::Waiting => return false,
            State::Granted => {
                upload.state = State::Out;
                return true;
            }
            State::Resting | State::Out | State::WrittenOff => {}
        }
        self.rest(key);
        let Some(upload) = self.uploads.find_mut(key) else { return true };
        let class = upload.class;
        upload.bytes = bytes;
        upload.state = State::Waiting;
        if self.waiting == 0 && self.open_levels() > self.precedence.level(class) {
            self.grant(now_ns, key, State::Out);
            return true;
        }
        if let Some(turn) = self.classes.get_mut(class.index()) {
            if turn.is_empty() {
                self.precedence.woke(class);
            }
            self.uploads.push_back(turn, key);
            self.waiting = self.waiting.saturating_add(1);
        }
        false
    }

    /// What a body sent was taken in, and it has nothing more for now.
    pub(super) fn rest(&mut self, key: Key) {
        let Some(upload) = self.uploads.find_mut(key) else { return };
        let (before, class, bytes) = (upload.state, upload.class, upload.bytes);
        upload.state = State::Resting;
        match before {
            State::Waiting => {
                if let Some(turn) = self.classes.get_mut(class.index()) {
                    self.uploads.unlink(turn, key);
                    self.waiting = self.waiting.saturating_sub(1);
                }
            }
            State::Granted | State::Out => {
                self.uploads.unlink(&mut self.out, key);
                self.out_bytes = self.out_bytes.saturating_sub(bytes);
            }
            State::Resting | State::WrittenOff => {}
        }
    }

    /// A body is gone.
    pub(super) fn leave(&mut self, key: Key) {
        self.rest(key);
        self.uploads.remove(key);
    }

    /// The next body whose wait is over.
    pub(super) fn next(&mut self, now_ns: u64) -> Option<Key> {
        self.write_off(now_ns);
        let class = self.precedence.choose(self.open_levels(), wants(&self.classes))?;
        let turn = self.classes.get_mut(class.index())?;
        let key = self.uploads.pop_front(turn)?;
        self.waiting = self.waiting.saturating_sub(1);
        let bytes = self.uploads.find(key)?.bytes;
        let cost = u32::try_from(bytes.div_ceil(COST_BYTES)).unwrap_or(u32::MAX);
        self.precedence.served(class, cost, wants(&self.classes));
        self.grant(now_ns, key, State::Granted);
        Some(key)
    }

    /// What the owner keeps with a body.
    pub(super) fn payload_mut(&mut self, key: Key) -> Option<&mut T> {
        self.uploads.find_mut(key).map(|upload| &mut upload.payload)
    }

    fn grant(&mut self, now_ns: u64, key: Key, state: State) {
        let Some(upload) = self.uploads.find_mut(key) else { return };
        upload.state = state;
        upload.since_ns = now_ns;
        self.out_bytes = self.out_bytes.saturating_add(upload.bytes);
        self.uploads.push_back(&mut self.out, key);
    }

    /// How many levels, from the highest, may send a slice.
    fn open_levels(&self) -> usize {
        let with_slice = self.out_bytes.saturating_add(SLICE as u64);
        if with_slice <= BUDGET - KEPT_FOR_HIGHEST {
            self.precedence.levels()
        } else {
            usize::from(with_slice <= BUDGET)
        }
    }

    fn write_off(&mut self, now_ns: u64) {
        while let Some(key) = self.out.first()
            && let Some(upload) = self.uploads.find_mut(key)
            && upload.since_ns.saturating_add(STUCK_NS) <= now_ns
        {
            upload.state = State::WrittenOff;
            self.out_bytes = self.out_bytes.saturating_sub(upload.bytes);
            self.uploads.unlink(&mut self.out, key);
        }
    }
}

fn wants(classes: &[Chain<TURN>]) -> impl Fn(ClassId) -> Wants {
    |id| {
        let waits = classes.get(id.index()).is_some_and(|turn| !turn.is_empty());
        if waits { Wants::Turn } else { Wants::Nothing }
    }
}

#[cfg(test)]
mod tests;
