//! Where sessions are kept: slots that are used again, the lists through them, and which of them are to be written.

use std::collections::VecDeque;

use dispatcher_common::session::Session;

use super::{
    Mapping, SessionId,
    list::{Links, List, NONE, ORDERS},
};

/// Slots at most: their numbers fit into 32 bits, and one of these means none.
pub(super) const MOST: usize = u32::MAX as usize - 1;

/// A session.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: SessionId,
    pub(super) row: Session,
    links: [Links; ORDERS],
    /// True if its counters have changed since they were written.
    is_changed: bool,
}

/// A table of this many sessions takes so many bytes for each, and its index about 40 more.
const _: () = assert!(size_of::<Slot>() <= 112);

impl Slot {
    /// A session that is as it was written, and in no list.
    pub(super) fn new(id: SessionId, row: Session) -> Self {
        Self { id, row, links: [Links::LOOSE; ORDERS], is_changed: false }
    }

    pub(super) fn mapping(&self) -> Mapping {
        Mapping::of(&self.row)
    }
}

/// A service's lists, one for each order.
#[derive(Debug, Default)]
pub(super) struct Lists([List; ORDERS]);

impl Lists {
    /// The first slot in an order.
    pub(super) fn first(&self, order: usize) -> Option<u32> {
        self.0.get(order).map(|list| list.first).filter(|&first| first != NONE)
    }

    /// How many slots are in the lists.
    pub(super) fn len(&self) -> usize {
        self.0.first().map_or(0, |list| list.len)
    }
}

/// All slots.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Slots to be written. One is here once at most, also when its session went and another came.
    changed: VecDeque<u32>,
    is_queued: Vec<bool>,
}

impl Slots {
    pub(super) fn find(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn find_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// Takes a session in; `None` if there is no number for it.
    pub(super) fn insert(&mut self, session: Slot) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            *self.slots.get_mut(slot as usize)? = Some(session);
            return Some(slot);
        }
        let slot = u32::try_from(self.slots.len()).ok().filter(|&slot| slot != NONE)?;
        self.slots.push(Some(session));
        self.is_queued.push(false);
        Some(slot)
    }

    /// Lets a session go that is in no list any more.
    pub(super) fn remove(&mut self, slot: u32) {
        if self.slots.get_mut(slot as usize).and_then(Option::take).is_some() {
            self.free.push(slot);
        }
    }

    /// Takes note that a session's counters have changed.
    pub(super) fn note(&mut self, slot: u32) {
        let Some(session) = self.find_mut(slot) else { return };
        session.is_changed = true;
        if let Some(is_queued) = self.is_queued.get_mut(slot as usize)
            && !std::mem::replace(is_queued, true)
        {
            self.changed.push_back(slot);
        }
    }

    /// Hands over the sessions whose counters have changed, `budget` at most; true if there are more.
    pub(super) fn drain(&mut self, mut budget: usize, mut write: impl FnMut(&Slot)) -> bool {
        while budget > 0
            && let Some(slot) = self.changed.pop_front()
        {
            if let Some(is_queued) = self.is_queued.get_mut(slot as usize) {
                *is_queued = false;
            }
            if let Some(session) = self.find_mut(slot).filter(|session| session.is_changed) {
                session.is_changed = false;
                write(session);
                budget -= 1;
            }
        }
        !self.changed.is_empty()
    }

    /// Puts a slot at the end of a list.
    pub(super) fn push(&mut self, lists: &mut Lists, order: usize, slot: u32) {
        let Some(list) = lists.0.get_mut(order) else { return };
        let before = list.last;
        self.link(slot, order, Links { before, after: NONE });
        self.set_after(before, order, slot);
        if before == NONE {
            list.first = slot;
        }
        list.last = slot;
        list.len += 1;
    }

    /// Takes a slot out of a list that it is in.
    pub(super) fn unlink(&mut self, lists: &mut Lists, order: usize, slot: u32) {
        let Some(list) = lists.0.get_mut(order) else { return };
        let Some(&Links { before, after }) = self.find(slot).and_then(|session| session.links.get(order)) else {
            return;
        };
        self.set_after(before, order, after);
        self.set_before(after, order, before);
        if before == NONE {
            list.first = after;
        }
        if after == NONE {
            list.last = before;
        }
        list.len -= 1;
        self.link(slot, order, Links::LOOSE);
    }

    /// Moves a slot to the end of a list that it is in.
    pub(super) fn move_to_end(&mut self, lists: &mut Lists, order: usize, slot: u32) {
        if lists.0.get(order).is_none_or(|list| list.last == slot) {
            return;
        }
        self.unlink(lists, order, slot);
        self.push(lists, order, slot);
    }

    fn link(&mut self, slot: u32, order: usize, links: Links) {
        if let Some(of) = self.find_mut(slot).and_then(|session| session.links.get_mut(order)) {
            *of = links;
        }
    }

    fn set_after(&mut self, slot: u32, order: usize, after: u32) {
        if let Some(links) = self.find_mut(slot).and_then(|session| session.links.get_mut(order)) {
            links.after = after;
        }
    }

    fn set_before(&mut self, slot: u32, order: usize, before: u32) {
        if let Some(links) = self.find_mut(slot).and_then(|session| session.links.get_mut(order)) {
            links.before = before;
        }
    }
}
