//! A tunnel is replaced by one that stands already, and no request notices.

use super::*;

/// Runs `during` under load. Every request is answered, whatever it does.
async fn under_load(
    alpn: &[&str],
    change: impl FnOnce(Settings) -> Settings,
    during: impl AsyncFnOnce(&TestPool, &Backend),
) {
    let authority = Authority::new();
    let backend = Backend::start(Options::new(authority.server(authority::NAME, alpn, false)));
    let pool = Arc::new(TestPool::start(change(settings(&authority, backend.address))));
    open(&pool, 4).await;
    // As many at once as HTTP/1.1 has tunnels: what happens is about these, and not about more of them.
    let load = Load::start(&pool, 4);
    during(&pool, &backend).await;
    let (answered, failed) = load.end().await;
    assert!(failed.is_empty() && answered > 0, "{answered} answered; {failed:#?}");
}

fn connections(pool: &TestPool) -> Vec<Option<SocketAddr>> {
    let mut kept = vec![None; 4];
    for tunnel in tunnels(pool).into_iter().filter(|tunnel| tunnel.slot < 4) {
        kept[tunnel.slot] = tunnel.context.map(|context| context.local);
    }
    kept
}

/// Every slot has another connection than before.
async fn all_replaced(pool: &TestPool, before: &[Option<SocketAddr>]) {
    until("every tunnel is replaced", || {
        connections(pool).iter().zip(before).all(|(now, before)| now.is_some() && now != before)
    })
    .await;
}

fn at_their_age(alpn: &'static [&'static str]) {
    run(async move {
        let aging = |settings| Settings { max_age: Duration::from_millis(300), ..settings };
        under_load(alpn, aging, async |pool, backend| {
            let before = connections(pool);
            all_replaced(pool, &before).await;
            let second = connections(pool);
            all_replaced(pool, &second).await;
            let counters = pool.view().counters;
            assert!(counters.renewed >= 8, "{counters:?}");
            assert_eq!((counters.lost, counters.failed, counters.cut), (0, 0, 0));
            assert_eq!((counters.waited, counters.handshakes_on_request_path), (0, 0));
            // A renewal is a cheap handshake.
            assert!(backend.seen.resumed.load(Ordering::SeqCst) >= 4 && counters.resumed >= 4, "{counters:?}");
        })
        .await;
    });
}

#[test]
fn http2_tunnels_are_replaced_at_their_age_and_no_request_fails() {
    at_their_age(&["h2"]);
}

#[test]
fn http1_tunnels_are_replaced_at_their_age_and_no_request_fails() {
    at_their_age(&["http/1.1"]);
}

fn on_reset(alpn: &'static [&'static str]) {
    run(async move {
        under_load(
            alpn,
            |settings| settings,
            async |pool, _backend| {
                for slot in 0..4 {
                    let before = connections(pool);
                    assert!(pool.reset(Some(slot)));
                    until("the slot has another tunnel", || {
                        let now = connections(pool);
                        now[slot].is_some() && now[slot] != before[slot]
                    })
                    .await;
                    let changed = connections(pool).iter().zip(&before).filter(|(now, before)| now != before).count();
                    assert_eq!(changed, 1);
                }
                let before = connections(pool);
                assert!(pool.reset(None));
                all_replaced(pool, &before).await;
                assert!(!pool.reset(Some(1000)));
                let counters = pool.view().counters;
                assert_eq!((counters.waited, counters.handshakes_on_request_path), (0, 0));
            },
        )
        .await;
    });
}

#[test]
fn http2_tunnels_are_reset_one_by_one_and_no_request_fails() {
    on_reset(&["h2"]);
}

#[test]
fn http1_tunnels_are_reset_one_by_one_and_no_request_fails() {
    on_reset(&["http/1.1"]);
}

/// A backend that restarts in good order says so: GOAWAY, or `connection: close`.
fn on_leave(alpn: &'static [&'static str]) {
    run(async move {
        under_load(
            alpn,
            |settings| settings,
            async |pool, backend| {
                for _ in 0..3 {
                    let before = connections(pool);
                    backend.leave();
                    all_replaced(pool, &before).await;
                }
                let counters = pool.view().counters;
                assert!(counters.left >= 12, "{counters:?}");
                assert_eq!((counters.lost, counters.failed), (0, 0), "{counters:?}");
            },
        )
        .await;
    });
}

#[test]
fn a_backend_that_asks_its_http2_clients_to_leave_costs_no_request() {
    on_leave(&["h2"]);
}

#[test]
fn a_tunnel_that_is_replaced_finishes_what_it_carries() {
    run(async {
        let (_authority, backend, pool) = shop(&["h2"]).await;
        let held = tokio::spawn(pool.choose(Some(1), Need::Any).unwrap().send(get("/hold")));
        until("the request arrives", || backend.seen.total() == 1).await;
        let before = connections(&pool);
        pool.reset(Some(1));
        standing(&pool, Standing { open: 4, draining: 1 }).await;
        let draining = pool.view().tunnels.into_iter().find(|tunnel| tunnel.state == TunnelState::Draining).unwrap();
        assert_eq!((draining.slot, draining.streams), (1, 1));
        assert_eq!(draining.context.unwrap().local, before[1].unwrap());
        // The slot takes new requests meanwhile.
        let lease = pool.choose(Some(1), Need::Any).unwrap();
        assert_eq!(lease.slot(), 1);
        assert_eq!(lease.send(get("/")).await.unwrap().status(), 200);
        backend.release.add_permits(1);
        let response = held.await.unwrap().unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "..");
        open(&pool, 4).await;
        assert_eq!(pool.view().counters.cut, 0);
    });
}

#[test]
fn a_replaced_tunnel_is_cut_when_its_requests_do_not_end() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(authority::NAME, &["h2"], false)));
        let hasty = Settings { drain: Duration::from_millis(50), ..settings(&authority, backend.address) };
        let pool = TestPool::start(hasty);
        open(&pool, 4).await;
        let held = tokio::spawn(pool.choose(Some(0), Need::Any).unwrap().send(get("/hold")));
        until("the request arrives", || backend.seen.total() == 1).await;
        pool.reset(Some(0));
        let error = held.await.unwrap().unwrap_err();
        assert!(!error.progress.is_safe_to_repeat(), "{error:?}");
        open(&pool, 4).await;
        assert_eq!(pool.view().counters.cut, 1);
    });
}
