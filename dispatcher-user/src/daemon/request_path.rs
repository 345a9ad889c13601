//! The daemon's hold on the request path: starts its parts, tells them what changes, and asks them for the CLI.
//!
//! This is where services of mode `secure` are wired. There is no request path until there is such a service; then
//! [`RequestPath::start`] makes it, and [`RequestPath::follow`] tells it of every change of services.

mod answer;
mod upkeep;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::task::JoinSet;

pub(super) use self::answer::{look_up, no_session, no_tunnels, takers};
use self::upkeep::Upkeep;
use super::kernel;
use crate::{
    clock,
    core::{
        model::{SecureSpec, ServiceSpec},
        sessions::Rules,
        view::Snapshot,
    },
    datapath::{load::LoadError, pin::PinDirectory, sessions::SessionRows},
    failure::{Code, Failure},
    ingress::{cookie::Cookies, keys::KeyFile},
    sessions::{Rows, Sessions},
};

/// The parts of the request path.
pub(super) struct RequestPath {
    /// Which backend a session's requests go to.
    sessions: Arc<Sessions>,
    /// IDs of the services that have sessions.
    services: BTreeSet<u16>,
    /// How long a cookie may be worth something, in seconds: the longest lifetime of a session.
    keep_s: Arc<AtomicU64>,
    /// Its tasks end with it.
    upkeep: JoinSet<()>,
}

impl RequestPath {
    /// Starts the request path over the pinned table of sessions, if a service needs it; takes over what a former daemon
    /// left there, or clears it away.
    pub(super) fn start(
        pins: &PinDirectory,
        seed: u64,
        keys: &Path,
        snapshot: &Snapshot,
        specs: &[ServiceSpec],
    ) -> Result<Option<Self>, Failure> {
        let mut rows = SessionRows::open(pins).map_err(kernel::load_failure)?;
        if !specs.iter().any(|spec| spec.secure.is_some()) {
            rows.clear().map_err(|error| kernel::load_failure(error.into()))?;
            return Ok(None);
        }
        let keys = KeyFile::open(keys, clock::calendar_s())?;
        let cookies = Cookies::new(keys.secrets())
            .map_err(|error| Failure::new(Code::HOST_UNFIT, "cookies cannot be sealed").cause(error))?;
        let open = || Ok::<_, LoadError>(Box::new(SessionRows::open(pins)?) as Box<dyn Rows>);
        let sessions = Arc::new(Sessions::new(seed, open).map_err(kernel::load_failure)?);
        let keep_s = Arc::new(AtomicU64::new(0));
        let upkeep = Upkeep::new(Arc::clone(&sessions), Arc::new(cookies), keys, Arc::clone(&keep_s));
        let mut path = Self { sessions, services: BTreeSet::new(), keep_s, upkeep: JoinSet::new() };
        path.follow(snapshot, specs);
        path.sessions.adopt(clock::monotonic_ns(), rows.all());
        tracing::info!(sessions = path.sessions.len(), "the request path is ready");
        path.upkeep.spawn(upkeep.run());
        Ok(Some(path))
    }

    /// Takes note of the services as they are now.
    pub(super) fn follow(&mut self, snapshot: &Snapshot, specs: &[ServiceSpec]) {
        let secure = |name: &str| specs.iter().find(|spec| spec.name == name).and_then(|spec| spec.secure.as_deref());
        let mut services = BTreeSet::new();
        let mut keep_s = 0;
        for service in &snapshot.services {
            let Some(secure) = secure(&service.name) else { continue };
            self.sessions.configure(service.id, rules(secure));
            services.insert(service.id);
            keep_s = keep_s.max(secure.session.lifetime.as_secs());
        }
        for gone in self.services.difference(&services) {
            self.sessions.forget_service(*gone);
        }
        self.services = services;
        self.keep_s.store(keep_s, Ordering::Relaxed);
    }

    /// Writes what is not written yet, for a daemon that ends.
    pub(super) fn end(self) {
        self.sessions.flush();
    }
}

/// How long a service's sessions last, as the table wants to know it.
fn rules(secure: &SecureSpec) -> Rules {
    let session = &secure.session;
    let capacity = usize::try_from(session.max_entries).unwrap_or(usize::MAX);
    Rules { idle: session.idle, lifetime: session.lifetime, capacity }
}

/// What is answered when something of the request path is to be changed, and there is none.
pub(super) fn no_secure_service() -> Failure {
    Failure::new(Code::NOT_FOUND, "no service is of mode secure: there are no sessions and no QoS classes")
}

#[cfg(test)]
mod tests;
