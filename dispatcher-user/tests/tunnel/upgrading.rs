//! A request may turn its connection into something else, and leaves the tunnels as they were.

use http::{StatusCode, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

async fn converse(pool: &TestPool) -> dispatcher_user::tunnel::upgrade::UpgradedStream {
    let mut request = get("/upgrade");
    request.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
    request.headers_mut().insert(header::UPGRADE, "capitals".parse().unwrap());
    let lease = pool.lease(None, Need::Upgrade, BOUND / 4).await.unwrap();
    let response = lease.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()[header::UPGRADE], "capitals");
    let mut body = response.into_body();
    let mut stream = body.take_upgrade().unwrap().stream().await.unwrap();
    assert!(body.take_upgrade().is_none());
    for word in ["one", "two"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut heard = [0; 3];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, word.to_uppercase().as_bytes());
    }
    stream
}

fn an_upgrade_has_a_connection_of_its_own(alpn: &'static [&'static str]) {
    run(async move {
        let (_authority, backend, pool) = shop(alpn).await;
        let before: Vec<_> = tunnels(&pool).into_iter().map(|tunnel| tunnel.context).collect();
        let mut first = converse(&pool).await;
        // Another stands ready for the next.
        let wanted = if alpn == ["http/1.1"] { 4 } else { 5 };
        until("an HTTP/1.1 tunnel stands", || tunnels(&pool).len() >= wanted).await;
        let handshakes = pool.view().counters.handshakes_on_request_path;
        let second = converse(&pool).await;
        let view = pool.view();
        assert_eq!(view.counters.handshakes_on_request_path, handshakes);
        assert_eq!((view.upgraded, view.counters.upgrades), (2, 2));
        if alpn == ["h2", "http/1.1"] {
            let now: Vec<_> = tunnels(&pool).into_iter().take(4).map(|tunnel| tunnel.context).collect();
            assert_eq!(now, before);
        }
        first.shutdown().await.unwrap();
        drop((first, second));
        assert_eq!(pool.view().upgraded, 0);
        fetch(&pool, get("/")).await;
        let counters = pool.view().counters;
        assert_eq!((counters.left, counters.lost, counters.failed), (0, 0, 0), "{counters:?}");
        let open = tunnels(&pool).len();
        until("the backend is left", || backend.seen.live.load(Ordering::SeqCst) <= open).await;
    });
}

#[test]
fn an_upgrade_has_a_connection_of_its_own_beside_http2() {
    an_upgrade_has_a_connection_of_its_own(&["h2", "http/1.1"]);
}

#[test]
fn an_upgrade_has_a_connection_of_its_own_on_http1() {
    an_upgrade_has_a_connection_of_its_own(&["http/1.1"]);
}

#[test]
fn upgrades_have_a_bound() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(authority::NAME, &["http/1.1"], false)));
        let pool = TestPool::start(Settings { max_upgraded: 1, ..settings(&authority, backend.address) });
        open(&pool, 4).await;
        let only = converse(&pool).await;
        let error = pool.choose(None, Need::Upgrade).unwrap_err().to_string();
        assert_eq!(error, "shop/b1: no HTTP/1.1 tunnel is open for an upgrade: 1 connections are upgraded already");
        drop(only);
        drop(converse(&pool).await);
    });
}

#[test]
fn a_backend_without_http1_takes_no_upgrade_and_says_why() {
    run(async {
        let (_authority, _backend, pool) = shop(&["h2"]).await;
        pool.lease(None, Need::Upgrade, Duration::from_millis(200)).await.unwrap_err();
        until("the reason is known", || {
            let error = pool.choose(None, Need::Upgrade).unwrap_err().to_string();
            error.contains("NoApplicationProtocol")
        })
        .await;
        // Its other tunnels are as they were.
        fetch(&pool, get("/")).await;
        assert_eq!(tunnels(&pool).len(), 4);
    });
}
