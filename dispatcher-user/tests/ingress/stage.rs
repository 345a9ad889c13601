//! A service with its backends, listening on loopback.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use dispatcher_common::session::Session;
use dispatcher_user::{
    clock,
    core::{
        maglev::Entrant,
        model::{Affinity, Alpn, ClientAuth, LimitsSpec, LostBackend, Scheduler, SecureRule, SessionSpec, TlsSpec},
        requests::Member,
        sessions::{self, SessionId},
    },
    ingress::{
        accept::{Edge, listen},
        cookie::Cookies,
        counters::BackendCounters,
        keys::Secrets,
        relay::Relay,
        rules::{ClassRules, Policy, SecureRules},
        service::{self, Rules, Service},
        tls::{TlsAcceptor, tickets::TicketKeys},
    },
    qos::{
        classes::Classes,
        settings::{ClassSettings, WindowSettings},
    },
    sessions::{Rows, Sessions},
    tunnel::{
        context::Standing,
        pool::Pool,
        settings::{Protocol, Settings},
    },
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    BOUND,
    authority::{Authority, SHOP},
    farm::Backend,
};

/// The ID of the service.
pub(crate) const SERVICE: u16 = 1;
/// Tunnels to each backend.
pub(crate) const KEPT: u16 = 2;

/// What a test may choose.
pub(crate) struct Script {
    pub(crate) backends: usize,
    /// What backends speak.
    pub(crate) alpn: &'static [&'static str],
    pub(crate) affinity: Affinity,
    pub(crate) lost: LostBackend,
    pub(crate) rules: Vec<SecureRule>,
    pub(crate) limits: LimitsSpec,
    pub(crate) header: Option<&'static str>,
    pub(crate) window: WindowSettings,
    pub(crate) queue_timeout: Duration,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            backends: 3,
            alpn: &["h2", "http/1.1"],
            affinity: Affinity::None,
            lost: LostBackend::Redispatch,
            rules: Vec::new(),
            limits: LimitsSpec::default(),
            header: None,
            window: WindowSettings::Open,
            queue_timeout: Duration::from_secs(5),
        }
    }
}

/// How a backend stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    Ready,
    Draining,
    Gone,
}

/// A service that runs.
pub(crate) struct Stage {
    pub(crate) authority: Authority,
    pub(crate) backends: Vec<Backend>,
    pub(crate) service: Arc<Service>,
    pub(crate) edge: Arc<Edge<Relay>>,
    pub(crate) address: SocketAddr,
    stands: Mutex<Vec<Stands>>,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// There is no kernel here that would keep sessions.
struct NoRows;

impl Rows for NoRows {
    fn put(&mut self, _id: SessionId, _row: &Session) -> io::Result<()> {
        Ok(())
    }
    fn remove(&mut self, _id: SessionId) -> io::Result<()> {
        Ok(())
    }
}

impl Stage {
    pub(crate) async fn set(script: Script) -> Self {
        let authority = Authority::new();
        let secrets = Secrets::random(clock::calendar_s()).unwrap();
        let mut tasks = JoinSet::new();
        let mut session = SessionSpec { lost: script.lost, ..SessionSpec::default() };
        session.header = script.header.map(|name| name.parse().unwrap());
        let sessions = table(&session);
        let rules = Rules {
            affinity: script.affinity,
            session,
            limits: script.limits,
            policy: Policy {
                secure: SecureRules::compile(&script.rules).unwrap(),
                classes: ClassRules::compile(&[]).unwrap(),
            },
        };
        let cookies = Arc::new(Cookies::new(&secrets).unwrap());
        let service = Arc::new(Service::new(("shop", SERVICE), 7, rules, sessions, cookies));
        let (farm, known) = open_farm(&script, &authority, &mut tasks).await;
        service.set_backends(known);
        let stands = vec![Stands::Ready; farm.len()];
        service.balancer().follow(Scheduler::Lc, &Self::members(&farm, &stands));
        let edge = edge(&script, &authority, &secrets, &service);
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tasks.spawn(Arc::clone(&edge).accept(listener, stopped));
        tasks.spawn(Arc::clone(&edge).sweep());
        Self {
            authority,
            backends: farm,
            service,
            edge,
            address,
            stands: Mutex::new(stands),
            _stop: stop,
            _tasks: tasks,
        }
    }

