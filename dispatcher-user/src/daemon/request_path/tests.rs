//! What is answered of sessions, over services as the core has them.

use std::{io, net::Ipv4Addr, time::Duration};

use dispatcher_common::session::Session;

use super::*;
use crate::{
    control::api::SessionQuery,
    core::{
        dispatcher::{Dispatcher, Settings},
        event::{Event, NextHop},
        lookup::Nothing,
        model::{
            AdminState, Affinity, Alpn, BackendSpec, CertificateSpec, Change, ClientAuth, Forward, LimitsSpec,
            Protocol, QosClassSpec, Scheduler, SessionSpec, TlsSpec, TunnelSpec,
        },
        sessions::{Mapping, SessionId},
    },
    ingress::keys::Secrets,
};

struct Nowhere;

impl Rows for Nowhere {
    fn put(&mut self, _id: SessionId, _row: &Session) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _id: SessionId) -> io::Result<()> {
        Ok(())
    }
}

fn shop(name: &str, port: u16) -> ServiceSpec {
    let backend = |number: u8, weight| BackendSpec {
        name: format!("b{number}"),
        address: ([10, 77, 1, number], 8443).into(),
        weight,
        state: AdminState::Ready,
    };
    let certificate = CertificateSpec { chain: "/etc/shop.pem".into(), key: None, ocsp: None };
    let tls = TlsSpec {
        certificates: vec![certificate],
        alpn: vec![Alpn::H2],
        client_auth: ClientAuth::None,
        client_ca: None,
    };
    let secure = SecureSpec {
        tls,
        session: SessionSpec::default(),
        rules: Vec::new(),
        tunnels: TunnelSpec { verify: false, ..TunnelSpec::default() },
        redirect: None,
        proxy_protocol_from: Vec::new(),
        limits: LimitsSpec::default(),
        window: None,
    };
    ServiceSpec {
        name: name.to_owned(),
        vip: ([203, 0, 113, 10], port).into(),
        protocol: Protocol::Tcp,
        scheduler: Scheduler::Rr,
        forward: Forward::Nat,
        affinity: Affinity::None,
        affinity_timeout: Duration::from_secs(600),
        secure: Some(Box::new(secure)),
        backends: vec![backend(11, 100), backend(12, 100), backend(13, 300)],
    }
}

/// Two services with three reachable backends each, and the request path over them.
struct Place {
    core: Dispatcher,
    path: RequestPath,
}

impl Place {
    fn new() -> Self {
        let mut core = Dispatcher::new(Settings::new(1));
        let mut commands = Vec::new();
        for service in [shop("shop", 443), shop("shop2", 444)] {
            core.change(0, Change::AddService { service }, &Nothing, &mut commands).unwrap();
        }
        for number in [11, 12, 13] {
            let hop = Some(NextHop { ifindex: 2, mac: [2; 6], source_mac: [4; 6] });
            let address = Ipv4Addr::new(10, 77, 1, number).into();
            core.handle(0, Event::Neighbour { address, hop }, &Nothing, &mut commands);
        }
        let open = || Ok::<_, io::Error>(Box::new(Nowhere) as Box<dyn Rows>);
        let sessions = Arc::new(Sessions::new(1, open).unwrap());
        let shared = Shared {
            seed: 1,
            sessions,
            seals: Arc::new(Seals::new(&Secrets::random(0).unwrap()).unwrap()),
            classes: Classes::new(settings::classes(&[QosClassSpec::named("default")]), clock::monotonic_ns).unwrap(),
            class_rules: ClassRules::compile(&[]).unwrap(),
            class_count: 1,
        };
        // Nothing is served: no certificate is there.
        let mut path = RequestPath {
            shared,
            with_sessions: BTreeSet::new(),
            services: BTreeMap::new(),
            ending: JoinSet::new(),
            vips: LocalVips::open().unwrap(),
            keep_s: Arc::default(),
            upkeep: JoinSet::new(),
        };
        path.set_rules(&core.snapshot(0), &core.services());
        Self { core, path }
    }

