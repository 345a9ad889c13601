//! Counts connections, in all and by source; and the limits that no configuration changes.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::core::model::LimitsSpec;

/// Without a byte of an answer taken by the client.
pub const STALL: Duration = Duration::from_secs(60);
/// Without a byte in either direction after an upgrade (WebSocket). Its protocols have their own keep-alive.
pub const UPGRADE_IDLE: Duration = Duration::from_secs(3600);
/// Bytes of a request's target (RFC 9110 section 4.1 asks for 8000 at least).
pub const TARGET_BYTES: usize = 8 * 1024;

/// Parts that the count by source is split into, so that cores do not wait for each other.
const SHARDS: usize = 16;

/// Counts connections, in all and by source.
#[derive(Debug)]
pub struct Census {
    all: AtomicU32,
    sources: [Mutex<HashMap<Source, u32>>; SHARDS],
    hasher: RandomState,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are as many as there may be.
    #[error("as many connections stand as may")]
    Full,
    /// The source has as many as one may have.
    #[error("the source has as many connections as one may have")]
    Source,
}

/// What counts as one client: IPv6 hands each of them a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

/// A connection's place; dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    census: Arc<Census>,
    source: Source,
}

impl Default for Census {
    fn default() -> Self {
        Self { all: AtomicU32::new(0), sources: Default::default(), hasher: RandomState::new() }
    }
}

impl Census {
    /// Counts a connection of `source` in, unless that is one too many.
    ///
    /// # Errors
    /// If there are enough already.
    pub fn enter(self: &Arc<Self>, source: IpAddr, limits: &LimitsSpec) -> Result<Place, Refused> {
        // Counted first and taken back if it was too much: the count is exact even if many enter at once.
        if self.all.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        let source = Source::of(source);
        let mut shard = self.shard(source);
        let count = shard.entry(source).or_insert(0);
        if *count >= limits.connections_per_source {
            drop(shard);
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Source);
        }
        *count += 1;
        drop(shard);
        Ok(Place { census: Arc::clone(self), source })
    }

    /// Connections that stand.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.all.load(Ordering::Relaxed)
    }

    fn shard(&self, source: Source) -> MutexGuard<'_, HashMap<Source, u32>> {
        // The modulus is below SHARDS, so the index fits and exists.
        let at = usize::try_from(self.hasher.hash_one(source) % SHARDS as u64).unwrap_or(0);
        let [first, ..] = &self.sources;
        self.sources.get(at).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.census.all.fetch_sub(1, Ordering::Relaxed);
        // The last connection takes its row with it: the table has no more rows than there are connections.
        if let Entry::Occupied(mut row) = self.census.shard(self.source).entry(self.source) {
            if *row.get() > 1 {
                *row.get_mut() -= 1;
            } else {
                row.remove();
            }
        }
    }
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: u32, connections_per_source: u32) -> LimitsSpec {
        LimitsSpec { connections, connections_per_source, ..LimitsSpec::default() }
    }

    #[test]
    fn a_source_has_no_more_than_its_share_and_gets_its_place_back() {
        let census = Arc::new(Census::default());
        let limits = limits(10, 2);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = census.enter(one, &limits).unwrap();
        let _second = census.enter(one, &limits).unwrap();
        assert_eq!(census.enter(one, &limits).unwrap_err(), Refused::Source);
        let _third = census.enter(other, &limits).unwrap();
        assert_eq!(census.count(), 3);
        drop(first);
        let _again = census.enter(one, &limits).unwrap();
        assert_eq!(census.count(), 3);
    }

    #[test]
    fn all_of_them_together_have_a_limit() {
        let census = Arc::new(Census::default());
        let limits = limits(3, 3);
        let mut places: Vec<_> =
            (1..=3).map(|host| census.enter(IpAddr::from([192, 0, 2, host]), &limits).unwrap()).collect();
        assert_eq!(census.enter("192.0.2.9".parse().unwrap(), &limits).unwrap_err(), Refused::Full);
        assert_eq!(census.count(), 3);
        places.pop();
        census.enter("192.0.2.9".parse().unwrap(), &limits).unwrap();
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_a_mapped_address_is_its_ipv4_one() {
        let census = Arc::new(Census::default());
        let limits = limits(10, 1);
        let enter = |address: &str| census.enter(address.parse().unwrap(), &limits);
        let _one = enter("2001:db8::1").unwrap();
        assert_eq!(enter("2001:db8::ffff:ffff").unwrap_err(), Refused::Source);
        let _other = enter("2001:db8:0:1::1").unwrap();
        let _v4 = enter("192.0.2.1").unwrap();
        assert_eq!(enter("::ffff:192.0.2.1").unwrap_err(), Refused::Source);
    }

    #[test]
    fn nothing_is_remembered_of_who_is_gone() {
        let census = Arc::new(Census::default());
        for host in 0..200 {
            drop(census.enter(IpAddr::from([192, 0, 2, host]), &limits(10, 1)).unwrap());
        }
        assert_eq!(census.count(), 0);
        assert!(census.sources.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
