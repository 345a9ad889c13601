//! The mapping table: which backend and tunnel a session's requests go to, for how long, and who makes room.
//!
//! ```text
//!            insert              request, count                 idle, lifetime over
//!   absent ──────────▶ mapped ◀──────────────────┐  mapped ─────────────────────────▶ absent
//!                        │  ▲                    │     │  evicted: most idle of a full table
//!                        └──┴── move_to ─────────┘     └─ removed: operator, service gone
//! ```
//!
//! What changes a mapping is to be written to `dsp_sessions` at once, in the order in which it comes out of here; counters
//! are written when somebody asks for them ([`Sessions::drain`]). Every operation takes a constant number of steps, but
//! for those that say otherwise.

mod adopt;
mod id;
mod list;
mod slots;

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use dispatcher_common::session::Session;
use serde::{Deserialize, Serialize};

pub use self::id::{IdError, SessionId};
use self::{
    list::{AGE, USE},
    slots::{Lists, Slot, Slots},
};
use super::random::Seeded;

/// Where a session's requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Backend ID.
    pub backend: u16,
    /// The backend's generation.
    pub generation: u16,
    /// Which of the backend's tunnels.
    pub tunnel: u16,
    /// QoS class.
    pub class: u8,
}

/// How long a service's sessions last, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long one lasts without a request.
    pub idle: Duration,
    /// How long one lasts at most.
    pub lifetime: Duration,
    /// How many there may be at one time; the one that is idle longest makes room.
    pub capacity: usize,
}

/// What is to be written to `dsp_sessions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A session's row.
    Put(SessionId, Session),
    /// A session is over.
    Remove(SessionId),
}

/// What became of sessions and of requests that named one, since the table was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests whose session was there.
    pub found: u64,
    /// Requests whose session was not there.
    pub missing: u64,
    /// Sessions begun.
    pub inserted: u64,
    /// Sessions taken over from a former daemon.
    pub adopted: u64,
    /// Sessions given to another backend or tunnel.
    pub moved: u64,
    /// Sessions whose time was over.
    pub expired: u64,
    /// Sessions that made room for another.
    pub evicted: u64,
    /// Sessions that an operator removed, or whose service went.
    pub removed: u64,
}

impl Counters {
    /// The counters of two tables together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            found: self.found.wrapping_add(other.found),
            missing: self.missing.wrapping_add(other.missing),
            inserted: self.inserted.wrapping_add(other.inserted),
            adopted: self.adopted.wrapping_add(other.adopted),
            moved: self.moved.wrapping_add(other.moved),
            expired: self.expired.wrapping_add(other.expired),
            evicted: self.evicted.wrapping_add(other.evicted),
            removed: self.removed.wrapping_add(other.removed),
        }
    }
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    slots: Slots,
    index: HashMap<SessionId, u32, Seeded>,
    /// By service ID. There are few: what looks at all of them is no worse for it.
    services: HashMap<u16, Service, Seeded>,
    capacity: usize,
    counters: Counters,
}

/// A service's sessions.
#[derive(Debug)]
struct Service {
    rules: Rules,
    lists: Lists,
}

impl Sessions {
    /// No sessions, and room for `capacity`, or 2^32 - 2 if that is more. `seed` keeps strangers from aiming at one bucket.
    #[must_use]
    pub fn new(capacity: usize, seed: u64) -> Self {
        Self {
            slots: Slots::default(),
            index: HashMap::with_hasher(Seeded(seed)),
            services: HashMap::with_hasher(Seeded(seed)),
            capacity: capacity.clamp(1, slots::MOST),
            counters: Counters::default(),
        }
    }

    /// Sets the rules of a service. Sessions that are there keep to them from now on, too.
    pub fn configure(&mut self, service: u16, rules: Rules) {
        match self.services.entry(service) {
            Entry::Occupied(mut known) => known.get_mut().rules = rules,
            Entry::Vacant(room) => {
                room.insert(Service { rules, lists: Lists::default() });
            }
        }
    }

    /// Ends all sessions of a service that is gone; takes a step for each.
    pub fn forget_service(&mut self, service: u16, writes: &mut Vec<Write>) {
        while let Some(slot) = self.services.get(&service).and_then(|service| service.lists.first(USE)) {
            self.take_out(slot, writes);
            self.counters.removed = self.counters.removed.wrapping_add(1);
        }
        self.services.remove(&service);
    }

