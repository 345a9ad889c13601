//! The promise of the state file: what was done on the command line is there again after a restart, and nothing else.

use std::time::Duration;

use proptest::{prelude::*, sample::select};

use super::*;
use crate::core::model::{
    AdminState, Affinity, BackendSpec, ClassChange, Forward, Protocol, QosClassSpec, Scheduler, SecureSpec, TunnelSpec,
};

/// Few names, so that changes often meet.
const NAMES: [&str; 3] = ["a", "b", "c"];

fn service(name: &str, vip: &str, forward: Forward) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        vip: vip.parse().unwrap(),
        protocol: Protocol::Tcp,
        scheduler: Scheduler::Rr,
        forward,
        affinity: Affinity::None,
        affinity_timeout: Duration::from_secs(600),
        secure: None,
        backends: Vec::new(),
    }
}

fn backend(name: &str, address: &str) -> BackendSpec {
    BackendSpec { name: name.to_owned(), address: address.parse().unwrap(), weight: 100, state: AdminState::Ready }
}

fn names() -> impl Strategy<Value = String> {
    select(&NAMES).prop_map(str::to_owned)
}

fn backends() -> impl Strategy<Value = BackendSpec> {
    let addresses = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:81", "[2001:db8::1]:80"];
    (names(), select(addresses.to_vec()), 0_u16..3, states()).prop_map(|(name, address, weight, state)| BackendSpec {
        weight,
        state,
        ..backend(&name, address)
    })
}

fn services() -> impl Strategy<Value = ServiceSpec> {
    let vips = ["203.0.113.1:80", "203.0.113.2:80", "[2001:db8::80]:80"];
    let forward = select(&[Forward::Nat, Forward::Dsr]);
    let secure = prop::option::of(any::<bool>().prop_map(shop));
    (names(), select(vips.to_vec()), forward, prop::collection::vec(backends(), 0..3), secure).prop_map(
        |(name, vip, forward, backends, secure)| {
            let forward = if secure.is_some() { Forward::Nat } else { forward };
            ServiceSpec { backends, secure, ..service(&name, vip, forward) }
        },
    )
}

/// What a service of mode `secure` has, with or without a redirect that collides with a VIP of another.
fn shop(with_redirect: bool) -> Box<SecureSpec> {
    let mut json = serde_json::json!({
        "tls": {
            "certificates": [{"chain": "/etc/shop.pem", "key": null, "ocsp": null}],
            "alpn": ["h2", "http/1.1"],
            "client_auth": "none",
            "client_ca": null
        },
        "tunnels": TunnelSpec { ca: Some("/etc/ca.pem".into()), ..TunnelSpec::default() },
        "rules": [{"path": "/cart/**", "host": null, "method": null, "header": null}]
    });
    if with_redirect {
        json["redirect"] = "203.0.113.1:80".into();
    }
    serde_json::from_value(json).unwrap()
}

fn states() -> impl Strategy<Value = AdminState> {
    select(&[AdminState::Ready, AdminState::Drain, AdminState::Maint])
}

fn changes() -> impl Strategy<Value = Change> {
    let scheduler = prop::option::of(select(&[Scheduler::Rr, Scheduler::Lc]));
    let affinity = prop::option::of(select(&[Affinity::None, Affinity::ClientIp, Affinity::Session]));
    let timeout = prop::option::of((1_u64..3).prop_map(Duration::from_secs));
    prop_oneof![
        services().prop_map(|service| Change::AddService { service }),
        (names(), scheduler, affinity, timeout).prop_map(|(service, scheduler, affinity, affinity_timeout)| {
            Change::SetService { service, scheduler, affinity, affinity_timeout }
        }),
        names().prop_map(|service| Change::RemoveService { service }),
        (names(), backends()).prop_map(|(service, backend)| Change::AddBackend { service, backend }),
        (names(), names(), prop::option::of(states()), prop::option::of(0_u16..3))
            .prop_map(|(service, backend, state, weight)| Change::SetBackend { service, backend, state, weight }),
        (names(), names(), any::<bool>()).prop_map(|(service, backend, force)| Change::RemoveBackend {
            service,
            backend,
            force
        }),
    ]
}

/// A configuration: whatever services can stand beside each other.
fn configured() -> impl Strategy<Value = Vec<ServiceSpec>> {
    prop::collection::vec(services(), 0..4).prop_map(|wanted| {
        let mut services = Vec::new();
        for service in wanted {
            apply_change(&mut services, &Change::AddService { service }).ok();
        }
        services
    })
}

