//! The daemon's hold on the request path: starts its parts, tells them what changes, and asks them for the CLI.
//!
//! This is where services of mode `secure` are wired. There is no request path until there is such a service; then
//! [`RequestPath::start`] makes it, and [`RequestPath::follow`] tells it of every change of services.

mod answer;
mod certificates;
mod live;
mod roster;
mod seals;
mod settings;
mod show;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

pub(super) use self::answer::{look_up, no_session, no_tunnels, takers};
use self::{
    live::{Live, Shared},
    seals::Seals,
    upkeep::Upkeep,
};
use super::kernel;
use crate::{
    clock,
    core::{
        model::{QosClassSpec, SecureSpec, ServiceSpec},
        sessions::Rules,
        view::Snapshot,
    },
    datapath::{load::LoadError, pin::PinDirectory, sessions::SessionRows},
    failure::{Code, Failure},
    ingress::{keys::KeyFile, rules::ClassRules, vip::LocalVips},
    qos::classes::Classes,
    sessions::{Rows, Sessions},
};

/// The parts of the request path.
pub(super) struct RequestPath {
    shared: Shared,
    /// IDs of the services that have sessions.
    with_sessions: BTreeSet<u16>,
    /// Those of them that are served; one whose certificate cannot be used is not.
    services: BTreeMap<u16, Live>,
    /// Services that were removed, and finish what they have under way.
    ending: JoinSet<()>,
    vips: LocalVips,
    /// How long a cookie may be worth something, in seconds: the longest lifetime of a session.
    keep_s: Arc<AtomicU64>,
    /// Its tasks end with it.
    upkeep: JoinSet<()>,
}

/// What the request path is started with.
pub(super) struct Start<'a> {
    /// Where `dsp_sessions` is pinned.
    pub(super) pins: &'a PinDirectory,
    /// A random number.
    pub(super) seed: u64,
    /// The file of secrets.
    pub(super) keys: &'a Path,
    /// The QoS classes; the default one is the first.
    pub(super) classes: &'a [QosClassSpec],
}

/// How long requests of a service that is removed may take to end.
const REMOVAL_GRACE: Duration = Duration::from_secs(30);

impl RequestPath {
    /// Starts the request path over the pinned table of sessions, if a service needs it; takes over what a former daemon
    /// left there, or clears it away.
    pub(super) async fn start(
        start: Start<'_>,
        snapshot: &Snapshot,
        specs: &[ServiceSpec],
    ) -> Result<Option<Self>, Failure> {
        let Start { pins, seed, keys, classes } = start;
        let mut rows = SessionRows::open(pins).map_err(kernel::load_failure)?;
        if !specs.iter().any(|spec| spec.secure.is_some()) {
            rows.clear().map_err(|error| kernel::load_failure(error.into()))?;
            return Ok(None);
        }
        let keys = KeyFile::open(keys, clock::calendar_s())?;
        let unsealed = |error| Failure::new(Code::HOST_UNFIT, "cookies cannot be sealed").cause(error);
        let seals = Arc::new(Seals::new(keys.secrets()).map_err(unsealed)?);
        let open = || Ok::<_, LoadError>(Box::new(SessionRows::open(pins)?) as Box<dyn Rows>);
        let sessions = Arc::new(Sessions::new(seed, open).map_err(kernel::load_failure)?);
        let keep_s = Arc::new(AtomicU64::new(0));
        let upkeep = Upkeep::new(Arc::clone(&sessions), Arc::clone(&seals), keys, Arc::clone(&keep_s));
        let no_vips = |error| Failure::new(Code::HOST_UNFIT, "VIPs cannot be made local").cause(error);
        let shared = Shared {
            seed,
            sessions,
            seals,
            classes: Classes::new(settings::classes(classes), clock::monotonic_ns).map_err(bad_classes)?,
            class_rules: ClassRules::compile(classes)
                .map_err(|error| Failure::new(Code::REFUSED, "a rule of a QoS class").cause(error))?,
            class_count: classes.len(),
        };
        let mut path = Self {
            shared,
            with_sessions: BTreeSet::new(),
            services: BTreeMap::new(),
            ending: JoinSet::new(),
            vips: LocalVips::open().map_err(no_vips)?,
            keep_s,
            upkeep: JoinSet::new(),
        };
        path.set_rules(snapshot, specs);
        path.shared.sessions.adopt(clock::monotonic_ns(), rows.all());
        if let Err(failure) = path.follow(snapshot, specs).await {
            path.end(Duration::ZERO).await;
            return Err(failure);
        }
        tracing::info!(sessions = path.shared.sessions.len(), "the request path is ready");
        path.upkeep.spawn(upkeep.run());
        Ok(Some(path))
    }

