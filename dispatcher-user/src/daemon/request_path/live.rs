//! A service of mode `secure` at work: its listeners, its backends' tunnels and schedules.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZero, sync::Arc, thread, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{
    certificates,
    roster::{GRACE, Roster},
    seals::Seals,
    settings,
};
use crate::{
    core::{
        model::{SecureSpec, ServiceSpec},
        view::{BackendView, ServiceView},
    },
    failure::{Code, Failure},
    ingress::{
        accept::{Edge, listen},
        http::Handler,
        redirect::Redirect,
        relay::Relay,
        rules::{ClassRules, Policy, SecureRules},
        service::{self, Rules, Service},
        tls::TlsAcceptor,
    },
    qos::classes::Classes,
    sessions::Sessions,
    tunnel::{context::Standing, pool::Pool},
};

/// What all services share.
pub(super) struct Shared {
    pub(super) seed: u64,
    pub(super) sessions: Arc<Sessions>,
    pub(super) seals: Arc<Seals>,
    pub(super) classes: Classes,
    pub(super) class_rules: ClassRules,
    /// How many classes there are.
    pub(super) class_count: usize,
}

/// A service at work. Dropped, it stops at once; [`Live::end`] lets it finish.
pub(super) struct Live {
    pub(super) service: Arc<Service>,
    pub(super) edge: Arc<Edge<Relay>>,
    pub(super) roster: Arc<Roster>,
    redirect: Option<Arc<Edge<Redirect>>>,
    secure: SecureSpec,
    backends: BTreeMap<u16, Backend>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// When a listener takes connections.
struct Gate {
    /// Not before this is true, if there is anything to wait for. Until then they wait in the kernel's queue.
    opens: Option<watch::Receiver<bool>>,
    /// No longer when this is.
    closes: watch::Receiver<bool>,
}

/// A backend, and the tasks that look after it; they end with it.
struct Backend {
    backend: Arc<service::Backend>,
    _tasks: JoinSet<()>,
}

impl Live {
    /// Opens tunnels and listens. The VIP has to be local.
    ///
    /// # Errors
    /// If a file cannot be used, or an address cannot be listened at; nothing is left then.
    pub(super) fn start(shared: &Shared, view: &ServiceView, spec: &ServiceSpec) -> Result<Self, Failure> {
        let secure = spec.secure.as_deref().ok_or_else(|| no_spec(&spec.name))?.clone();
        let rules = rules(shared, spec, &secure)?;
        let seals = &shared.seals;
        let (sessions, cookies) = (Arc::clone(&shared.sessions), Arc::clone(&seals.cookies));
        let service = Arc::new(Service::new((&spec.name, view.id), shared.seed, rules, sessions, cookies));
        let tickets = seals
            .tickets(&spec.name)
            .map_err(|error| Failure::new(Code::HOST_UNFIT, "tickets cannot be sealed").cause(error))?;
        let tls = TlsAcceptor::new(&secure.tls, tickets).map_err(|error| {
            Failure::new(Code::BAD_FILE, format!("service `{}` cannot end TLS", spec.name)).cause(error)
        })?;
        let relay = Arc::new(Relay::new(Arc::clone(&service)));
        let edge = Arc::new(Edge::new(Some(tls), secure.limits, secure.proxy_protocol_from.clone(), relay));
        let (stop, stopped) = watch::channel(false);
        let (tunnels_stand, stand) = watch::channel(false);
        let mut tasks = JoinSet::new();
        open(&edge, spec.vip, Gate { opens: Some(stand), closes: stopped.clone() }, &mut tasks)?;
        let redirect = secure.redirect.map(|address| {
            let redirect = Arc::new(Redirect::new(spec.vip.port()));
            let edge = Arc::new(Edge::new(None, secure.limits, secure.proxy_protocol_from.clone(), redirect));
            open(&edge, address, Gate { opens: None, closes: stopped }, &mut tasks).map(|()| edge)
        });
        let redirect = redirect.transpose()?;
        let follow =
            certificates::follow(Arc::clone(&service.name), Arc::clone(&edge), secure.tls.certificates.clone());
        tasks.spawn(follow);
        let roster = Arc::new(Roster::new(Arc::clone(&service), spec.scheduler));
        let backends = BTreeMap::new();
        let mut live = Self { service, edge, roster, redirect, secure, backends, stop, tasks };
        live.follow(shared, view, spec)?;
        let standings: Vec<_> = live.backends().map(|backend| backend.tunnels.standing()).collect();
        live.tasks.spawn(async move {
            first_tunnels(standings).await;
            // Who waits for it may be gone already.
            tunnels_stand.send(true).ok();
        });
        Ok(live)
    }

