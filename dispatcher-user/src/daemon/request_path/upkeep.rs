//! What the request path needs every now and then: sessions that are over end, counters are written, secrets rotate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use super::seals::Seals;
use crate::{
    clock,
    ingress::keys::{KeyFile, ROTATION},
    sessions::{MAINTAIN_EVERY, Sessions},
};

/// How often it is looked whether the secrets are to rotate.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const _: () = assert!(LOOK_EVERY.as_secs() < ROTATION.as_secs());

/// The task that does it.
pub(super) struct Upkeep {
    sessions: Arc<Sessions>,
    seals: Arc<Seals>,
    keys: KeyFile,
    keep_s: Arc<AtomicU64>,
}

impl Upkeep {
    pub(super) fn new(sessions: Arc<Sessions>, seals: Arc<Seals>, keys: KeyFile, keep_s: Arc<AtomicU64>) -> Self {
        Self { sessions, seals, keys, keep_s }
    }

    /// Goes on until it is dropped.
    pub(super) async fn run(mut self) {
        let mut maintain = interval(MAINTAIN_EVERY);
        let mut look = interval(LOOK_EVERY);
        for ticks in [&mut maintain, &mut look] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = maintain.tick() => self.sessions.maintain(clock::monotonic_ns()),
                _ = look.tick() => self.rotate(),
            }
        }
    }

    fn rotate(&mut self) {
        let keep = Duration::from_secs(self.keep_s.load(Ordering::Relaxed));
        match self.keys.rotate(clock::calendar_s(), keep, self.seals.cookies.is_used_up()) {
            Ok(false) => {}
            Ok(true) => match self.seals.replace(self.keys.secrets()) {
                Ok(()) => tracing::info!("cookies and tickets are sealed with a new secret"),
                Err(error) => tracing::error!("cookies or tickets are sealed with an old secret: {error}"),
            },
            // The old ones go on to seal and open: nothing is lost but time.
            Err(failure) => tracing::error!("secrets do not rotate: {failure}"),
        }
    }
}