    fn snapshot(&self) -> Snapshot {
        self.core.snapshot(0)
    }

    fn set(&mut self, backend: &str, state: AdminState) {
        let (service, backend) = ("shop".to_owned(), backend.to_owned());
        let change = Change::SetBackend { service, backend, state: Some(state), weight: None };
        self.core.change(0, change, &Nothing, &mut Vec::new()).unwrap();
    }

    /// Begins a session at a backend.
    fn begin(&self, number: u8, service: &str, backend: &str) {
        let snapshot = self.snapshot();
        let service = snapshot.services.iter().find(|known| known.name == service).unwrap();
        let backend = service.backends.iter().find(|known| known.name == backend).unwrap();
        let mapping = Mapping { backend: backend.id, generation: backend.generation, tunnel: 2, class: 1 };
        self.path.shared.sessions.insert(clock::monotonic_ns(), service.id, id(number), mapping);
    }

    fn listed(&self, service: Option<&str>, backend: Option<&str>) -> Result<usize, Failure> {
        let (service, backend) = (service.map(str::to_owned), backend.map(str::to_owned));
        let query = SessionQuery { service, backend, limit: 100 };
        Ok(self.path.list(&self.snapshot(), &[], &query)?.0.len())
    }
}

fn id(number: u8) -> SessionId {
    SessionId([number; 16])
}

#[tokio::test]
async fn sessions_are_listed_by_service_and_backend_and_shown_by_name() {
    let place = Place::new();
    for number in 0..6 {
        place.begin(number, "shop", if number < 4 { "b11" } else { "b12" });
    }
    place.begin(9, "shop2", "b11");
    assert_eq!(place.listed(None, None), Ok(7));
    assert_eq!(place.listed(Some("shop"), None), Ok(6));
    assert_eq!(place.listed(Some("shop"), Some("b11")), Ok(4));
    assert_eq!(place.listed(Some("shop2"), Some("b12")), Ok(0));
    assert_eq!(place.listed(Some("gone"), None).unwrap_err().code, Code::NOT_FOUND);
    assert_eq!(place.listed(Some("shop"), Some("b99")).unwrap_err().message, "service `shop` has no backend `b99`");
    let classes = [QosClassSpec::named("default"), QosClassSpec::named("gold")];
    let view = place.path.session(&place.snapshot(), &classes, id(5)).unwrap();
    assert_eq!((view.service.as_str(), view.backend.as_str()), ("shop", "b12"));
    assert_eq!((view.class.as_str(), view.tunnel, view.requests), ("gold", 2, 1));
    assert!((1_790_000..=1_800_000).contains(&view.expires_ms), "{}", view.expires_ms);
    assert_eq!(place.path.session(&place.snapshot(), &classes, id(77)).unwrap_err().code, Code::NOT_FOUND);
}

#[tokio::test]
async fn a_session_moves_to_a_backend_of_its_service_that_gets_something() {
    let mut place = Place::new();
    place.begin(1, "shop", "b11");
    place.set("b13", AdminState::Maint);
    let moved = |place: &Place, to| place.path.move_session(&place.snapshot(), id(1), to);
    assert_eq!(moved(&place, ("shop", "b12")), Ok(()));
    let view = place.path.session(&place.snapshot(), &[], id(1)).unwrap();
    assert_eq!((view.backend.as_str(), view.tunnel), ("b12", 2));
    assert_eq!(moved(&place, ("shop", "b99")).unwrap_err().code, Code::NOT_FOUND);
    let other = moved(&place, ("shop2", "b12")).unwrap_err();
    assert!(other.message.ends_with("is of service `shop`, not of `shop2`"), "{other}");
    assert_eq!(moved(&place, ("shop", "b13")).unwrap_err().message, "backend `shop/b13` is in maint: it gets nothing");
    assert_eq!(place.path.remove_session(id(1)), Ok(()));
    assert_eq!(moved(&place, ("shop", "b12")).unwrap_err().code, Code::NOT_FOUND);
    assert_eq!(place.path.remove_session(id(1)).unwrap_err().code, Code::NOT_FOUND);
}

