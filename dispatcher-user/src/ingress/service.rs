//! A service of mode `secure` as its requests see it: its rules, its backends, and what they share.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;

use super::{
    body::Upload,
    cookie::{self, Binding, Claims, Cookies},
    counters::{BackendCounters, ServiceCounters},
    retry::RetryBudget,
    rules::Policy,
};
use crate::{
    core::{
        model::{Affinity, LimitsSpec, Scheduler, SessionSpec},
        requests::Requests,
    },
    qos::admission::Admission,
    sessions::Sessions,
    tunnel::pool::Pool,
};

/// A service.
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// Its ID, as in `dsp_services`.
    pub id: u16,
    rules: ArcSwap<Rules>,
    backends: ArcSwap<Vec<Arc<Backend>>>,
    balancer: Mutex<Requests>,
    /// The sessions of all services.
    pub sessions: Arc<Sessions>,
    /// What cookies are sealed with.
    pub cookies: Arc<Cookies>,
    /// What this service's cookies are bound to.
    pub binding: Binding,
    /// What cookies turned out to be.
    pub cookie_counters: cookie::Counters,
    /// What retries are paid from.
    pub budget: RetryBudget,
    /// What became of requests.
    pub counters: ServiceCounters,
}

/// What an operator has set; replaced as a whole.
#[derive(Debug)]
pub struct Rules {
    /// What leads a request that is no secure transaction to a backend.
    pub affinity: Affinity,
    /// Sessions.
    pub session: SessionSpec,
    /// Limits.
    pub limits: LimitsSpec,
    /// What is secure, and of which class.
    pub policy: Policy,
}

/// A backend.
pub struct Backend {
    /// Its ID, as in `dsp_backends`.
    pub id: u16,
    /// Which of those that had the ID.
    pub generation: u16,
    /// Its name.
    pub name: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// Who goes first.
    pub admission: Arc<Admission>,
    /// The way to it.
    pub tunnels: Pool<Upload>,
    /// Tunnels that are kept: sessions are spread over them.
    pub kept: u16,
    /// What was counted.
    pub counters: BackendCounters,
}

impl Service {
    /// A service without backends. `seed` is a random number.
    #[must_use]
    pub fn new(
        (name, id): (&str, u16),
        seed: u64,
        rules: Rules,
        sessions: Arc<Sessions>,
        cookies: Arc<Cookies>,
    ) -> Self {
        Self {
            name: name.into(),
            id,
            rules: ArcSwap::from_pointee(rules),
            backends: ArcSwap::default(),
            balancer: Mutex::new(Requests::new(Scheduler::Rr, seed)),
            sessions,
            cookies,
            binding: Binding::new(name),
            cookie_counters: cookie::Counters::default(),
            budget: RetryBudget::default(),
            counters: ServiceCounters::default(),
        }
    }

    /// The rules that hold now; a request keeps those that it began with.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Goes on with other rules.
    pub fn set_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Goes on with other backends.
    pub fn set_backends(&self, backends: Vec<Arc<Backend>>) {
        self.backends.store(Arc::new(backends));
    }

    /// The backends.
    #[must_use]
    pub fn backends(&self) -> Arc<Vec<Arc<Backend>>> {
        self.backends.load_full()
    }

    /// The load-balancing table. The lock is to be held for one step.
    pub fn balancer(&self) -> MutexGuard<'_, Requests> {
        self.balancer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Picks a backend for something new, other than those that `refused` names.
    pub fn pick(&self, now_ns: u64, client: u64, refused: &[u16]) -> Option<Arc<Backend>> {
        let picked = self.balancer().pick(now_ns, client, refused)?;
        self.find(|backend| backend.id == picked)
    }

    /// The backend that a session was given, if it still serves what it has.
    pub fn keeper(&self, id: u16, generation: u16) -> Option<Arc<Backend>> {
        let backend = self.find(|backend| (backend.id, backend.generation) == (id, generation))?;
        self.balancer().keeps(id).then_some(backend)
    }

    /// The backend that a cookie names, if it still serves what it has.
    pub fn claimed(&self, claims: &Claims) -> Option<Arc<Backend>> {
        let backend = self.keeper(claims.backend, claims.generation)?;
        (cookie::mark(backend.address) == claims.mark).then_some(backend)
    }

    fn find(&self, is_wanted: impl Fn(&Backend) -> bool) -> Option<Arc<Backend>> {
        self.backends.load().iter().find(|backend| is_wanted(backend)).map(Arc::clone)
    }
}
