//! The mapping table for tasks that run at once: a few tables side by side, each with its lock, written through to
//! `dsp_sessions`.
//!
//! A lock is held for a lookup, or for a lookup and one or two writes to the kernel; never while anything is awaited.
//! Counters follow about once a second ([`Sessions::maintain`]).

mod random;

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use dispatcher_common::{session::Session, table::MAX_SESSIONS};

use crate::core::sessions::{Counters, Mapping, Rules, SessionId, Sessions as Table, Write};

/// Tables side by side: more than there are CPUs that would meet at one lock.
const SHARDS: usize = 16;
/// Sessions of each: IDs are random, so that all fill alike.
const CAPACITY: usize = MAX_SESSIONS / SHARDS;
/// How often [`Sessions::maintain`] is to be called: each call looks after one shard.
pub const MAINTAIN_EVERY: Duration = Duration::from_millis(1000 / SHARDS as u64);

/// The rows of `dsp_sessions`, as one shard writes them.
pub trait Rows: Send {
    /// Writes a session's row.
    ///
    /// # Errors
    /// The kernel refuses.
    fn put(&mut self, id: SessionId, row: &Session) -> io::Result<()>;

    /// Removes a session's row; that there is none is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    fn remove(&mut self, id: SessionId) -> io::Result<()>;
}

/// All sessions.
pub struct Sessions {
    shards: Box<[Mutex<Shard>]>,
    /// The shard that is looked after next.
    next: AtomicUsize,
    /// Writes that the kernel refused.
    failures: AtomicU64,
}

struct Shard {
    table: Table,
    rows: Box<dyn Rows>,
    /// Empty between calls; kept so that a call need not allocate.
    writes: Vec<Write>,
}

impl Sessions {
    /// No sessions. `open` gives each shard its way to the rows; `seed` is a random number.
    ///
    /// # Errors
    /// That of `open`.
    pub fn new<E>(seed: u64, mut open: impl FnMut() -> Result<Box<dyn Rows>, E>) -> Result<Self, E> {
        let mut shard = || {
            let shard = Shard { table: Table::new(CAPACITY, seed), rows: open()?, writes: Vec::new() };
            Ok(Mutex::new(shard))
        };
        let shards = (0..SHARDS).map(|_| shard()).collect::<Result<_, E>>()?;
        Ok(Self { shards, next: AtomicUsize::new(0), failures: AtomicU64::new(0) })
    }

    /// Sets the rules of a service; `rules.capacity` is met to within the number of shards.
    pub fn configure(&self, service: u16, rules: Rules) {
        let rules = Rules { capacity: rules.capacity.div_ceil(SHARDS), ..rules };
        for shard in &self.shards {
            lock(shard).table.configure(service, rules);
        }
    }

    /// Takes over what a former daemon left, once all services are configured.
    pub fn adopt(&self, now_ns: u64, rows: impl IntoIterator<Item = (SessionId, Session)>) {
        let mut parts: Vec<Vec<(SessionId, Session)>> = (0..SHARDS).map(|_| Vec::new()).collect();
        for row in rows {
            if let Some(part) = parts.get_mut(place(row.0)) {
                part.push(row);
            }
        }
        for (shard, part) in self.shards.iter().zip(parts) {
            self.with(shard, |table, writes| table.adopt(now_ns, part, writes));
        }
    }

    /// Ends all sessions of a service that is gone.
    pub fn forget_service(&self, service: u16) {
        for shard in &self.shards {
            self.with(shard, |table, writes| table.forget_service(service, writes));
        }
    }

    /// Takes note of a request, and says where it goes; nothing if `service` has no such session.
    pub fn request(&self, now_ns: u64, service: u16, id: SessionId) -> Option<Mapping> {
        self.with(self.shard(id)?, |table, writes| table.request(now_ns, service, id, writes))
    }

    /// Begins a session with its first request, and says where that goes: elsewhere than `mapping` says if another request
    /// of the session came first.
    pub fn insert(&self, now_ns: u64, service: u16, id: SessionId, mapping: Mapping) -> Mapping {
        let Some(shard) = self.shard(id) else { return mapping };
        self.with(shard, |table, writes| table.insert(now_ns, service, id, mapping, writes))
    }

    /// Counts bytes of a session's request or answer.
    pub fn count(&self, id: SessionId, bytes: u64) {
        if let Some(shard) = self.shard(id) {
            lock(shard).table.count(id, bytes);
        }
    }