    /// Takes note of the services as they are now.
    ///
    /// # Errors
    /// The first thing that cannot be used. Everything else goes on as it is wanted.
    pub(super) async fn follow(&mut self, snapshot: &Snapshot, specs: &[ServiceSpec]) -> Result<(), Failure> {
        self.set_rules(snapshot, specs);
        while self.ending.try_join_next().is_some() {}
        let wanted: BTreeMap<u16, _> =
            snapshot.services.iter().filter_map(|view| Some((view.id, (view, secure(specs, &view.name)?)))).collect();
        let gone: Vec<u16> = self.services.keys().copied().filter(|id| !wanted.contains_key(id)).collect();
        for id in gone {
            if let Some(live) = self.services.remove(&id) {
                self.ending.spawn(live.end(REMOVAL_GRACE));
            }
        }
        let mut outcome = self.follow_vips(&wanted.values().map(|(view, _)| view.vip.ip()).collect()).await;
        for (id, (view, spec)) in wanted {
            let followed = match self.services.get_mut(&id) {
                Some(live) => live.follow(&self.shared, view, spec),
                None => Live::start(&self.shared, view, spec).map(|live| {
                    self.services.insert(id, live);
                }),
            };
            outcome = outcome.and(followed);
        }
        outcome
    }

    /// Goes on with other QoS classes; their names and order are the same.
    ///
    /// # Errors
    /// If they contradict each other; nothing changes then.
    pub(super) fn set_classes(&self, classes: &[QosClassSpec]) -> Result<(), Failure> {
        self.shared.classes.replace(settings::classes(classes)).map_err(bad_classes)
    }

    /// Lets requests end for `grace`, writes what is not written yet, and undoes what was done to the host.
    pub(super) async fn end(mut self, grace: Duration) {
        for live in std::mem::take(&mut self.services).into_values() {
            self.ending.spawn(live.end(grace));
        }
        // Those that were removed before have had some of their time already.
        if tokio::time::timeout(grace + Duration::from_secs(1), async {
            while self.ending.join_next().await.is_some() {}
        })
        .await
        .is_err()
        {
            self.ending.shutdown().await;
        }
        self.shared.sessions.flush();
        self.vips.clear().await;
    }

    /// Sets how long sessions of each service last, and ends those of services that are gone.
    fn set_rules(&mut self, snapshot: &Snapshot, specs: &[ServiceSpec]) {
        let mut with_sessions = BTreeSet::new();
        let mut keep_s = 0;
        for service in &snapshot.services {
            let Some(secure) = secure(specs, &service.name).and_then(|spec| spec.secure.as_deref()) else { continue };
            self.shared.sessions.configure(service.id, rules(secure));
            with_sessions.insert(service.id);
            keep_s = keep_s.max(secure.session.lifetime.as_secs());
        }
        for gone in self.with_sessions.difference(&with_sessions) {
            self.shared.sessions.forget_service(*gone);
        }
        self.with_sessions = with_sessions;
        self.keep_s.store(keep_s, Ordering::Relaxed);
    }

    /// Makes the VIPs that are wanted local, and those no longer that are not.
    async fn follow_vips(&mut self, wanted: &BTreeSet<IpAddr>) -> Result<(), Failure> {
        let failed = |error| Failure::new(Code::HOST_UNFIT, "a VIP cannot be made local").cause(error);
        for vip in self.vips.made().difference(wanted) {
            self.vips.remove(*vip).await.map_err(failed)?;
        }
        for vip in wanted {
            self.vips.add(*vip).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// The service of that name, if it is of mode `secure`.
fn secure<'a>(specs: &'a [ServiceSpec], name: &str) -> Option<&'a ServiceSpec> {
    specs.iter().find(|spec| spec.name == name && spec.secure.is_some())
}

fn bad_classes(error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::REFUSED, "the QoS classes cannot be as they are").cause(error)
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
