//! What a tunnel may carry at once, and what happens beyond that.

use super::*;

/// A pool of two tunnels to a backend that takes two requests on each.
async fn small() -> (Authority, Backend, Arc<TestPool>) {
    let authority = Authority::new();
    let mut options = Options::new(authority.server(authority::NAME, &["h2"], false));
    options.max_streams = 2;
    let backend = Backend::start(options);
    let pool = Arc::new(TestPool::start(Settings { kept: 2, ..settings(&authority, backend.address) }));
    open(&pool, 2).await;
    (authority, backend, pool)
}

#[test]
fn the_backends_own_bound_is_known_before_the_first_request() {
    run(async {
        let (_authority, _backend, pool) = small().await;
        assert_eq!(tunnels(&pool).iter().map(|tunnel| tunnel.limit).collect::<Vec<_>>(), [2, 2]);
    });
}

#[test]
fn a_full_tunnel_is_not_waited_for_while_another_has_room() {
    run(async {
        let (_authority, _backend, pool) = small().await;
        let leases: Vec<_> = (0..4).map(|_| pool.choose(Some(0), Need::Any).unwrap()).collect();
        assert_eq!(leases.iter().map(|lease| lease.slot()).collect::<Vec<_>>(), [0, 0, 1, 1]);
        let full = pool.choose(Some(0), Need::Any).unwrap_err();
        assert_eq!(full.to_string(), "shop/b1: every tunnel is full");
        // A place that was not used is a place.
        drop(leases);
        assert_eq!(pool.choose(Some(0), Need::Any).unwrap().slot(), 0);
    });
}

#[test]
fn a_request_waits_for_room_and_no_longer() {
    run(async {
        let (_authority, backend, pool) = small().await;
        let mut requests = JoinSet::new();
        for _ in 0..12 {
            let pool = Arc::clone(&pool);
            requests.spawn(async move { fetch(&pool, get("/hold")).await });
        }
        until("the tunnels are full, the rest waits", || backend.seen.total() == 4 && pool.view().counters.waited == 8)
            .await;
        let late = pool.lease(None, Need::Any, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(late.to_string(), "shop/b1: every tunnel is full");
        backend.release.add_permits(12);
        while let Some(answer) = requests.join_next().await {
            assert_eq!(answer.unwrap(), "..");
        }
        assert_eq!(backend.seen.most_on_one.load(Ordering::SeqCst), 2);
        let counters = pool.view().counters;
        assert_eq!((counters.opened, counters.handshakes_on_request_path, counters.waited), (2, 0, 9));
    });
}

#[test]
fn many_clients_never_exceed_the_bound() {
    run(async {
        let (_authority, backend, pool) = small().await;
        let load = Load::start(&pool, 32);
        until("much is answered", || backend.seen.requests.load(Ordering::SeqCst) > 2000).await;
        let (_answered, failed) = load.end().await;
        assert!(failed.is_empty(), "{failed:#?}");
        assert!(backend.seen.most_on_one.load(Ordering::SeqCst) <= 2);
        assert!(tunnels(&pool).iter().all(|tunnel| tunnel.streams == 0));
    });
}

#[test]
fn our_own_bound_holds_where_the_backend_takes_more() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(authority::NAME, &["h2"], false)));
        let narrow = Settings { kept: 1, max_streams: 3, ..settings(&authority, backend.address) };
        let pool = TestPool::start(narrow);
        open(&pool, 1).await;
        let leases: Vec<_> = (0..3).map(|_| pool.choose(None, Need::Any).unwrap()).collect();
        pool.choose(None, Need::Any).unwrap_err();
        drop(leases);
    });
}
