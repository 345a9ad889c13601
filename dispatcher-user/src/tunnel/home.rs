//! What the tunnels of one pool share, whatever they carry: counters, waiting requests, bounds.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use super::{
    context::{Counters, Standing},
    settings::Settings,
};

/// Shared by a pool, its connections and its leases.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) settings: Settings,
    pub(super) counts: Counts,
    pub(super) room: Room,
    /// HTTP/1.1 tunnels that carry a request now.
    pub(super) http1_taken: AtomicUsize,
    /// HTTP/1.1 tunnels that are open.
    pub(super) http1_open: AtomicUsize,
    /// Connections that became something else and still live.
    pub(super) upgraded: AtomicUsize,
    /// How many tunnels there are.
    pub(super) standing: watch::Sender<Standing>,
    /// Where tunnels run; a lease may be dropped by a thread of no runtime.
    pub(super) runtime: Handle,
}

impl Home {
    pub(super) fn new(settings: Settings, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            settings,
            counts: Counts::default(),
            room: Room::default(),
            http1_taken: AtomicUsize::new(0),
            http1_open: AtomicUsize::new(0),
            upgraded: AtomicUsize::new(0),
            standing: watch::Sender::new(Standing::default()),
            runtime,
        })
    }
}

/// Requests that wait for a tunnel.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: AtomicUsize,
    freed: Notify,
}

impl Room {
    /// Tells one waiting request that a tunnel has room.
    pub(super) fn freed(&self) {
        // In step with `Waiting::new`: either this sees the one who waits, or that one sees the room.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// Tells all of them, when much has changed.
    pub(super) fn all_changed(&self) {
        self.freed.notify_waiters();
    }

    /// The next notice.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }
}

/// A request that waits; counted as long as this lives.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Room);

impl<'a> Waiting<'a> {
    pub(super) fn new(room: &'a Room) -> Self {
        room.waiting.fetch_add(1, Ordering::SeqCst);
        Self(room)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened in a pool since it was made; [`Counters`] says what each field means.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: Count,
    pub(super) opened: Count,
    pub(super) resumed: Count,
    pub(super) failed: Count,
    pub(super) renewed: Count,
    pub(super) left: Count,
    pub(super) lost: Count,
    pub(super) unanswered_pings: Count,
    pub(super) cut: Count,
    pub(super) waited: Count,
    pub(super) handshakes_on_request_path: Count,
    pub(super) cancelled_and_kept: Count,
    pub(super) cancelled_and_closed: Count,
    pub(super) upgrades: Count,
}

impl Counts {
    pub(super) fn view(&self) -> Counters {
        Counters {
            requests: self.requests.total(),
            opened: self.opened.total(),
            resumed: self.resumed.total(),
            failed: self.failed.total(),
            renewed: self.renewed.total(),
            left: self.left.total(),
            lost: self.lost.total(),
            unanswered_pings: self.unanswered_pings.total(),
            cut: self.cut.total(),
            waited: self.waited.total(),
            handshakes_on_request_path: self.handshakes_on_request_path.total(),
            cancelled_and_kept: self.cancelled_and_kept.total(),
            cancelled_and_closed: self.cancelled_and_closed.total(),
            upgrades: self.upgrades.total(),
        }
    }
}
