//! A pool's slots, and the one lock that guards them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering};

use tokio::{sync::Notify, task::AbortHandle};

use super::{
    choice::{self, Load},
    connection::Connection,
    context::Standing,
    error::LeaseError,
    home::Home,
    lease::Need,
};
use crate::clock;

/// Tunnels that finish their requests, for each slot. An operator who resets a slot more often than that cuts the oldest.
const MAX_DRAINING: usize = 4;

/// What a pool, and the tasks of its slots, share.
pub(super) struct Shared<B> {
    pub(super) home: Arc<Home>,
    table: Mutex<Table<B>>,
}

/// All slots. Locked for a few instructions, never across `await`.
pub(super) struct Table<B> {
    pub(super) slots: Vec<Slot<B>>,
    /// Where the next session without a tunnel begins to look.
    turn: usize,
    /// Until when a tunnel is held ready for upgrades.
    pub(super) upgrades_until_ns: u64,
    pub(super) is_stopping: bool,
}

/// A numbered place for a tunnel.
pub(super) struct Slot<B> {
    pub(super) current: Option<Arc<Connection<B>>>,
    pub(super) draining: Vec<Draining<B>>,
    /// Whether a task keeps it.
    pub(super) is_occupied: bool,
    /// Whether its tunnel is to be replaced.
    pub(super) reset: bool,
    pub(super) failures: u32,
    pub(super) last_error: Option<Arc<str>>,
    /// Wakes its task.
    pub(super) orders: Arc<Notify>,
}

/// A tunnel that finishes its requests.
pub(super) struct Draining<B> {
    pub(super) connection: Arc<Connection<B>>,
    driver: AbortHandle,
}

/// What a slot's task is asked to do.
pub(super) struct Order {
    pub(super) stop: bool,
    pub(super) reset: bool,
}

impl<B> Slot<B> {
    fn new() -> Self {
        Self {
            current: None,
            draining: Vec::new(),
            is_occupied: false,
            reset: false,
            failures: 0,
            last_error: None,
            orders: Arc::default(),
        }
    }

    fn load(&self, need: Need) -> Load {
        match &self.current {
            Some(connection) if need == Need::Any || !connection.facts.is_http2() => connection.load(),
            Some(_) | None => Load::default(),
        }
    }

    fn is_open(&self) -> bool {
        self.load(Need::Any).limit > 0
    }
}

impl<B> Table<B> {
    /// Takes a place on the tunnel that suits best.
    pub(super) fn take(&mut self, preferred: Option<usize>, need: Need, kept: usize) -> Option<Arc<Connection<B>>> {
        if preferred.is_none() {
            self.turn = self.turn.wrapping_add(1);
        }
        // A tunnel may end between the look and the take; another look shows it.
        for _ in 0..=self.slots.len() {
            let slot = self.find(preferred, need, kept)?;
            let connection = self.slots.get(slot)?.current.as_ref()?;
            if connection.take() {
                return Some(Arc::clone(connection));
            }
        }
        None
    }

    fn find(&self, preferred: Option<usize>, need: Need, kept: usize) -> Option<usize> {
        let slots = self.slots.len();
        let load = |slot: usize| self.slots.get(slot).map_or_else(Load::default, |slot| slot.load(need));
        if need == Need::Upgrade {
            // It uses the tunnel up, so it does not take one that sessions are mapped to if it can help it.
            let extra = |slot: usize| if slot < kept { Load::default() } else { load(slot) };
            if let Some(slot) = choice::choose(None, 0, kept, slots, extra) {
                return Some(slot);
            }
        }
        choice::choose(preferred, self.turn, kept, slots, load)
    }

    /// Why nothing could be taken.
    pub(super) fn refusal(&self, need: Need, home: &Home) -> LeaseError {
        let backend = Arc::clone(&home.settings.backend);
        let reason = || {
            let last = self.slots.iter().rev().find_map(|slot| slot.last_error.clone());
            last.unwrap_or_else(|| "it is being opened".into())
        };
        match need {
            _ if self.is_stopping => LeaseError::Stopped { backend },
            _ if !self.slots.iter().any(Slot::is_open) => LeaseError::Down { backend, reason: reason() },
            Need::Any => LeaseError::Full { backend },
            Need::Upgrade => LeaseError::NoUpgrade { backend, reason: reason() },
        }
    }

    /// The first extra slot that nobody keeps, if another HTTP/1.1 tunnel should be opened: ahead of the need for it.
    pub(super) fn vacant(&self, home: &Home) -> Option<usize> {
        let open = home.http1_open.load(Ordering::SeqCst);
        let wanted = self.wanted_http1(home);
        if open >= wanted || self.is_stopping {
            return None;
        }
        let extra = || self.slots.iter().enumerate().skip(home.settings.kept);
        let opening = extra().filter(|(_, slot)| slot.is_occupied && slot.current.is_none()).count();
        if open + opening >= wanted {
            return None;
        }
        extra().find(|(_, slot)| !slot.is_occupied).map(|(number, _)| number)
    }

