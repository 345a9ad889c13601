//! Knows the connections that stand, ends those whose time is up, and all of them when the service ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{
    connection::{Connection, Expired, Order},
    counters::EdgeCounters,
};
use crate::core::model::LimitsSpec;

/// The connections of one listener. As many as its limits allow, so it is bounded by them.
#[derive(Debug, Default)]
pub struct Registry {
    rows: Mutex<Rows>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Rows {
    connections: HashMap<u64, Arc<Connection>>,
    next: u64,
    /// Set when the service ends: whoever comes now has come too late.
    order: Option<Order>,
}

/// A connection's row; dropping it takes the row away.
#[derive(Debug)]
pub struct Row {
    registry: Arc<Registry>,
    id: u64,
}

impl Registry {
    /// Knows a connection from now on.
    pub fn enter(self: &Arc<Self>, connection: &Arc<Connection>) -> Row {
        let mut rows = self.rows();
        let id = rows.next;
        rows.next += 1;
        rows.connections.insert(id, Arc::clone(connection));
        if let Some(order) = rows.order {
            connection.give(order);
        }
        Row { registry: Arc::clone(self), id }
    }

    /// Ends connections whose time is up.
    pub fn sweep(&self, limits: &LimitsSpec, counters: &EdgeCounters, now_ns: u64) {
        for connection in self.rows().connections.values() {
            let Some(expired) = connection.expired(limits, now_ns) else { continue };
            // It is swept again until it is gone; it counts once.
            if connection.give(expired.order()) {
                match expired {
                    Expired::Idle => counters.idle.one(),
                    Expired::SlowHeader => counters.slow_header.one(),
                    Expired::Stalled => counters.stalled.one(),
                    // It was counted when it was told to go.
                    Expired::Deaf => {}
                }
            }
        }
    }

    /// Gives all connections, and all that are still to come, an order.
    pub fn give(&self, order: Order) {
        let mut rows = self.rows();
        rows.order = Some(order);
        for connection in rows.connections.values() {
            connection.give(order);
        }
    }

    /// Waits until no connection stands.
    pub async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.rows().connections.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Every connection that stands.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.rows().connections.values().map(Arc::clone).collect()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let is_empty = {
            let mut rows = self.registry.rows();
            rows.connections.remove(&self.id);
            rows.connections.is_empty()
        };
        if is_empty {
            self.registry.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        task::{Context, Waker},
        time::Duration,
    };

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn connection() -> Arc<Connection> {
        let address = "192.0.2.1:1".parse().unwrap();
        Arc::new(Connection::new(address, address, SECOND))
    }

    fn order(connection: &Connection) -> Order {
        connection.order(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_sweep_ends_what_is_expired_and_counts_it_once() {
        let (registry, counters) = (Arc::new(Registry::default()), EdgeCounters::default());
        let limits =
            LimitsSpec { idle: Duration::from_secs(10), header_time: Duration::from_secs(5), ..LimitsSpec::default() };
        let (idle, slow, busy) = (connection(), connection(), connection());
        let _rows = [&idle, &slow, &busy].map(|connection| registry.enter(connection));
        slow.read(true, 2 * SECOND);
        busy.request_begins();
        for now in [11, 12, 13] {
            registry.sweep(&limits, &counters, now * SECOND);
        }
        assert_eq!((order(&idle), order(&slow), order(&busy)), (Order::Drain, Order::Abort, Order::Serve));
        registry.sweep(&limits, &counters, 60 * SECOND);
        assert_eq!(order(&idle), Order::Abort);
        assert_eq!((counters.idle.value(), counters.slow_header.value(), counters.stalled.value()), (1, 1, 0));
    }

    #[tokio::test]
    async fn an_order_to_all_reaches_those_who_come_after_it() {
        let registry = Arc::new(Registry::default());
        let (early, late) = (connection(), connection());
        let early_row = registry.enter(&early);
        registry.give(Order::Drain);
        let late_row = registry.enter(&late);
        assert_eq!((order(&early), order(&late)), (Order::Drain, Order::Drain));
        let waiting = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.empty().await }
        });
        tokio::task::yield_now().await;
        drop(early_row);
        assert!(!waiting.is_finished());
        drop(late_row);
        waiting.await.unwrap();
        assert!(registry.connections().is_empty());
    }
}
