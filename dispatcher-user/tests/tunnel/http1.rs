//! Tunnels to a backend without HTTP/2: one request each, more of them when needed.

use super::*;

#[test]
fn tunnels_are_added_ahead_of_need_and_closed_when_idle() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(authority::NAME, &["http/1.1"], false)));
        let settings =
            Settings { extra: 8, extra_idle: Duration::from_millis(100), ..settings(&authority, backend.address) };
        let pool = Arc::new(TestPool::start(settings));
        open(&pool, 4).await;
        // The third of four is taken, and a fifth is opened: the next requests will not wait for it.
        let mut leases: Vec<_> = (0..3).map(|slot| pool.choose(Some(slot), Need::Any).unwrap()).collect();
        open(&pool, 5).await;
        assert_eq!(pool.view().counters.opened, 5);
        // Taken one by one, each finds one that stands.
        for taken in 4..=12 {
            let wanted = (taken + 2).min(12);
            leases.push(pool.choose(Some(0), Need::Any).unwrap());
            until("tunnels stand ahead", || tunnels(&pool).len() >= wanted).await;
        }
        assert_eq!(leases.len(), 12);
        let full = pool.choose(None, Need::Any).unwrap_err();
        assert_eq!(full.to_string(), "shop/b1: every tunnel is full");
        // The backend notes a handshake a moment after it is done here.
        until("the backend knows", || backend.seen.handshakes.load(Ordering::SeqCst) == 12).await;
        drop(leases);
        open(&pool, 4).await;
        assert_eq!(tunnels(&pool).iter().map(|tunnel| tunnel.slot).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let counters = pool.view().counters;
        assert_eq!((counters.handshakes_on_request_path, counters.lost, counters.failed), (0, 0, 0));
    });
}

#[test]
fn requests_follow_one_another_on_a_tunnel() {
    run(async {
        let (_authority, backend, pool) = shop(&["http/1.1"]).await;
        let pool = Arc::new(pool);
        let load = Load::start(&pool, 4);
        until("much is answered", || backend.seen.requests.load(Ordering::SeqCst) > 1000).await;
        let (_answered, failed) = load.end().await;
        assert!(failed.is_empty(), "{failed:#?}");
        assert_eq!(backend.seen.most_on_one.load(Ordering::SeqCst), 1);
        assert!(backend.seen.handshakes.load(Ordering::SeqCst) <= 6, "four, and two ahead of need");
    });
}

#[test]
fn the_path_and_the_host_are_written_as_http1_wants_them() {
    run(async {
        let (_authority, _backend, pool) = shop(&["http/1.1"]).await;
        assert_eq!(fetch(&pool, get("/a?b=c")).await, "GET /a?b=c");
        let response = send(&pool, get("/echo")).await.unwrap();
        assert_eq!(response.headers()["x-host"], authority::NAME);
    });
}

/// A backend that closes a tunnel after an answer: the next request goes elsewhere, and the tunnel is replaced.
#[test]
fn a_backend_that_asks_its_http1_clients_to_leave_costs_no_request() {
    run(async {
        let (_authority, backend, pool) = shop(&["http/1.1"]).await;
        for _ in 0..5 {
            let before = backend.seen.handshakes.load(Ordering::SeqCst);
            backend.leave();
            until("four others stand", || {
                backend.seen.handshakes.load(Ordering::SeqCst) >= before + 4 && tunnels(&pool).len() == 4
            })
            .await;
            assert_eq!(fetch(&pool, get("/")).await, "GET /");
        }
        let counters = pool.view().counters;
        assert_eq!((counters.left, counters.lost, counters.failed), (20, 0, 0), "{counters:?}");
    });
}
