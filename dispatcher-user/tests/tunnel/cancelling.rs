//! Clients that give up cost the backend's tunnels as little as can be.

use dispatcher_user::tunnel::settings::Remainder;
use http_body_util::{StreamBody, channel::Channel};
use hyper::body::Frame;

use super::*;

/// Sends a request and gives up once it has arrived.
async fn give_up(pool: &TestPool, backend: &Backend, slot: usize, path: &str) {
    let before = backend.seen.requests.load(Ordering::SeqCst);
    let request = tokio::spawn(pool.choose(Some(slot), Need::Any).unwrap().send(get(path)));
    until("the request arrives", || backend.seen.requests.load(Ordering::SeqCst) > before).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
}

#[test]
fn http2_cancels_one_request_and_leaves_the_others_alone() {
    run(async {
        let (_authority, backend, pool) = shop(&["h2"]).await;
        let other = tokio::spawn(pool.choose(Some(0), Need::Any).unwrap().send(get("/hold")));
        give_up(&pool, &backend, 0, "/hold").await;
        until("the backend is told", || backend.seen.abandoned.load(Ordering::SeqCst) == 1).await;
        backend.release.add_permits(1);
        assert_eq!(other.await.unwrap().unwrap().status(), 200);
        until("the tunnel is free", || tunnels(&pool)[0].streams == 0).await;
        assert_eq!(pool.view().counters.opened, 4);
    });
}

#[test]
fn http2_cancels_a_response_that_nobody_reads_any_more() {
    run(async {
        let (_authority, backend, pool) = shop(&["h2"]).await;
        let mut body = send(&pool, get("/bytes/1000000000")).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        until("the tunnel is free", || tunnels(&pool).iter().all(|tunnel| tunnel.streams == 0)).await;
        until("the backend stops", || backend.seen.total() == 0).await;
        assert!(backend.seen.produced.load(Ordering::SeqCst) < 100_000_000);
    });
}

#[test]
fn an_http1_tunnel_outlives_a_client_that_gave_up() {
    run(async {
        let (_authority, backend, pool) = shop(&["http/1.1"]).await;
        for round in 1..=10 {
            give_up(&pool, &backend, 0, "/hold/10000").await;
            // Nobody gets the tunnel before the backend has finished.
            assert_eq!(tunnels(&pool)[0].streams, 1);
            assert_ne!(pool.choose(Some(0), Need::Any).unwrap().slot(), 0);
            backend.release.add_permits(1);
            until("the tunnel is free", || tunnels(&pool)[0].streams == 0).await;
            let lease = pool.choose(Some(0), Need::Any).unwrap();
            assert_eq!(lease.slot(), 0);
            let body = lease.send(get("/a")).await.unwrap().into_body();
            assert_eq!(body.collect().await.unwrap().to_bytes(), "GET /a");
            assert_eq!(pool.view().counters.cancelled_and_kept, round);
        }
        assert_eq!(pool.view().counters.opened, 4);
        assert_eq!(backend.seen.handshakes.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn an_http1_tunnel_outlives_a_response_of_which_little_is_left() {
    run(async {
        let (_authority, _backend, pool) = shop(&["http/1.1"]).await;
        for round in 1..=10 {
            let lease = pool.choose(Some(0), Need::Any).unwrap();
            assert_eq!(lease.slot(), 0);
            let mut body = lease.send(get("/bytes/60000")).await.unwrap().into_body();
            body.frame().await.unwrap().unwrap();
            drop(body);
            until("the tunnel is free", || tunnels(&pool)[0].streams == 0).await;
            assert_eq!(pool.view().counters.cancelled_and_kept, round);
        }
        assert_eq!(pool.view().counters.opened, 4);
    });
}

/// The rest of the answer is long, or late: a new tunnel is cheaper.
fn is_given_up(remainder: Remainder, path: &'static str, permits: usize) {
    run(async move {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(authority::NAME, &["http/1.1"], false)));
        let pool = TestPool::start(Settings { remainder, ..settings(&authority, backend.address) });
        open(&pool, 4).await;
        let before = tunnels(&pool)[0].context.as_ref().unwrap().local;
        give_up(&pool, &backend, 0, path).await;
        backend.release.add_permits(permits);
        until("the slot has another tunnel", || {
            let now = tunnels(&pool);
            now.len() == 4 && now[0].context.as_ref().unwrap().local != before
        })
        .await;
        let counters = pool.view().counters;
        assert_eq!((counters.cancelled_and_kept, counters.cancelled_and_closed), (0, 1));
        assert_eq!((counters.left, counters.lost, counters.failed), (0, 0, 0), "{counters:?}");
    });
}

#[test]
fn an_http1_tunnel_is_given_up_if_the_rest_is_long() {
    let remainder = Remainder { bytes: 1000, time: Duration::from_secs(30) };
    is_given_up(remainder, "/hold/1001", 1);
}

#[test]
fn an_http1_tunnel_is_given_up_if_the_rest_is_late() {
    let remainder = Remainder { bytes: 1000, time: Duration::from_millis(50) };
    is_given_up(remainder, "/hold/10", 0);
}

/// What a client does to its own request is not the backend's fault, and costs no other request.
#[test]
fn a_body_that_breaks_off_cancels_its_request() {
    run(async {
        let (_authority, backend, pool) = shop(&["h2"]).await;
        let frames = [Ok(Frame::data(Bytes::from("a"))), Err(io::Error::other("the client is gone"))];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let error = send(&pool, post("/count", body)).await.unwrap_err();
        assert_eq!(error.to_string(), "the client's body broke off: the client is gone");
        assert!(!error.progress.is_safe_to_repeat());
        until("the backend is told", || backend.seen.total() == 0).await;
        // And after the answer began.
        let (mut say, body) = Channel::<Bytes, io::Error>::new(1);
        let mut heard = send(&pool, post("/echo", body.boxed_unsync())).await.unwrap().into_body();
        say.send_data(Bytes::from("a")).await.unwrap();
        assert_eq!(heard.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        say.abort(io::Error::other("the client is gone"));
        until("the tunnel is free", || {
            let _ = &heard;
            tunnels(&pool).iter().all(|tunnel| tunnel.streams <= 1)
        })
        .await;
        drop(heard);
        until("the tunnel is free", || tunnels(&pool).iter().all(|tunnel| tunnel.streams == 0)).await;
        assert_eq!(pool.view().counters.opened, 4);
    });
}
