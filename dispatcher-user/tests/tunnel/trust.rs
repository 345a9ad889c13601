//! Who a backend must prove to be, and who we are to it.

use std::path::Path;

use dispatcher_user::tunnel::tls::{Identity, TlsClient, TlsError, TlsSettings};

use super::*;
use authority::{LOOPBACK, NAME};

/// Starts a pool that cannot open a tunnel, and returns what it says of that.
async fn refusal(tls: TlsClient, backend: &Backend) -> String {
    let authority = Authority::new();
    let pool = TestPool::start(Settings { tls, ..settings(&authority, backend.address) });
    until("every slot fails", || pool.view().tunnels.iter().all(|tunnel| tunnel.state == TunnelState::Down)).await;
    let view = pool.view();
    assert_eq!((view.tunnels.len(), view.counters.opened), (4, 0));
    let error = pool.choose(None, Need::Any).unwrap_err().to_string();
    assert!(error.starts_with("shop/b1: no tunnel is open: "), "{error}");
    assert_eq!(backend.seen.requests.load(Ordering::SeqCst), 0);
    error
}

#[test]
fn a_backend_with_another_name_is_not_trusted() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server("other.shop.test", &["h2"], false)));
        let error = refusal(authority.client(), &backend).await;
        assert!(error.contains("not valid for name") && error.contains(NAME), "{error}");
    });
}

#[test]
fn a_backend_that_another_authority_vouches_for_is_not_trusted() {
    run(async {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let backend = Backend::start(Options::new(stranger.server(NAME, &["h2"], false)));
        let error = refusal(authority.client(), &backend).await;
        assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    });
}

#[test]
fn a_backend_that_nobody_vouches_for_is_taken_where_the_operator_says_so() {
    run(async {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let backend = Backend::start(Options::new(stranger.server("whoever.test", &["h2"], false)));
        let tls = TlsClient::load(&TlsSettings { verify: false, ..authority.trusted() }, LOOPBACK).unwrap();
        let pool = TestPool::start(Settings { tls, ..settings(&authority, backend.address) });
        open(&pool, 4).await;
        fetch(&pool, get("/")).await;
        assert!(!pool.view().verified);
    });
}

#[test]
fn without_a_name_the_certificate_must_hold_the_backends_address() {
    run(async {
        let authority = Authority::new();
        let by_address = TlsSettings { server_name: None, ..authority.trusted() };
        let tls = TlsClient::load(&by_address, LOOPBACK).unwrap();
        let named = Backend::start(Options::new(authority.server(NAME, &["h2"], false)));
        refusal(tls.clone(), &named).await;
        let addressed = Backend::start(Options::new(authority.server("127.0.0.1", &["h2"], false)));
        let pool = TestPool::start(Settings { tls, ..settings(&authority, addressed.address) });
        open(&pool, 4).await;
    });
}

#[test]
fn a_backend_that_asks_for_a_certificate_sees_ours() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(NAME, &["h2"], true)));
        let error = refusal(authority.client(), &backend).await;
        assert!(error.contains("CertificateRequired"), "{error}");
        let identity = Some(authority.sign("dispatcher.shop.test"));
        let tls = TlsClient::load(&TlsSettings { identity, ..authority.trusted() }, LOOPBACK).unwrap();
        let pool = TestPool::start(Settings { tls, ..settings(&authority, backend.address) });
        open(&pool, 4).await;
        fetch(&pool, get("/")).await;
        assert_eq!(backend.seen.certificates.load(Ordering::SeqCst), 4);
    });
}

/// With TLS 1.3 the handshake is over before the backend refuses; without HTTP/2 nothing else is exchanged.
#[test]
fn an_http1_backend_that_refuses_our_certificate_is_not_dialled_without_a_pause() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(NAME, &["http/1.1"], true)));
        let pool = TestPool::start(settings(&authority, backend.address));
        until("the reason is known", || {
            pool.choose(None, Need::Any).is_err_and(|error| error.to_string().contains("CertificateRequired"))
        })
        .await;
        assert_eq!(backend.seen.handshakes.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_protocol_that_the_backend_lacks_is_refused() {
    run(async {
        let authority = Authority::new();
        let http1 = Backend::start(Options::new(authority.server(NAME, &[], false)));
        let wants_http2 = Settings {
            protocol: dispatcher_user::tunnel::settings::Protocol::Http2,
            ..settings(&authority, http1.address)
        };
        let pool = TestPool::start(wants_http2);
        until("every slot fails", || pool.view().tunnels.iter().all(|tunnel| tunnel.state == TunnelState::Down)).await;
        let error = pool.choose(None, Need::Any).unwrap_err().to_string();
        assert!(error.ends_with("the backend does not speak HTTP/2"), "{error}");
    });
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let authority = Authority::new();
    let identity = authority.sign(NAME);
    let load = |settings: TlsSettings| TlsClient::load(&settings, LOOPBACK).unwrap_err();
    let missing = load(TlsSettings { ca: Some(Path::new("/nowhere/ca.pem").to_owned()), ..TlsSettings::default() });
    assert!(matches!(missing, TlsError::File { .. }));
    assert!(missing.to_string().starts_with("/nowhere/ca.pem: certificates: "), "{missing}");
    let empty = load(TlsSettings { ca: Some(identity.key.clone()), ..TlsSettings::default() });
    assert!(matches!(&empty, TlsError::Empty(path) if *path == identity.key), "{empty}");
    let swapped = Identity { certificate: identity.certificate.clone(), key: identity.certificate.clone() };
    let swapped = load(TlsSettings { identity: Some(swapped), ..authority.trusted() });
    assert!(swapped.to_string().contains("a private key"), "{swapped}");
    let other = authority.sign("other.shop.test");
    let foreign = Identity { certificate: identity.certificate.clone(), key: other.key };
    let foreign = load(TlsSettings { identity: Some(foreign), ..authority.trusted() });
    assert!(foreign.to_string().contains("KeyMismatch") || foreign.to_string().contains("inconsistent"), "{foreign}");
    let name = load(TlsSettings { server_name: Some("not a name".to_owned()), ..authority.trusted() });
    assert_eq!(name.to_string(), "`not a name` is not a name that a certificate can hold");
}