#[tokio::test]
async fn sessions_of_a_backend_go_to_the_others_by_weight() {
    let mut place = Place::new();
    for number in 0..80 {
        place.begin(number, "shop", "b11");
    }
    (80..100).for_each(|number| place.begin(number, "shop", "b12"));
    place.begin(200, "shop2", "b11");
    place.set("b11", AdminState::Drain);
    assert_eq!(place.path.move_sessions(&place.snapshot(), ("shop", "b11")), Ok(80));
    // 25 to 75: b13 has three times the weight of b12, which had twenty before.
    assert_eq!(["b11", "b12", "b13"].map(|name| place.listed(Some("shop"), Some(name)).unwrap()), [0, 25, 75]);
    assert_eq!(place.listed(Some("shop2"), Some("b11")), Ok(1));
    assert_eq!(place.path.move_sessions(&place.snapshot(), ("shop", "b11")), Ok(0));
}

#[tokio::test]
async fn sessions_that_nobody_would_take_stay() {
    let mut place = Place::new();
    place.begin(1, "shop", "b11");
    place.set("b12", AdminState::Drain);
    place.set("b13", AdminState::Maint);
    let failure = place.path.move_sessions(&place.snapshot(), ("shop", "b11")).unwrap_err();
    assert_eq!(failure.message, "no other backend of service `shop` takes sessions");
    assert_eq!(place.listed(Some("shop"), Some("b11")), Ok(1));
}

#[tokio::test]
async fn a_service_that_goes_takes_its_sessions_along_and_one_that_comes_has_some() {
    let mut place = Place::new();
    place.begin(1, "shop", "b11");
    place.begin(2, "shop2", "b11");
    let remove = Change::RemoveService { service: "shop".to_owned() };
    place.core.change(0, remove, &Nothing, &mut Vec::new()).unwrap();
    let add = Change::AddService { service: shop("shop3", 445) };
    place.core.change(0, add, &Nothing, &mut Vec::new()).unwrap();
    place.path.set_rules(&place.snapshot(), &place.core.services());
    place.begin(3, "shop3", "b11");
    assert_eq!((place.listed(None, None), place.listed(Some("shop3"), None)), (Ok(2), Ok(1)));
    assert_eq!(place.path.keep_s.load(Ordering::Relaxed), 12 * 3600);
}

#[tokio::test]
async fn names_that_nothing_has_are_told_from_those_that_have_nothing() {
    let place = Place::new();
    let snapshot = place.snapshot();
    let look_up = |service: Option<&str>, backend: Option<&str>| {
        let (service, backend) = (service.map(str::to_owned), backend.map(str::to_owned));
        let query = SessionQuery { service, backend, limit: 1 };
        let (service, backend) = look_up(&snapshot, &query).map_err(|failure| failure.message)?;
        Ok((service.map(|found| found.name.clone()), backend.map(|found| found.name.clone())))
    };
    assert_eq!(look_up(None, None), Ok((None, None)));
    assert_eq!(look_up(Some("shop"), Some("b12")), Ok((Some("shop".to_owned()), Some("b12".to_owned()))));
    assert_eq!(look_up(Some("gone"), None), Err("no service is called `gone`".to_owned()));
    assert_eq!(look_up(Some("shop"), Some("b99")), Err("service `shop` has no backend `b99`".to_owned()));
    let no_tunnels = |service, backend| no_tunnels(&snapshot, (service, backend)).message;
    assert_eq!(no_tunnels("gone", "b11"), "no service is called `gone`");
    assert_eq!(no_tunnels("shop", "b99"), "service `shop` has no backend `b99`");
    assert_eq!(no_tunnels("shop", "b11"), "there are no tunnels to backend `shop/b11`");
}