/// Makes those changes that are not refused, and records them.
fn make(services: &mut Vec<ServiceSpec>, state: &mut State, changes: &[Change]) {
    for change in changes {
        if apply_change(services, change).is_ok() {
            state.record(change);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_restart_changes_nothing(config in configured(), changes in prop::collection::vec(changes(), 0..24)) {
        let (mut live, mut state) = (config.clone(), State::default());
        make(&mut live, &mut state, &changes);
        let (restarted, warnings) = state.clone().apply(config);
        prop_assert_eq!(restarted, live);
        prop_assert_eq!(warnings, vec![]);
        let json = serde_json::to_string(&state.overlay).unwrap();
        prop_assert_eq!(serde_json::from_str::<Overlay>(&json).unwrap(), state.overlay);
    }

    #[test]
    fn a_changed_configuration_keeps_what_fits(
        before in configured(),
        after in configured(),
        changes in prop::collection::vec(changes(), 0..24),
    ) {
        let (mut live, mut state) = (before, State::default());
        make(&mut live, &mut state, &changes);
        let (services, _) = state.apply(after.clone());
        let mut rebuilt = Vec::new();
        for service in &services {
            let added = apply_change(&mut rebuilt, &Change::AddService { service: service.clone() });
            prop_assert_eq!(added, Ok(()), "services that cannot stand beside each other");
        }
        // What did not fit is forgotten: a second restart has nothing to say.
        prop_assert_eq!(state.apply(after), (services, vec![]));
    }
}

#[test]
fn a_file_of_a_version_without_mode_secure_is_read() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.json");
    let former = r#"{"version": 1, "changes": {"removed": ["b"], "changed": {}, "added": [{
        "name": "a", "vip": "203.0.113.1:80", "protocol": "tcp", "scheduler": "rr", "forward": "nat",
        "affinity": "none", "affinity_timeout": {"secs": 600, "nanos": 0}, "backends": []}]}}"#;
    fs::write(&path, former).unwrap();
    let mut state = State::load(&path).unwrap();
    let (services, _) = state.apply(vec![service("b", "203.0.113.2:80", Forward::Dsr)]);
    assert_eq!(services, [service("a", "203.0.113.1:80", Forward::Nat)]);
    // It is written as that version would read it, for as long as nothing new is in it.
    state.save(&path).unwrap();
    assert!(!fs::read_to_string(&path).unwrap().contains("secure"));
}

#[test]
fn changes_of_classes_survive_a_restart_and_those_that_no_longer_fit_are_named() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.json");
    let mut state = State::default();
    let usual = ClassChange::default();
    state.record_class("gold", &ClassChange { weight: Some(7), share_percent: Some(60), ..usual });
    state.record_class("gold", &ClassChange { priority: Some(1), weight: Some(8), ..usual });
    state.record_class("iron", &ClassChange { weight: Some(2), ..usual });
    state.record(&Change::AddService { service: service("a", "203.0.113.1:80", Forward::Nat) });
    state.save(&path).unwrap();
    let mut state = State::load(&path).unwrap();
    // Services and classes are applied one after the other, and neither forgets the other.
    state.apply(Vec::new());
    let mut classes = vec![QosClassSpec::named("default"), QosClassSpec::named("gold")];
    let warnings = state.apply_classes(&mut classes);
    let gold = QosClassSpec { priority: 1, weight: 8, share_percent: 60, ..QosClassSpec::named("gold") };
    assert_eq!(classes, [QosClassSpec::named("default"), gold.clone()]);
    assert_eq!(
        warnings.iter().map(ClassWarning::to_string).collect::<Vec<_>>(),
        [
            "changing QoS class `iron`, once done on the command line, no longer fits the configuration and is forgotten: \
          no QoS class is called `iron`"
        ]
    );
    assert_eq!(state.apply_classes(&mut classes), []);
    assert_eq!((state.apply(Vec::new()).0.len(), classes), (1, vec![QosClassSpec::named("default"), gold]));
}