    /// HTTP/1.1 tunnels that there should be: those that carry a request, and some more, so that the next requests find
    /// one. The share is a guess at how fast load grows within a handshake's time.
    fn wanted_http1(&self, home: &Home) -> usize {
        let taken = home.http1_taken.load(Ordering::SeqCst);
        if taken > 0 {
            return taken + (taken / 4).max(2);
        }
        usize::from(clock::monotonic_ns() < self.upgrades_until_ns)
    }

    fn standing(&self) -> Standing {
        Standing {
            open: self.slots.iter().filter(|slot| slot.is_open()).count(),
            draining: self.slots.iter().map(|slot| slot.draining.len()).sum(),
        }
    }
}

impl<B> Shared<B> {
    pub(super) fn new(home: Arc<Home>) -> Self {
        let slots = home.settings.kept.saturating_add(home.settings.extra);
        let slots = (0..slots).map(|_| Slot::new()).collect();
        let table = Table { slots, turn: 0, upgrades_until_ns: 0, is_stopping: false };
        Self { home, table: Mutex::new(table) }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table<B>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a slot, and tells how many tunnels there are now.
    fn change<R: Default>(&self, slot: usize, change: impl FnOnce(&mut Slot<B>) -> R) -> R {
        let mut table = self.table();
        let result = table.slots.get_mut(slot).map(change).unwrap_or_default();
        let standing = table.standing();
        // Within the lock, so that the last one told is the last one true.
        self.home.standing.send_if_modified(|told| std::mem::replace(told, standing) != standing);
        drop(table);
        self.home.room.all_changed();
        result
    }

    /// Puts an open tunnel in its slot's place.
    pub(super) fn install(&self, connection: &Arc<Connection<B>>) {
        connection.set_opened_ns(clock::monotonic_ns());
        self.change(connection.slot, |slot| {
            let last = slot.current.replace(Arc::clone(connection));
            self.count_http1(Some(connection), last.as_ref());
            (slot.failures, slot.last_error, slot.reset) = (0, None, false);
        });
    }

    /// Takes a tunnel out of its slot's place; one with a driver is kept in sight until it has ended.
    pub(super) fn uninstall(&self, connection: &Arc<Connection<B>>, driver: Option<AbortHandle>) {
        let oldest = self.change(connection.slot, |slot| {
            if slot.current.take_if(|current| Arc::ptr_eq(current, connection)).is_some() {
                self.count_http1(None, Some(connection));
            }
            let oldest = (slot.draining.len() >= MAX_DRAINING).then(|| slot.draining.remove(0));
            slot.draining.extend(driver.map(|driver| Draining { connection: Arc::clone(connection), driver }));
            oldest
        });
        if let Some(oldest) = oldest {
            self.home.counts.cut.add();
            oldest.driver.abort();
        }
    }

    fn count_http1(&self, more: Option<&Arc<Connection<B>>>, less: Option<&Arc<Connection<B>>>) {
        let is_http1 = |connection: &Arc<Connection<B>>| !connection.facts.is_http2();
        if more.is_some_and(is_http1) {
            self.home.http1_open.fetch_add(1, Ordering::SeqCst);
        }
        if less.is_some_and(is_http1) {
            self.home.http1_open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Forgets a tunnel that has finished its requests, or was cut.
    pub(super) fn forget(&self, connection: &Arc<Connection<B>>) {
        self.change(connection.slot, |slot| {
            slot.draining.retain(|draining| !Arc::ptr_eq(&draining.connection, connection));
        });
    }

    /// Notes why a slot has no tunnel.
    pub(super) fn note(&self, slot: usize, failures: u32, why: String) {
        self.change(slot, |slot| (slot.failures, slot.last_error) = (failures, Some(why.into())));
    }

    /// A slot's task ends.
    pub(super) fn vacate(&self, slot: usize) {
        self.change(slot, |slot| (slot.is_occupied, slot.reset) = (false, false));
    }

    /// What a slot's task is to do.
    pub(super) fn order(&self, slot: usize) -> Order {
        let mut table = self.table();
        let stop = table.is_stopping;
        let reset = table.slots.get_mut(slot).is_some_and(|slot| std::mem::take(&mut slot.reset));
        Order { stop, reset }
    }

    /// Whether there are fewer HTTP/1.1 tunnels than there should be.
    pub(super) fn needs_http1(&self) -> bool {
        self.home.http1_open.load(Ordering::SeqCst) < self.table().wanted_http1(&self.home)
    }

    /// Whether there is one HTTP/1.1 tunnel more than there should be.
    pub(super) fn can_spare_http1(&self) -> bool {
        self.home.http1_open.load(Ordering::SeqCst) > self.table().wanted_http1(&self.home)
    }
}
