//! Keeps one slot's tunnel: opens it, watches it, opens the next before it gives up the last.
//!
//! ```text
//!             ┌─────────── opened ──────────────┐
//!             │                                 ▼
//!    ▶ Opening (back-off) ◀── ended, left ── Holding ── old, reset ──▶ Holding, and Opening the next
//!             │                                                          │ opened
//!             ▼                                                          ▼
//!    an extra slot gives up                         Holding the next; the last drains
//! ```

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{select, sync::Notify, time::sleep};

use super::{
    RequestBody,
    backoff::{self, Backoff},
    error::OpenError,
    held::{Change, Held},
    open::{self, Opened},
    settings::Protocol,
    table::Shared,
};

/// Failures in a row after which an extra slot is vacated; whoever needs it asks again.
const EXTRA_ATTEMPTS: u32 = 3;

type Attempt<B> = Pin<Box<dyn Future<Output = Result<Opened<B>, OpenError>> + Send>>;

/// The task of one slot.
pub(super) struct Keeper<B> {
    shared: Arc<Shared<B>>,
    slot: usize,
    protocol: Protocol,
    is_extra: bool,
    orders: Arc<Notify>,
    backoff: Backoff,
    attempt: Option<Attempt<B>>,
    held: Option<Held<B>>,
}

/// Whether a slot stays occupied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Stay,
    Vacate,
}

impl<B: RequestBody> Keeper<B> {
    pub(super) fn new(shared: Arc<Shared<B>>, slot: usize, orders: Arc<Notify>) -> Self {
        let settings = &shared.home.settings;
        let is_extra = slot >= settings.kept;
        let protocol = if is_extra { Protocol::Http1 } else { settings.protocol };
        let backoff = Backoff::new(settings.backoff_first, settings.backoff_longest);
        Self { shared, slot, protocol, is_extra, orders, backoff, attempt: None, held: None }
    }

    /// Runs until the pool stops or, for an extra slot, until nobody needs it.
    pub(super) async fn run(mut self) {
        self.try_in(Duration::ZERO);
        loop {
            let verdict = select! {
                opened = next(&mut self.attempt) => self.tried(opened),
                change = watch(&mut self.held) => self.changed(change),
                () = self.orders.notified() => self.ordered(),
            };
            if verdict == Verdict::Vacate {
                break;
            }
        }
        self.retire();
        self.shared.vacate(self.slot);
    }

    /// Opens a tunnel after a wait.
    fn try_in(&mut self, wait: Duration) {
        let (home, slot, protocol) = (Arc::clone(&self.shared.home), self.slot, self.protocol);
        self.attempt = Some(Box::pin(async move {
            if !wait.is_zero() {
                sleep(wait).await;
            }
            open::open(&home, slot, protocol).await
        }));
    }

    fn tried(&mut self, result: Result<Opened<B>, OpenError>) -> Verdict {
        self.attempt = None;
        match result {
            Ok(opened) => {
                self.install(opened);
                Verdict::Stay
            }
            Err(error) => self.failed(&error),
        }
    }

    fn install(&mut self, opened: Opened<B>) {
        let (home, facts) = (&self.shared.home, &opened.connection.facts);
        home.counts.opened.add();
        if facts.resumed {
            home.counts.resumed.add();
        }
        if self.held.is_some() {
            home.counts.renewed.add();
        }
        tracing::info!(
            backend = %home.settings.backend, slot = self.slot, local = %facts.local, alpn = facts.alpn.unwrap_or("none"),
            tls = facts.tls, cipher = facts.cipher, resumed = facts.resumed, "tunnel opened"
        );
        // The new one comes first, so that there is no moment without any.
        self.shared.install(&opened.connection);
        self.retire();
        self.held = Some(Held::new(opened, self.is_extra));
    }

    fn failed(&mut self, error: &OpenError) -> Verdict {
        let wait = self.backoff.fail(backoff::draw());
        let (home, failures) = (&self.shared.home, self.backoff.failures());
        home.counts.failed.add();
        // An outage fills no log: its beginning is told, and its end by the tunnel that is opened.
        if failures == 1 {
            tracing::warn!(backend = %home.settings.backend, slot = self.slot, "tunnel cannot be opened: {error}");
        } else {
            tracing::debug!(backend = %home.settings.backend, slot = self.slot, failures, "still no tunnel: {error}");
        }
        self.shared.note(self.slot, failures, error.to_string());
        if self.is_extra && failures >= EXTRA_ATTEMPTS {
            return Verdict::Vacate;
        }
        self.try_in(wait);
        Verdict::Stay
    }

    fn changed(&mut self, change: Change) -> Verdict {
        match change {
            Change::Old => {
                if self.attempt.is_none() {
                    self.try_in(Duration::ZERO);
                }
                return Verdict::Stay;
            }
            Change::Idle if self.shared.can_spare_http1() => return Verdict::Vacate,
            Change::Idle => return Verdict::Stay,
            Change::Left => {
                let is_proven = self.held.as_ref().is_some_and(Held::is_proven);
                self.retire();
                self.open_again(is_proven);
            }
            Change::Ended(why) => self.lost(&why),
            Change::Silent => {
                self.shared.home.counts.unanswered_pings.add();
                self.lost("the backend did not answer a ping");
            }
        }
        if self.is_extra && !self.shared.needs_http1() { Verdict::Vacate } else { Verdict::Stay }
    }

    /// A tunnel has ended, with whatever was on it.
    fn lost(&mut self, why: &str) {
        let Some(held) = self.held.take() else { return };
        tracing::info!(backend = %self.shared.home.settings.backend, slot = self.slot, "tunnel ended: {why}");
        self.shared.uninstall(held.connection(), None);
        self.shared.note(self.slot, self.backoff.failures(), why.to_owned());
        let is_proven = held.is_proven();
        // This cuts it, if it has not ended by itself.
        drop(held);
        self.open_again(is_proven);
    }

    /// Opens the next tunnel: at once after one that was of use, else as after a failure.
    fn open_again(&mut self, was_proven: bool) {
        if self.attempt.is_some() {
            return;
        }
        let wait = if was_proven {
            self.backoff.reset();
            Duration::ZERO
        } else {
            self.backoff.fail(backoff::draw())
        };
        self.try_in(wait);
    }

    fn ordered(&mut self) -> Verdict {
        let order = self.shared.order(self.slot);
        if order.stop {
            return Verdict::Vacate;
        }
        if order.reset {
            self.backoff.reset();
            self.try_in(Duration::ZERO);
        }
        Verdict::Stay
    }

    /// Takes no more requests on the tunnel, and lets it finish those that it has.
    fn retire(&mut self) {
        let Some(held) = self.held.take() else { return };
        let shared = Arc::clone(&self.shared);
        let connection = Arc::clone(held.connection());
        connection.leave();
        shared.uninstall(&connection, Some(held.abort_handle()));
        let runtime = shared.home.runtime.clone();
        runtime.spawn(async move {
            if !held.drained(shared.home.settings.drain).await {
                shared.home.counts.cut.add();
            }
            shared.forget(&connection);
        });
    }
}

/// The end of an attempt, if there is one.
async fn next<B>(attempt: &mut Option<Attempt<B>>) -> Result<Opened<B>, OpenError> {
    match attempt {
        Some(attempt) => attempt.await,
        None => std::future::pending().await,
    }
}

/// The next change of a tunnel, if there is one.
async fn watch<B>(held: &mut Option<Held<B>>) -> Change {
    match held {
        Some(held) => held.change().await,
        None => std::future::pending().await,
    }
}
