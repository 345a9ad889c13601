//! Judging a request, opening its cookie and finding its session allocate nothing, whatever the request looks like.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{io, time::Duration};

use dispatcher_common::session::Session;
use dispatcher_user::{
    core::{
        model::{ClassMatch, QosClassSpec, SecureRule},
        sessions::{Mapping, Rules, SessionId},
    },
    ingress::{
        cookie::{Binding, Claims, Cookies, Outcome, values},
        keys::Secrets,
        rules::{ClassRules, Facts, SecureRules, priority},
    },
    sessions::{Rows, Sessions},
};
use http::{Request, request::Parts};

fn requests(cookie: &str) -> Vec<Parts> {
    let targets =
        ["/", "/cart/../cart/%69tems?x=1", "/a/b/c/d/e/f/g/h/i/j/../../k", "https://Shop.Example.org:8443/cart"];
    let request = |target: &&str| {
        let builder =
            Request::builder().uri(*target).header("host", "shop.example.org:443").header("priority", "u=1, i");
        let builder = builder.header("x-tier", "silver").header("cookie", format!("a=b; __Host-sid={cookie}; c=d"));
        builder.body(()).unwrap().into_parts().0
    };
    targets.iter().map(request).collect()
}

struct Nowhere;

impl Rows for Nowhere {
    fn put(&mut self, _id: SessionId, _row: &Session) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _id: SessionId) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_request_of_a_known_session_allocates_nothing_on_its_way() {
    let rules = ["/login/**", "/**/*.php", "/cart/*/item*"].map(|path| SecureRule {
        path: Some(path.parse().unwrap()),
        host: Some("*.example.org".parse().unwrap()),
        ..SecureRule::default()
    });
    let rules = SecureRules::compile(&rules).unwrap();
    let gold = ClassMatch { header: Some("x-tier: g*d".parse().unwrap()), ..ClassMatch::default() };
    let lab = ClassMatch { source: Some("2001:db8::/32".parse().unwrap()), ..ClassMatch::default() };
    let classes =
        ClassRules::compile(&[QosClassSpec { matches: vec![gold, lab], ..QosClassSpec::named("gold") }]).unwrap();

    let cookies = Cookies::new(&Secrets::random(0).unwrap()).unwrap();
    let (binding, session) = (Binding::new("shop"), SessionId([7; 16]));
    let claims = Claims { session, backend: 3, generation: 1, mark: 5, expires_s: 100 };
    let value = cookies.seal(&binding, &claims).unwrap();
    let requests = requests(value.as_str());

    let sessions = Sessions::new(1, || Ok::<_, io::Error>(Box::new(Nowhere) as Box<dyn Rows>)).unwrap();
    let (idle, lifetime) = (Duration::from_secs(60), Duration::from_secs(600));
    sessions.configure(3, Rules { idle, lifetime, capacity: 4096 });
    let mapping = Mapping { backend: 3, generation: 1, tunnel: 0, class: 0 };
    sessions.insert(0, 3, session, mapping);
    // The first counter to be written has a list made for it.
    sessions.request(0, 3, session);

    for request in &requests {
        let measured = allocation_counter::measure(|| {
            let facts = Facts::of(request, [198, 51, 100, 2].into(), Some("shop.example.org"));
            std::hint::black_box((rules.judge(&facts), classes.judge(&facts), priority(&request.headers)));
            let found = values(&request.headers, "__Host-sid").next().unwrap();
            assert!(cookies.open(&binding, found, 0) == Outcome::Valid(claims));
            assert!(sessions.request(1, 3, session) == Some(mapping));
            sessions.count(session, 100);
        });
        assert_eq!(measured.count_total, 0, "{}", request.uri);
    }
    // The measure itself can see something.
    assert_ne!(allocation_counter::measure(|| drop(vec![1_u8; 10])).count_total, 0);
}