    /// Goes on with other backends, weights, states, and rules.
    ///
    /// # Errors
    /// If a new backend's tunnels cannot be set up; it is left out then.
    pub(super) fn follow(&mut self, shared: &Shared, view: &ServiceView, spec: &ServiceSpec) -> Result<(), Failure> {
        self.service.set_rules(rules(shared, spec, &self.secure)?);
        let is_there = |id: &u16, backend: &mut Backend| {
            let there = (*id, backend.backend.generation, backend.backend.address);
            view.backends.iter().any(|known| (known.id, known.generation, known.address) == there)
        };
        self.backends.retain(is_there);
        self.roster.follow(spec.scheduler, &view.backends);
        let mut outcome = Ok(());
        for backend in &view.backends {
            if !self.backends.contains_key(&backend.id) {
                match self.add(shared, &spec.name, backend) {
                    Ok(added) => drop(self.backends.insert(backend.id, added)),
                    Err(failure) => outcome = Err(failure),
                }
            }
        }
        self.service.set_backends(self.backends().cloned().collect());
        outcome
    }

    /// The backends.
    pub(super) fn backends(&self) -> impl Iterator<Item = &Arc<service::Backend>> {
        self.backends.values().map(|backend| &backend.backend)
    }

    /// Takes nothing more, gives what is under way `grace` to end, and cuts what is left.
    pub(super) async fn end(self, grace: Duration) {
        // Who listens may be gone already.
        self.stop.send(true).ok();
        if let Some(redirect) = &self.redirect {
            tokio::join!(self.edge.end(grace), redirect.end(grace));
        } else {
            self.edge.end(grace).await;
        }
    }

    fn add(&self, shared: &Shared, service: &str, view: &BackendView) -> Result<Backend, Failure> {
        let window = settings::window(&self.secure, shared.class_count);
        let admission = shared
            .classes
            .admission(window)
            .map_err(|error| Failure::new(Code::REFUSED, "the window cannot be used").cause(error))?;
        let tls = settings::tls(&self.secure.tunnels, view.address.ip())?;
        let name = format!("{service}/{}", view.name);
        let tunnels = Pool::start(settings::tunnels(&self.secure.tunnels, name, view.address, tls));
        let mut tasks = JoinSet::new();
        tasks.spawn(admission.tend());
        tasks.spawn(Arc::clone(&self.roster).watch(view.id, view.generation, tunnels.standing()));
        let backend = Arc::new(service::Backend {
            id: view.id,
            generation: view.generation,
            name: view.name.as_str().into(),
            address: view.address,
            admission,
            tunnels,
            kept: self.secure.tunnels.per_backend,
            counters: Default::default(),
        });
        Ok(Backend { backend, _tasks: tasks })
    }
}

/// Waits until every backend has a tunnel; for one that is down, no longer than its sessions wait for it.
///
/// Otherwise a daemon that starts again would find the first requests of its sessions without their backend, and give
/// them another.
async fn first_tunnels(standings: Vec<watch::Receiver<Standing>>) {
    let all = async {
        for mut standing in standings {
            // A backend that was removed meanwhile is not waited for.
            standing.wait_for(|now| now.open > 0).await.ok();
        }
    };
    // Late is late: the others serve.
    timeout(GRACE, all).await.ok();
}

/// Listens at `address` with one socket for each core, and looks after what comes in.
fn open<H: Handler>(
    edge: &Arc<Edge<H>>,
    address: SocketAddr,
    gate: Gate,
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    for _ in 0..cores {
        let listener = listen(address)
            .map_err(|error| Failure::new(Code::HOST_UNFIT, format!("{address} cannot be listened at")).cause(error))?;
        let (edge, opens, closes) = (Arc::clone(edge), gate.opens.clone(), gate.closes.clone());
        tasks.spawn(async move {
            if let Some(mut opens) = opens {
                opens.wait_for(|opens| *opens).await.ok();
            }
            edge.accept(listener, closes).await;
        });
    }
    tasks.spawn(Arc::clone(edge).sweep());
    Ok(())
}

fn rules(shared: &Shared, spec: &ServiceSpec, secure: &SecureSpec) -> Result<Rules, Failure> {
    let not_http = |error| Failure::new(Code::REFUSED, format!("a rule of service `{}`", spec.name)).cause(error);
    Ok(Rules {
        affinity: spec.affinity,
        session: secure.session.clone(),
        limits: secure.limits,
        policy: Policy {
            secure: SecureRules::compile(&secure.rules).map_err(not_http)?,
            classes: shared.class_rules.clone(),
        },
    })
}

fn no_spec(service: &str) -> Failure {
    Failure::new(Code::INTERNAL, format!("service `{service}` is not of mode secure"))
}
