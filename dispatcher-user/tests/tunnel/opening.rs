//! Tunnels stand before a request needs one, and say what they are.

use super::*;

/// Both HTTPs: as many handshakes as tunnels, before any request; and not one more for a thousand requests.
fn stand_ready(alpn: &'static [&'static str], agreed: &'static str) {
    run(async move {
        let (_authority, backend, pool) = shop(alpn).await;
        assert_eq!(backend.seen.requests.load(Ordering::SeqCst), 0);
        let before = tunnels(&pool);
        assert_eq!(before.iter().map(|tunnel| tunnel.slot).collect::<Vec<_>>(), [0, 1, 2, 3]);
        for tunnel in &before {
            let context = tunnel.context.as_ref().unwrap();
            assert_eq!(context.alpn.as_deref(), Some(agreed));
            assert_eq!((context.tls.as_str(), context.remote), ("TLSv1_3", backend.address));
            assert!(context.cipher.starts_with("TLS13_AES"), "{context:?}");
        }
        for number in 0..250 {
            for slot in 0..4 {
                let lease = pool.choose(Some(slot), Need::Any).unwrap();
                assert_eq!(lease.slot(), slot);
                let response = lease.send(get(&format!("/a?b={number}"))).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                let text = String::from_utf8(body.to_vec()).unwrap();
                assert!(text.starts_with("GET ") && text.ends_with(&format!("/a?b={number}")), "{text}");
            }
        }
        let after = tunnels(&pool);
        let connections =
            |tunnels: &[TunnelView]| -> Vec<_> { tunnels.iter().map(|each| each.context.clone()).collect() };
        assert_eq!(connections(&before), connections(&after));
        for tunnel in &after {
            assert_eq!((tunnel.requests, tunnel.streams), (250, 0), "{tunnel:?}");
            assert!(tunnel.bytes_in > 250 && tunnel.bytes_out > 250, "{tunnel:?}");
        }
        let counters = pool.view().counters;
        assert_eq!((counters.requests, counters.opened), (1000, 4));
        assert_eq!((counters.waited, counters.handshakes_on_request_path), (0, 0));
        assert_eq!(backend.seen.handshakes.load(Ordering::SeqCst), 4);
        // Each tunnel carried what was mapped to it.
        assert_eq!(backend.seen.ports.lock().unwrap().values().copied().collect::<Vec<_>>(), [250; 4]);
    });
}

#[test]
fn http2_tunnels_stand_ready_and_are_all_that_requests_need() {
    stand_ready(&["h2", "http/1.1"], "h2");
}

#[test]
fn http1_tunnels_stand_ready_and_are_all_that_requests_need() {
    stand_ready(&["http/1.1"], "http/1.1");
}

#[test]
fn sessions_without_a_tunnel_spread_over_all() {
    run(async {
        let (_authority, _backend, pool) = shop(&["h2"]).await;
        let mut chosen = [0; 4];
        for _ in 0..8 {
            let lease = pool.choose(None, Need::Any).unwrap();
            chosen[lease.slot()] += 1;
        }
        assert_eq!(chosen, [2; 4]);
    });
}

#[test]
fn a_request_that_comes_before_the_first_tunnel_waits_and_is_counted() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(authority::NAME, &["h2"], false)));
        let pool = TestPool::start(settings(&authority, backend.address));
        fetch(&pool, get("/")).await;
        let counters = pool.view().counters;
        assert_eq!((counters.waited, counters.handshakes_on_request_path), (1, 1));
    });
}

#[test]
fn every_tunnel_begins_with_a_proxy_header_where_the_backend_wants_one() {
    run(async {
        let authority = Authority::new();
        let mut options = Options::new(authority.server(authority::NAME, &["h2"], false));
        options.skipped = 16;
        let backend = Backend::start(options);
        let settings = Settings { proxy_protocol: true, ..settings(&authority, backend.address) };
        let pool = TestPool::start(settings);
        open(&pool, 4).await;
        fetch(&pool, get("/")).await;
        // Version 2, command LOCAL, no addresses (PROXY protocol, section 2.2).
        let header = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x20, 0, 0, 0];
        assert_eq!(*backend.seen.first_bytes.lock().unwrap(), vec![header.to_vec(); 4]);
    });
}

#[test]
fn a_pool_that_is_dropped_finishes_its_requests_and_closes_everything() {
    run(async {
        let (_authority, backend, pool) = shop(&["h2"]).await;
        let held = tokio::spawn(pool.choose(Some(2), Need::Any).unwrap().send(get("/hold")));
        until("the request arrives", || backend.seen.total() == 1).await;
        let mut standing = pool.standing();
        drop(pool);
        standing.wait_for(|now| *now == Standing { open: 0, draining: 1 }).await.unwrap();
        until("idle tunnels are closed", || backend.seen.live.load(Ordering::SeqCst) == 1).await;
        backend.release.add_permits(1);
        let response = held.await.unwrap().unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "..");
        until("the last tunnel is closed", || backend.seen.live.load(Ordering::SeqCst) == 0).await;
    });
}