    /// Takes note of a request, and says where it goes; nothing if `service` has no such session.
    pub fn request(&mut self, now_ns: u64, service: u16, id: SessionId, writes: &mut Vec<Write>) -> Option<Mapping> {
        let found = self.live(now_ns, service, id, writes);
        let count = if found.is_some() { &mut self.counters.found } else { &mut self.counters.missing };
        *count = count.wrapping_add(1);
        let (slot, service) = (found?, self.services.get_mut(&service)?);
        let session = self.slots.find_mut(slot)?;
        session.row.requests = session.row.requests.wrapping_add(1);
        session.row.last_seen_ns = session.row.last_seen_ns.max(now_ns);
        session.row.expires_ns = service.rules.expires_ns(&session.row);
        let mapping = session.mapping();
        self.slots.note(slot);
        self.slots.move_to_end(&mut service.lists, USE, slot);
        Some(mapping)
    }

    /// Begins a session with its first request, and says where that goes: elsewhere than `mapping` says if another request
    /// of the session came first. A service without rules has no sessions.
    ///
    /// A full table takes a step for each service.
    pub fn insert(
        &mut self,
        now_ns: u64,
        service: u16,
        id: SessionId,
        mapping: Mapping,
        writes: &mut Vec<Write>,
    ) -> Mapping {
        if self.live(now_ns, service, id, writes).is_some() {
            return self.request(now_ns, service, id, writes).unwrap_or(mapping);
        }
        let Some(rules) = self.services.get(&service).map(|service| service.rules) else { return mapping };
        let mut row = Session { requests: 1, created_ns: now_ns, last_seen_ns: now_ns, service, ..Session::default() };
        row.expires_ns = rules.expires_ns(&row);
        mapping.write(&mut row);
        // An ID that another service uses is nobody else's to use: the later one has it.
        if let Some(&slot) = self.index.get(&id) {
            self.take_out(slot, writes);
            self.counters.evicted = self.counters.evicted.wrapping_add(1);
        }
        self.make_room(service, rules.capacity, writes);
        if self.put_in(id, row).is_some() {
            writes.push(Write::Put(id, row));
            self.counters.inserted = self.counters.inserted.wrapping_add(1);
        }
        mapping
    }

    /// Counts bytes of a session's request or answer; nothing if the session is over meanwhile.
    pub fn count(&mut self, id: SessionId, bytes: u64) {
        let Some(&slot) = self.index.get(&id) else { return };
        if let Some(session) = self.slots.find_mut(slot) {
            session.row.bytes = session.row.bytes.wrapping_add(bytes);
            self.slots.note(slot);
        }
    }

    /// Gives a session to another backend, tunnel or class; false if it is not there.
    pub fn move_to(&mut self, id: SessionId, mapping: Mapping, writes: &mut Vec<Write>) -> bool {
        let Some(session) = self.index.get(&id).and_then(|&slot| self.slots.find_mut(slot)) else { return false };
        if session.mapping() != mapping {
            mapping.write(&mut session.row);
            writes.push(Write::Put(id, session.row));
            self.counters.moved = self.counters.moved.wrapping_add(1);
        }
        true
    }

    /// Ends a session; false if it is not there.
    pub fn remove(&mut self, id: SessionId, writes: &mut Vec<Write>) -> bool {
        let Some(&slot) = self.index.get(&id) else { return false };
        self.take_out(slot, writes);
        self.counters.removed = self.counters.removed.wrapping_add(1);
        true
    }

    /// Ends sessions whose time is over, `budget` of each service at most; true if there may be more.
    pub fn expire(&mut self, now_ns: u64, budget: usize, writes: &mut Vec<Write>) -> bool {
        let services: Vec<u16> = self.services.keys().copied().collect();
        let mut more = false;
        for service in services {
            let mut left = budget;
            while let Some(slot) = self.first_over(now_ns, service) {
                if left == 0 {
                    more = true;
                    break;
                }
                left -= 1;
                self.take_out(slot, writes);
                self.counters.expired = self.counters.expired.wrapping_add(1);
            }
        }
        more
    }

    /// The rows whose counters have changed since they were written, `budget` at most; true if there are more.
    pub fn drain(&mut self, budget: usize, writes: &mut Vec<Write>) -> bool {
        self.slots.drain(budget, |session| writes.push(Write::Put(session.id, session.row)))
    }

