//! All tunnels to one backend.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, time::timeout};

use super::{
    RequestBody,
    context::{PoolView, Standing},
    error::LeaseError,
    home::{Home, Waiting},
    lease::{Lease, Need},
    settings::Settings,
    slot::Keeper,
    table::{Shared, Table},
};
use crate::clock;

/// The tunnels to one backend, from [`Pool::start`] until this is dropped.
///
/// `B` is the body of the requests that are sent; one type, so that HTTP/1.1 needs no allocation for each.
/// Dropped, it takes no more requests, and its tunnels end once those under way have ended.
pub struct Pool<B> {
    shared: Arc<Shared<B>>,
}

impl<B: RequestBody> Pool<B> {
    /// Begins to open the kept tunnels, and returns at once.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        if !settings.tls.verifies() {
            tracing::warn!(backend = %settings.backend, "whoever answers is taken for the backend: `verify = false`");
        }
        let kept = settings.kept;
        let shared = Arc::new(Shared::new(Home::new(settings, Handle::current())));
        let pool = Self { shared };
        let mut table = pool.shared.table();
        for slot in 0..kept {
            pool.occupy(&mut table, slot);
        }
        drop(table);
        pool
    }

    /// Takes a place on a tunnel: the preferred one if it has room, else the one with the fewest requests.
    ///
    /// A session's preferred slot is the one that [`Lease::slot`] told when it had none. A slot whose tunnel is full or
    /// gone is not waited for.
    ///
    /// # Errors
    /// If there is none with room now.
    pub fn choose(&self, preferred: Option<usize>, need: Need) -> Result<Lease<B>, LeaseError> {
        let home = &self.shared.home;
        let mut table = self.shared.table();
        if need == Need::Upgrade {
            self.prepare_upgrade(&mut table)?;
        }
        let taken = if table.is_stopping { None } else { table.take(preferred, need, home.settings.kept) };
        // Only HTTP/1.1 tunnels grow in number. An HTTP/2 backend that is full is full.
        if taken.as_ref().is_none_or(|connection| !connection.facts.is_http2())
            && let Some(vacant) = table.vacant(home)
        {
            self.occupy(&mut table, vacant);
        }
        taken.map(Lease::new).ok_or_else(|| table.refusal(need, home))
    }

    /// As [`Pool::choose`], but waits for room, and for a tunnel to be opened, up to `bound`.
    ///
    /// # Errors
    /// If there was none until then.
    pub async fn lease(&self, preferred: Option<usize>, need: Need, bound: Duration) -> Result<Lease<B>, LeaseError> {
        let mut refusal = match self.choose(preferred, need) {
            Ok(lease) => return Ok(lease),
            Err(LeaseError::Stopped { backend }) => return Err(LeaseError::Stopped { backend }),
            Err(refusal) => refusal,
        };
        let home = &self.shared.home;
        home.counts.waited.add();
        let (_waiting, since_ns) = (Waiting::new(&home.room), clock::monotonic_ns());
        let was_full = matches!(refusal, LeaseError::Full { .. });
        let waited = timeout(bound, async {
            loop {
                // Before the look: what changes after it is not missed.
                let mut changed = pin!(home.room.changed());
                changed.as_mut().enable();
                match self.choose(preferred, need) {
                    Ok(lease) => return lease,
                    Err(reason) => refusal = reason,
                }
                changed.await;
            }
        });
        let lease = waited.await.ok();
        let lease = lease.ok_or(refusal)?;
        if !was_full || lease.connection().opened_ns() >= since_ns {
            home.counts.handshakes_on_request_path.add();
        }
        Ok(lease)
    }

    /// Sees to it that a tunnel stands ready for the next upgrade too.
    fn prepare_upgrade(&self, table: &mut Table<B>) -> Result<(), LeaseError> {
        let Settings { extra_idle, max_upgraded, backend, .. } = &self.shared.home.settings;
        if self.shared.home.upgraded.load(Ordering::SeqCst) >= *max_upgraded {
            let reason = format!("{max_upgraded} connections are upgraded already").into();
            return Err(LeaseError::NoUpgrade { backend: Arc::clone(backend), reason });
        }
        let idle_ns = u64::try_from(extra_idle.as_nanos()).unwrap_or(u64::MAX);
        table.upgrades_until_ns = clock::monotonic_ns().saturating_add(idle_ns);
        Ok(())
    }

    /// Gives a slot a task.
    fn occupy(&self, table: &mut Table<B>, number: usize) {
        if let Some(slot) = table.slots.get_mut(number) {
            slot.is_occupied = true;
            let keeper = Keeper::new(Arc::clone(&self.shared), number, Arc::clone(&slot.orders));
            self.shared.home.runtime.spawn(keeper.run());
        }
    }
}

impl<B> Pool<B> {
    /// How many tunnels there are, and every change of that.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.home.standing.subscribe()
    }

    /// All tunnels, as an operator sees them.
    #[must_use]
    pub fn view(&self) -> PoolView {
        self.shared.view()
    }

    /// Replaces the tunnel of one slot, or all: the new one is opened first, and the old one finishes its requests.
    /// False if there is no such slot, or nothing in it.
    pub fn reset(&self, slot: Option<usize>) -> bool {
        let mut found = false;
        let mut table = self.shared.table();
        for (number, each) in table.slots.iter_mut().enumerate() {
            if each.is_occupied && slot.is_none_or(|slot| slot == number) {
                each.reset = true;
                each.orders.notify_one();
                found = true;
            }
        }
        found
    }

    /// Takes no more requests. The tunnels end once those under way have ended, or after `Settings::drain`.
    pub fn stop(&self) {
        let mut table = self.shared.table();
        table.is_stopping = true;
        for slot in &table.slots {
            slot.orders.notify_one();
        }
        drop(table);
        self.shared.home.room.all_changed();
    }
}

impl<B> Drop for Pool<B> {
    fn drop(&mut self) {
        self.stop();
    }
}
