//! A bounded memory of what was decided in the last moments.
//!
//! Two generations: new entries go into the current one; after [`SPAN_NS`] it becomes the previous one and what was the
//! previous is forgotten. So an entry lives one to two spans, and forgetting costs nothing per entry.

use std::{collections::HashMap, hash::Hash, mem};

use dispatcher_common::{event, table};

use super::random::Seeded;

/// How long a generation is filled: longer than a packet spends on its way up; nanoseconds.
pub(super) const SPAN_NS: u64 = 1_000_000_000;

/// Entries of a generation. As many as the ring buffer can hold records (its own header of eight bytes included), so
/// that also in a flood no decision is forgotten before the packets are through that were on their way up when it fell.
pub(super) const CAPACITY: usize = table::EVENT_BYTES / (event::SMALL + 8);

/// Recent decisions by key.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    current: HashMap<K, V, Seeded>,
    previous: HashMap<K, V, Seeded>,
    turned_ns: u64,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Remembers nothing yet.
    pub(super) fn new(seed: u64, now_ns: u64) -> Self {
        let empty = || HashMap::with_hasher(Seeded(seed));
        Self { current: empty(), previous: empty(), turned_ns: now_ns }
    }

    /// What was decided for `key` last.
    pub(super) fn find(&self, key: &K) -> Option<&V> {
        self.current.get(key).or_else(|| self.previous.get(key))
    }

    /// Remembers a decision.
    pub(super) fn insert(&mut self, now_ns: u64, key: K, value: V) {
        if self.current.len() >= CAPACITY {
            self.turn(now_ns);
        }
        self.current.insert(key, value);
    }

    /// Forgets what was decided for `key`.
    pub(super) fn remove(&mut self, key: &K) {
        self.current.remove(key);
        self.previous.remove(key);
    }

    /// Forgets what is due. Never two generations at once: after a stall, what was decided before it still counts.
    pub(super) fn tick(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.turned_ns) >= SPAN_NS {
            self.turn(now_ns);
        }
    }

    fn turn(&mut self, now_ns: u64) {
        self.turned_ns = now_ns;
        mem::swap(&mut self.current, &mut self.previous);
        self.current.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_one_to_two_spans() {
        let mut recent = Recent::new(7, 0);
        recent.insert(SPAN_NS / 2, 'a', 1);
        recent.tick(SPAN_NS);
        assert_eq!(recent.find(&'a'), Some(&1));
        recent.tick(2 * SPAN_NS - 1);
        assert_eq!(recent.find(&'a'), Some(&1));
        recent.tick(2 * SPAN_NS);
        assert_eq!(recent.find(&'a'), None);
    }

    #[test]
    fn what_is_removed_is_forgotten_in_both_generations() {
        let mut recent = Recent::new(7, 0);
        recent.insert(0, 'a', 1);
        recent.tick(SPAN_NS);
        recent.insert(SPAN_NS, 'a', 2);
        recent.remove(&'a');
        assert_eq!(recent.find(&'a'), None);
    }

    #[test]
    fn a_stall_forgets_one_generation_at_most() {
        let mut recent = Recent::new(7, 0);
        recent.insert(0, 'a', 1);
        recent.tick(100 * SPAN_NS);
        recent.tick(100 * SPAN_NS + 1);
        assert_eq!(recent.find(&'a'), Some(&1));
    }

    #[test]
    fn the_last_decision_counts_and_the_memory_is_bounded() {
        let mut recent = Recent::new(7, 0);
        recent.insert(0, 0, 'x');
        recent.tick(SPAN_NS);
        recent.insert(SPAN_NS, 0, 'y');
        assert_eq!(recent.find(&0), Some(&'y'));
        for key in 1..3 * CAPACITY {
            recent.insert(SPAN_NS, key, 'z');
        }
        assert!(recent.current.len() + recent.previous.len() <= 2 * CAPACITY);
        assert_eq!(recent.find(&(2 * CAPACITY)), Some(&'z'));
    }
}