    /// A session's row.
    #[must_use]
    pub fn row(&self, id: SessionId) -> Option<Session> {
        self.index.get(&id).and_then(|&slot| self.slots.find(slot)).map(|session| self.in_force(&session.row))
    }

    /// All sessions, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, Session)> {
        self.slots.iter().map(|session| (session.id, self.in_force(&session.row)))
    }

    /// A row with its end by the rules in force; what is kept and written has that of its last request.
    fn in_force(&self, row: &Session) -> Session {
        let expires_ns = self.services.get(&row.service).map_or(row.expires_ns, |of| of.rules.expires_ns(row));
        Session { expires_ns, ..*row }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// What became of sessions so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The slot of a session of `service` whose time is not over. One whose time is over ends here.
    fn live(&mut self, now_ns: u64, service: u16, id: SessionId, writes: &mut Vec<Write>) -> Option<u32> {
        let slot = *self.index.get(&id)?;
        let row = &self.slots.find(slot)?.row;
        if row.service != service {
            return None;
        }
        if self.services.get(&service)?.rules.expires_ns(row) > now_ns {
            return Some(slot);
        }
        self.take_out(slot, writes);
        self.counters.expired = self.counters.expired.wrapping_add(1);
        None
    }

    /// A session of `service` whose time is over: sessions of one service are idle in the order of their last requests,
    /// and reach their lifetime in the order in which they began.
    fn first_over(&self, now_ns: u64, service: u16) -> Option<u32> {
        let Service { rules, lists } = self.services.get(&service)?;
        let is_over =
            |slot: &u32| self.slots.find(*slot).is_some_and(|session| rules.expires_ns(&session.row) <= now_ns);
        [lists.first(USE), lists.first(AGE)].into_iter().flatten().find(is_over)
    }

    /// Ends sessions until `service` may have one more, and the table too.
    fn make_room(&mut self, service: u16, capacity: usize, writes: &mut Vec<Write>) {
        while let Some(Service { lists, .. }) = self.services.get(&service)
            && lists.len() >= capacity.max(1)
            && let Some(slot) = lists.first(USE)
        {
            self.evict(slot, writes);
        }
        while self.index.len() >= self.capacity
            && let Some(slot) = self.most_idle()
        {
            self.evict(slot, writes);
        }
    }

    fn evict(&mut self, slot: u32, writes: &mut Vec<Write>) {
        self.take_out(slot, writes);
        self.counters.evicted = self.counters.evicted.wrapping_add(1);
    }

    /// The session of all services that is idle longest.
    fn most_idle(&self) -> Option<u32> {
        let first = self.services.values().filter_map(|service| service.lists.first(USE));
        first.min_by_key(|&slot| self.slots.find(slot).map_or(u64::MAX, |session| session.row.last_seen_ns))
    }

    fn put_in(&mut self, id: SessionId, row: Session) -> Option<u32> {
        let service = self.services.get_mut(&row.service)?;
        let slot = self.slots.insert(Slot::new(id, row))?;
        self.slots.push(&mut service.lists, USE, slot);
        self.slots.push(&mut service.lists, AGE, slot);
        self.index.insert(id, slot);
        Some(slot)
    }

    fn take_out(&mut self, slot: u32, writes: &mut Vec<Write>) {
        let Some(session) = self.slots.find(slot) else { return };
        let (id, service) = (session.id, session.row.service);
        if let Some(service) = self.services.get_mut(&service) {
            self.slots.unlink(&mut service.lists, USE, slot);
            self.slots.unlink(&mut service.lists, AGE, slot);
        }
        self.slots.remove(slot);
        self.index.remove(&id);
        writes.push(Write::Remove(id));
    }
}

impl Rules {
    /// When a session ends if no request comes.
    fn expires_ns(&self, row: &Session) -> u64 {
        let after =
            |from_ns: u64, time: Duration| from_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        after(row.last_seen_ns, self.idle).min(after(row.created_ns, self.lifetime))
    }
}

impl Mapping {
    /// The mapping that a row holds.
    #[must_use]
    pub fn of(row: &Session) -> Self {
        let Session { backend, generation, tunnel, class, .. } = *row;
        Self { backend, generation, tunnel, class }
    }

    fn write(self, row: &mut Session) {
        let Self { backend, generation, tunnel, class } = self;
        *row = Session { backend, generation, tunnel, class, ..*row };
    }
}

#[cfg(test)]
mod tests;
