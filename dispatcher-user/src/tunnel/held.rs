//! Watches an open tunnel: its end, its age, its pings, and whether anybody uses it.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    backoff,
    connection::{Connection, Phase},
    error::in_full,
    open::{Opened, ping},
};

/// A tunnel that lived so long was of use.
const PROVEN_TIME: Duration = Duration::from_secs(1);
/// A tunnel that carried so many requests was of use, however short it lived: some servers end connections by count.
const PROVEN_REQUESTS: u64 = 10;

/// A tunnel that takes requests.
pub(super) struct Held<B> {
    opened: Opened<B>,
    since: Instant,
    /// When it is old; nothing once that was told.
    renew_at: Option<Instant>,
    ping_at: Instant,
    /// When to see whether it is used; nothing if it is kept in any case.
    look_at: Option<Instant>,
    /// Requests that it had carried at the last look.
    carried: u64,
}

/// What became of a tunnel.
pub(super) enum Change {
    /// It ended, and why.
    Ended(String),
    /// It takes no more requests.
    Left,
    /// It is old.
    Old,
    /// Its backend does not answer pings.
    Silent,
    /// It has had no request for a while.
    Idle,
}

impl<B> Held<B> {
    pub(super) fn new(opened: Opened<B>, is_extra: bool) -> Self {
        let settings = &opened.connection.home.settings;
        let age = settings.max_age - backoff::share(settings.max_age / 10, backoff::draw());
        let now = Instant::now();
        Self {
            since: now,
            renew_at: now.checked_add(age),
            ping_at: now + settings.keep_alive,
            look_at: is_extra.then(|| now + settings.extra_idle),
            carried: 0,
            opened,
        }
    }

    pub(super) fn connection(&self) -> &Arc<Connection<B>> {
        &self.opened.connection
    }

    pub(super) fn abort_handle(&self) -> AbortHandle {
        self.opened.driver.abort_handle()
    }

    /// Whether opening it was worth while; if not, the next attempt waits.
    pub(super) fn is_proven(&self) -> bool {
        self.since.elapsed() >= PROVEN_TIME || self.connection().requests() >= PROVEN_REQUESTS
    }

    /// Waits for the next change. It can be dropped and called again.
    pub(super) async fn change(&mut self) -> Change {
        loop {
            let connection = Arc::clone(self.connection());
            let opened = &mut self.opened;
            select! {
                ended = opened.driver.ended() => {
                    let why = ended.err().map_or_else(|| "the backend closed it".to_owned(), |error| in_full(error.as_ref()));
                    return Change::Ended(why);
                }
                () = connection.changed.notified() => match connection.phase() {
                    Phase::Draining => return Change::Left,
                    // Its driver's end tells why.
                    Phase::Closed | Phase::Open => {}
                },
                () = at(self.renew_at) => {
                    self.renew_at = None;
                    return Change::Old;
                }
                () = sleep_until(self.ping_at), if opened.pings.is_some() => {
                    self.ping_at = Instant::now() + connection.home.settings.keep_alive;
                    if self.is_silent().await {
                        return Change::Silent;
                    }
                }
                () = at(self.look_at) => {
                    self.look_at = Some(Instant::now() + connection.home.settings.extra_idle);
                    let carried = std::mem::replace(&mut self.carried, connection.requests());
                    if carried == self.carried && connection.streams() == 0 {
                        return Change::Idle;
                    }
                }
            }
        }
    }

    /// Pings; true if there was no answer in time. An error comes from a tunnel that has ended, which is seen elsewhere.
    async fn is_silent(&mut self) -> bool {
        let Opened { connection, pings: Some(pings), .. } = &mut self.opened else { return false };
        timeout(connection.home.settings.keep_alive_timeout, ping(connection, pings)).await.is_err()
    }

    /// Waits until its requests have finished; cuts it and returns false if that takes longer than `bound`.
    pub(super) async fn drained(mut self, bound: Duration) -> bool {
        timeout(bound, self.opened.driver.ended()).await.is_ok()
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