    /// Gives a session to another backend, tunnel or class; false if it is not there.
    pub fn move_to(&self, id: SessionId, mapping: Mapping) -> bool {
        self.shard(id).is_some_and(|shard| self.with(shard, |table, writes| table.move_to(id, mapping, writes)))
    }

    /// Gives all sessions of a service's backend to other ones that `pick` names; says how many. One for which nothing is
    /// picked stays.
    pub fn move_all(
        &self,
        service: u16,
        (backend, generation): (u16, u16),
        mut pick: impl FnMut(SessionId, Mapping) -> Option<Mapping>,
    ) -> u64 {
        let mut moved = 0;
        for shard in &self.shards {
            self.with(shard, |table, writes| {
                let is_theirs =
                    |row: &Session| (row.service, row.backend, row.generation) == (service, backend, generation);
                let theirs: Vec<_> = table.iter().filter(|(_, row)| is_theirs(row)).collect();
                for (id, row) in theirs {
                    let picked = pick(id, Mapping::of(&row));
                    moved += u64::from(picked.is_some_and(|mapping| table.move_to(id, mapping, writes)));
                }
            });
        }
        moved
    }

    /// Ends a session; false if it is not there.
    pub fn remove(&self, id: SessionId) -> bool {
        self.shard(id).is_some_and(|shard| self.with(shard, |table, writes| table.remove(id, writes)))
    }

    /// Looks after one shard: ends sessions whose time is over and writes counters. Called every [`MAINTAIN_EVERY`], it
    /// comes round once a second.
    pub fn maintain(&self, now_ns: u64) {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        if let Some(shard) = self.shards.get(next) {
            // Bounded by what a shard holds.
            self.with(shard, |table, writes| {
                table.expire(now_ns, CAPACITY, writes);
                table.drain(CAPACITY, writes);
            });
        }
    }

    /// Writes all counters, for a daemon that ends.
    pub fn flush(&self) {
        for shard in &self.shards {
            self.with(shard, |table, writes| table.drain(CAPACITY, writes));
        }
    }

    /// A session's row.
    #[must_use]
    pub fn row(&self, id: SessionId) -> Option<Session> {
        lock(self.shard(id)?).table.row(id)
    }

    /// Sessions that `is_wanted` says, in no order, `limit` at most; true if there are more.
    #[must_use]
    pub fn list(&self, limit: usize, is_wanted: impl Fn(&Session) -> bool) -> (Vec<(SessionId, Session)>, bool) {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let wanted = shard.table.iter().filter(|(_, row)| is_wanted(row));
            found.extend(wanted.take(limit.saturating_add(1).saturating_sub(found.len())));
        }
        let more = found.len() > limit;
        found.truncate(limit);
        (found, more)
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).table.len()).sum()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What became of sessions, all shards together.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shards.iter().map(|shard| lock(shard).table.counters()).fold(Counters::default(), Counters::plus)
    }

    /// Writes that the kernel refused.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn shard(&self, id: SessionId) -> Option<&Mutex<Shard>> {
        self.shards.get(place(id))
    }

    /// Does something to a shard's table, and writes through what comes of it before anybody else gets there: rows are
    /// written in the order in which they changed.
    fn with<R>(&self, shard: &Mutex<Shard>, act: impl FnOnce(&mut Table, &mut Vec<Write>) -> R) -> R {
        let mut shard = lock(shard);
        let Shard { table, rows, writes } = &mut *shard;
        let outcome = act(table, writes);
        for write in writes.drain(..) {
            let written = match &write {
                Write::Put(id, row) => rows.put(*id, row),
                Write::Remove(id) => rows.remove(*id),
            };
            if let Err(error) = written {
                self.failed(&error);
            }
        }
        outcome
    }

    /// Counts a refused write; logs the 1st, 2nd, 4th, 8th … The session goes on, but a restart may not know it.
    fn failed(&self, error: &io::Error) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if failures.is_power_of_two() {
            tracing::error!(failures, "a session cannot be written: {error}");
        }
    }
}

/// The shard of a session.
fn place(id: SessionId) -> usize {
    let [.., last] = id.0;
    usize::from(last) % SHARDS
}

/// A panic of another task leaves a table as it was between two of its steps; every lookup survives that.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
