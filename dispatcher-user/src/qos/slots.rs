//! The slots of a backend's window: who holds them, and which levels may take one.
//!
//! A level may take a slot as long as it and the levels below it together leave free what is reserved for the levels
//! above. So if a level may take none, no lower one may.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    request::Ticket,
    settings::{SMALL_WINDOW, WindowSettings},
    spacing::Spacing,
    usual::Usual,
    window::Window,
};

/// Requests that may have lent their slots at the same time, for each slot.
const STALLED_PER_SLOT: u32 = 4;

/// The slots.
#[derive(Debug)]
pub(super) struct Slots {
    window: Window,
    levels: Vec<Level>,
    in_flight: u32,
    stalled: u32,
    spacing: Spacing,
    held_until_ns: Option<u64>,
    /// Service time of the levels below the highest.
    lower: Usual,
    /// Requests whose clients are gone, by when their slots count as free.
    abandoned: BinaryHeap<Reverse<(u64, Ticket)>>,
}

/// A level's part of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    /// Slots that it holds.
    pub(super) in_flight: u32,
    /// Slots that its classes ask to be reserved; `None` if they leave that to its share.
    pub(super) reserve: Option<u32>,
    /// The guaranteed share of its classes.
    pub(super) share_percent: u32,
}

impl Slots {
    /// All slots are free.
    pub(super) fn new(settings: WindowSettings, now_ns: u64) -> Self {
        Self {
            window: Window::new(settings, now_ns),
            levels: Vec::new(),
            in_flight: 0,
            stalled: 0,
            spacing: Spacing::default(),
            held_until_ns: None,
            lower: Usual::new(),
            abandoned: BinaryHeap::new(),
        }
    }

    /// Sets the levels with what they hold.
    pub(super) fn set_levels(&mut self, levels: Vec<Level>) {
        self.levels = levels;
    }

    /// Sets the window. One that is found already goes on from where it is.
    pub(super) fn set_window(&mut self, settings: WindowSettings, now_ns: u64) {
        self.window.set(settings, now_ns);
    }

    /// Slots of the window.
    pub(super) fn window(&self) -> u32 {
        self.window.slots()
    }

    /// Slots that are held.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Requests that have lent their slots.
    pub(super) fn stalled(&self) -> u32 {
        self.stalled
    }

    /// Slots held for requests whose clients are gone.
    pub(super) fn abandoned(&self) -> usize {
        self.abandoned.len()
    }

    /// The last known latency without a queue, where the window is found.
    pub(super) fn base_latency_ns(&self) -> Option<u64> {
        self.window.base_ns()
    }

    /// How many levels, from the highest, may take a slot now; `lowest` is the lowest that wants to.
    pub(super) fn open_levels(&mut self, now_ns: u64, lowest: usize) -> usize {
        self.held_until_ns = None;
        let mut open = 0;
        // What this level and those below it hold, and what is reserved for those above it.
        let (mut holds, mut reserved) = (self.in_flight, 0);
        for index in 0..=lowest.min(self.levels.len().saturating_sub(1)) {
            let may_hold = self.may_hold(index, reserved);
            if holds >= may_hold {
                break;
            }
            if index > 0 && holds + 1 >= may_hold {
                self.held_until_ns = self.spacing.hold(now_ns, self.lower.known_ns(), may_hold);
                if self.held_until_ns.is_some() {
                    return open;
                }
            }
            open = index + 1;
            holds -= self.levels.get(index).map_or(0, |level| level.in_flight).min(holds);
            reserved = reserved.saturating_add(self.reserve(index));
        }
        self.spacing.release(now_ns);
        open
    }

    /// What a level and those below it may hold together, with so much reserved for those above; one slot at least.
    pub(super) fn may_hold(&self, level: usize, reserved: u32) -> u32 {
        // The backend's latency is probed with requests of lower levels, if there are any.
        let is_probed = level > 0 || self.levels.len() < 2;
        let slots = if is_probed { self.window.slots_now() } else { self.window.slots() };
        slots.saturating_sub(reserved).max(1)
    }

    /// Until when a slot is held although a request waits for it.
    pub(super) fn held_until_ns(&self) -> Option<u64> {
        self.held_until_ns
    }

    /// Nobody waits any more for the slot that is held.
    pub(super) fn release(&mut self, now_ns: u64) {
        self.held_until_ns = None;
        self.spacing.release(now_ns);
    }

    /// A request of `level` takes a slot.
    pub(super) fn take(&mut self, now_ns: u64, level: usize) {
        self.in_flight = self.in_flight.saturating_add(1);
        if let Some(level) = self.levels.get_mut(level) {
            level.in_flight = level.in_flight.saturating_add(1);
        }
        if level > 0 {
            self.spacing.started(now_ns);
        }
    }

    /// A request of `level` gives its slot back.
    pub(super) fn free(&mut self, level: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(level) = self.levels.get_mut(level) {
            level.in_flight = level.in_flight.saturating_sub(1);
        }
    }

    /// A request of `level` was at the backend from `started_ns` until now.
    pub(super) fn measure_service(&mut self, level: usize, busy_ns: u64) {
        if level > 0 {
            self.lower.measure(busy_ns);
            self.spacing.earn(busy_ns, self.lower.mean_ns());
        }
    }

    /// The backend answered now a request that started at `started_ns` and still holds its slot.
    pub(super) fn measure_latency(&mut self, now_ns: u64, started_ns: u64) {
        self.window.measure(now_ns, started_ns, self.in_flight.saturating_sub(1));
    }

    /// True if one more request may lend its slot; then it counts as lent.
    pub(super) fn lend(&mut self) -> bool {
        let may = self.stalled < self.window.slots().saturating_mul(STALLED_PER_SLOT);
        self.stalled = self.stalled.saturating_add(u32::from(may));
        may
    }

    /// A request that had lent its slot wants one again, or is over.
    pub(super) fn end_loan(&mut self) {
        self.stalled = self.stalled.saturating_sub(1);
    }

    /// Keeps the slot of a request whose client is gone until `until_ns`.
    pub(super) fn keep(&mut self, until_ns: u64, ticket: Ticket) {
        self.abandoned.push(Reverse((until_ns, ticket)));
    }

    /// The next request whose slot counts as free now, though nobody said so.
    pub(super) fn overdue(&mut self, now_ns: u64) -> Option<Ticket> {
        if self.overdue_ns()? > now_ns {
            return None;
        }
        self.abandoned.pop().map(|Reverse((_, ticket))| ticket)
    }

    /// When that is.
    pub(super) fn overdue_ns(&self) -> Option<u64> {
        self.abandoned.peek().map(|Reverse((until_ns, _))| *until_ns)
    }

    /// The levels, for tests.
    #[cfg(test)]
    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Slots that `index` keeps from lower levels.
    pub(super) fn reserve(&self, index: usize) -> u32 {
        let Some(level) = self.levels.get(index) else { return 0 };
        let slots = self.window.slots();
        let is_above_others = index == 0 && self.levels.len() > 1;
        let share = slots / 100 * level.share_percent + slots % 100 * level.share_percent / 100;
        level.reserve.unwrap_or_else(|| share.max(u32::from(slots >= SMALL_WINDOW && is_above_others)))
    }
}
