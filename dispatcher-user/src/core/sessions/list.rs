//! Orders of sessions: doubly linked lists whose links are in the sessions' own slots.

/// The order of last requests.
pub(super) const USE: usize = 0;
/// The order of beginnings.
pub(super) const AGE: usize = 1;
/// How many orders there are.
pub(super) const ORDERS: usize = 2;
/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// The neighbours of a slot in one order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) before: u32,
    pub(super) after: u32,
}

impl Links {
    /// Neighbours of a slot that is in no list.
    pub(super) const LOOSE: Self = Self { before: NONE, after: NONE };
}

/// The ends of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) len: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE, len: 0 }
    }
}