#[test]
fn what_belongs_to_the_other_mode_is_refused() {
    let shop = ServiceSpec { secure: Some(shop(false)), ..service("a", "203.0.113.1:443", Forward::Nat) };
    let set = |affinity, affinity_timeout| Change::SetService {
        service: "a".into(),
        scheduler: None,
        affinity,
        affinity_timeout,
    };
    let refused = |services: &[ServiceSpec], change| apply_change(&mut services.to_vec(), &change).unwrap_err();
    let add = |service| Change::AddService { service };
    let both = [shop.clone()];
    assert_eq!(refused(&[], add(ServiceSpec { protocol: Protocol::Udp, ..shop.clone() })), Refusal::SecureUdp);
    assert_eq!(refused(&[], add(ServiceSpec { forward: Forward::Dsr, ..shop.clone() })), Refusal::SecureForward);
    assert_eq!(refused(&both, set(None, Some(Duration::from_secs(1)))), Refusal::SecureTimeout);
    let (affinity, is_secure) = (Affinity::ClientIp, true);
    assert_eq!(refused(&both, set(Some(affinity), None)), Refusal::AffinityOfOtherMode { affinity, is_secure });
    let packet = [ServiceSpec { secure: None, ..shop }];
    let (affinity, is_secure) = (Affinity::Cookie, false);
    assert_eq!(refused(&packet, set(Some(affinity), None)), Refusal::AffinityOfOtherMode { affinity, is_secure });
    assert_eq!(apply_change(&mut both.to_vec(), &set(Some(Affinity::Session), None)), Ok(()));
}

#[test]
fn a_refused_change_changes_nothing() {
    let config = vec![service("a", "203.0.113.1:80", Forward::Dsr)];
    let refused = [
        Change::AddService { service: service("a", "203.0.113.2:80", Forward::Nat) },
        Change::AddService { service: service("b", "203.0.113.1:80", Forward::Nat) },
        Change::RemoveService { service: "b".into() },
        Change::AddBackend { service: "a".into(), backend: backend("x", "10.0.0.1:81") },
        Change::AddBackend { service: "a".into(), backend: backend("x", "[2001:db8::1]:80") },
        Change::RemoveBackend { service: "a".into(), backend: "x".into(), force: true },
    ];
    for change in refused {
        let mut services = config.clone();
        assert!(apply_change(&mut services, &change).is_err(), "{change:?}");
        assert_eq!(services, config, "{change:?}");
    }
}

#[test]
fn what_no_longer_fits_is_named_and_forgotten() {
    let mut state = State::default();
    let (service, name) = (String::from("shop"), String::from("b1"));
    state.record(&Change::SetBackend { service, backend: name, state: Some(AdminState::Drain), weight: None });
    let (services, warnings) = state.apply(Vec::new());
    assert_eq!(services, Vec::new());
    let told: Vec<String> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        told,
        [
            "changing backend `shop/b1`, once done on the command line, no longer fits the configuration and is forgotten: \
          no service is called `shop`"
        ]
    );
    assert_eq!(state, State::default());
}

#[test]
fn the_file_returns_what_was_saved() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("lib/state.json");
    assert_eq!(State::load(&path).unwrap(), State::default());
    let mut state = State::default();
    state.record(&Change::AddService { service: service("a", "203.0.113.1:80", Forward::Nat) });
    state.save(&path).unwrap();
    state.record(&Change::AddBackend { service: "a".into(), backend: backend("x", "10.0.0.1:80") });
    state.save(&path).unwrap();
    assert_eq!(State::load(&path).unwrap(), state);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn a_save_that_fails_leaves_the_old_file() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.json");
    let mut state = State::default();
    state.save(&path).unwrap();
    let before = fs::read(&path).unwrap();
    // Nothing can be written where a directory has the temporary file's name.
    fs::create_dir(place.path().join(".state.json.new")).unwrap();
    state.record(&Change::RemoveService { service: "a".into() });
    assert_eq!(state.save(&path).unwrap_err().code, Code::STATE_UNUSABLE);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_file_is_never_ignored() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.json");
    let damaged = [
        "",
        "{",
        "{\"version\":1}",
        "{\"version\":1,\"changes\":{\"gone\":[]}}",
        "{\"version\":1,\"changes\":{\"removed\":[1]}}",
        "\u{0}\u{0}\u{0}",
    ];
    for text in damaged {
        fs::write(&path, text).unwrap();
        let failure = State::load(&path).unwrap_err();
        assert_eq!(failure.message, "the state file is damaged", "{text}");
        assert!(failure.at.unwrap().contains("state.json:1:"), "{text}");
    }
    fs::write(&path, "{\"version\":2,\"new\":{}}").unwrap();
    let failure = State::load(&path).unwrap_err();
    assert_eq!(failure.message, "the state file has version 2, this dispatcher reads version 1");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(State::load(&path).unwrap_err().message, "cannot read the state file");
}