    /// What the operator and health say of a backend.
    pub(crate) fn set_backend(&self, id: u16, stands: Stands) {
        let mut all = self.stands.lock().unwrap();
        all[usize::from(id)] = stands;
        self.service.balancer().follow(Scheduler::Lc, &Self::members(&self.backends, &all));
    }

    fn members(farm: &[Backend], stands: &[Stands]) -> Vec<Member> {
        let member = |((id, backend), stands): ((u16, &Backend), &Stands)| Member {
            entrant: Entrant { id, address: backend.address, weight: 100 },
            generation: 1,
            takes_new: *stands == Stands::Ready,
            keeps: *stands != Stands::Gone,
        };
        (0..).zip(farm).zip(stands).map(member).collect()
    }

    /// The backend of this name.
    pub(crate) fn backend(&self, name: &str) -> &Backend {
        self.backends.iter().find(|backend| backend.name == name).unwrap()
    }
}

/// Backends, and tunnels to them that stand.
async fn open_farm(
    script: &Script,
    authority: &Authority,
    tasks: &mut JoinSet<()>,
) -> (Vec<Backend>, Vec<Arc<service::Backend>>) {
    let class = ClassSettings { timeout: script.queue_timeout, ..ClassSettings::new("default", 3) };
    let classes = Classes::new(vec![class], clock::monotonic_ns).unwrap();
    let (mut farm, mut known) = (Vec::new(), Vec::new());
    for id in 0..u16::try_from(script.backends).unwrap() {
        let backend = Backend::start(&format!("b{id}"), authority.backend(script.alpn)).await;
        let admission = classes.admission(script.window).unwrap();
        tasks.spawn(admission.tend());
        let settings = Settings {
            kept: usize::from(KEPT),
            protocol: Protocol::Auto,
            backoff_first: Duration::from_millis(10),
            backoff_longest: Duration::from_millis(50),
            ..Settings::new(format!("shop/{}", backend.name), backend.address, authority.tunnels())
        };
        known.push(Arc::new(service::Backend {
            id,
            generation: 1,
            name: backend.name.as_str().into(),
            address: backend.address,
            admission,
            tunnels: Pool::start(settings),
            kept: KEPT,
            counters: BackendCounters::default(),
        }));
        farm.push(backend);
    }
    for backend in &known {
        let mut standing = backend.tunnels.standing();
        let open = Standing { open: usize::from(KEPT), draining: 0 };
        timeout(BOUND / 2, standing.wait_for(|now| *now == open)).await.unwrap().unwrap();
    }
    (farm, known)
}

/// What ends the clients' TLS.
fn edge(script: &Script, authority: &Authority, secrets: &Secrets, service: &Arc<Service>) -> Arc<Edge<Relay>> {
    let tls = TlsSpec {
        certificates: vec![authority.sign(SHOP)],
        alpn: vec![Alpn::H2, Alpn::Http11],
        client_auth: ClientAuth::None,
        client_ca: None,
    };
    let tickets = Arc::new(TicketKeys::new("shop", 43_200, secrets).unwrap());
    let tls = TlsAcceptor::new(&tls, tickets).unwrap();
    Arc::new(Edge::new(Some(tls), script.limits, Vec::new(), Arc::new(Relay::new(Arc::clone(service)))))
}

/// An empty mapping table.
fn table(session: &SessionSpec) -> Arc<Sessions> {
    let sessions = Sessions::new(7, || Ok::<_, io::Error>(Box::new(NoRows) as Box<dyn Rows>)).unwrap();
    let capacity = usize::try_from(session.max_entries).unwrap();
    sessions.configure(SERVICE, sessions::Rules { idle: session.idle, lifetime: session.lifetime, capacity });
    Arc::new(sessions)
}
