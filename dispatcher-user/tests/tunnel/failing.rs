//! Backends that refuse, break, fall silent or go away.

use dispatcher_user::tunnel::error::{Cause, Progress};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;

#[test]
fn a_backend_that_comes_back_is_dialled_again() {
    for alpn in [&["h2"], &["http/1.1"]] {
        run(async {
            let (authority, backend, pool) = shop(alpn).await;
            let address = backend.address;
            let held = tokio::spawn(pool.choose(Some(0), Need::Any).unwrap().send(get("/hold")));
            until("the request arrives", || backend.seen.total() == 1).await;
            drop(backend);
            // What was under way may have been carried out.
            assert_eq!(held.await.unwrap().unwrap_err().progress, Progress::Unknown);
            until("every slot is down", || pool.view().tunnels.iter().all(|each| each.state == TunnelState::Down))
                .await;
            let error = pool.choose(None, Need::Any).unwrap_err().to_string();
            assert!(error.contains("Connection refused"), "{error}");
            let counters = pool.view().counters;
            assert_eq!(counters.lost + counters.left, 4, "{counters:?}");
            let waiting =
                tokio::spawn(async move { (pool.lease(Some(3), Need::Any, BOUND / 4).await.unwrap().slot(), pool) });
            let tls = authority.server(authority::NAME, alpn, false);
            let _again = Backend::start_at(address, Options::new(tls));
            let (_slot, pool) = waiting.await.unwrap();
            open(&pool, 4).await;
            fetch(&pool, get("/")).await;
            assert!(pool.view().counters.failed >= 4);
        });
    }
}

/// A backend at the level of frames: `script` has each connection.
async fn scripted<S, F>(kept: usize, script: S) -> (Authority, TestPool)
where
    S: Fn(h2::server::Connection<TlsStream<TcpStream>, Bytes>, usize) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let authority = Authority::new();
    let tls = TlsAcceptor::from(authority.server(authority::NAME, &["h2"], false));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = TestPool::start(Settings { kept, ..settings(&authority, listener.local_addr().unwrap()) });
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = tls.accept(stream).await else { continue };
            let Ok(connection) = h2::server::handshake(stream).await else { continue };
            tokio::spawn(script(connection, number));
        }
    });
    open(&pool, kept).await;
    (authority, pool)
}

/// A backend that answers nothing but by resetting.
async fn resetting(reason: h2::Reason) -> (Authority, TestPool) {
    scripted(1, move |mut connection, _| async move {
        while let Some(Ok((_request, mut respond))) = connection.accept().await {
            respond.send_reset(reason);
        }
    })
    .await
}

#[test]
fn a_refused_request_may_be_sent_again_whatever_it_is() {
    run(async {
        let (_authority, pool) = resetting(h2::Reason::REFUSED_STREAM).await;
        let error = send(&pool, get("/")).await.unwrap_err();
        assert_eq!(error.progress, Progress::Refused);
        assert!(error.progress.is_safe_to_repeat());
        assert!(matches!(error.cause, Cause::Reset(_)), "{error}");
        let (_authority, pool) = resetting(h2::Reason::INTERNAL_ERROR).await;
        let error = send(&pool, get("/")).await.unwrap_err();
        assert_eq!(error.progress, Progress::Unknown);
        assert!(matches!(error.cause, Cause::Reset(_)), "{error}");
        // A reset is about one request; the tunnel stands.
        assert_eq!((tunnels(&pool)[0].streams, pool.view().counters.opened), (0, 1));
    });
}

/// GOAWAY names the last request that was looked at: those after it may be sent again, those before it are answered.
#[test]
fn requests_beyond_a_goaway_may_be_sent_again() {
    run(async {
        let release = Arc::new(tokio::sync::Semaphore::new(0));
        let released = Arc::clone(&release);
        let (_authority, pool) = scripted(1, move |mut connection, number| {
            let released = Arc::clone(&released);
            async move {
                let mut first = None;
                while let Some(Ok((_request, mut respond))) = connection.accept().await {
                    if number > 0 {
                        respond.send_response(Response::new(()), true).unwrap();
                    } else if first.is_none() {
                        first = Some(respond);
                        // Nothing after the first is looked at. h2 names it in the frame.
                        connection.graceful_shutdown();
                        let mut respond = first.take().unwrap();
                        let released = Arc::clone(&released);
                        tokio::spawn(async move {
                            released.acquire().await.unwrap().forget();
                            respond.send_response(Response::new(()), true).unwrap();
                        });
                        first = None;
                    }
                }
            }
        })
        .await;
        let first = tokio::spawn(pool.choose(None, Need::Any).unwrap().send(get("/first")));
        // The tunnel takes no more, and another is opened beside it.
        standing(&pool, Standing { open: 1, draining: 1 }).await;
        assert_eq!(pool.view().counters.left, 1);
        assert_eq!(send(&pool, get("/second")).await.unwrap().status(), 200);
        release.add_permits(1);
        assert_eq!(first.await.unwrap().unwrap().status(), 200);
        open(&pool, 1).await;
        let counters = pool.view().counters;
        assert_eq!((counters.opened, counters.lost, counters.failed), (2, 0, 0), "{counters:?}");
    });
}

/// A host that is cut off closes nothing; pings find it out.
#[test]
fn a_backend_that_falls_silent_loses_its_tunnels() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(authority::NAME, &["h2"], false)));
        let cable = Cable::new(backend.address).await;
        let settings = Settings {
            keep_alive: Duration::from_millis(50),
            keep_alive_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_millis(500),
            ..settings(&authority, cable.address)
        };
        let pool = TestPool::start(settings);
        open(&pool, 4).await;
        until("pings are answered", || tunnels(&pool).iter().all(|tunnel| tunnel.round_trip_us > Some(0))).await;
        let held = tokio::spawn(pool.choose(Some(0), Need::Any).unwrap().send(get("/hold")));
        until("the request arrives", || backend.seen.total() == 1).await;
        cable.pulled.send_replace(true);
        assert_eq!(held.await.unwrap().unwrap_err().progress, Progress::Unknown);
        until("every slot is down", || pool.view().tunnels.iter().all(|each| each.state == TunnelState::Down)).await;
        assert_eq!(pool.view().counters.unanswered_pings, 4);
        cable.pulled.send_replace(false);
        open(&pool, 4).await;
        fetch(&pool, get("/")).await;
    });
}

/// Passes bytes on, until it is pulled.
struct Cable {
    address: SocketAddr,
    pulled: tokio::sync::watch::Sender<bool>,
}

impl Cable {
    async fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pulled = tokio::sync::watch::Sender::new(false);
        let watched = pulled.clone();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let mut pulled = watched.subscribe();
                tokio::spawn(async move {
                    if *pulled.borrow() {
                        // It stays open and says nothing, until the dialler gives up.
                        return near.readable().await.unwrap();
                    }
                    let far = TcpStream::connect(to).await.unwrap();
                    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
                        (near.into_split(), far.into_split());
                    let both = async {
                        tokio::join!(
                            tokio::io::copy(&mut near_in, &mut far_out),
                            tokio::io::copy(&mut far_in, &mut near_out)
                        )
                    };
                    tokio::select! {
                        _ = both => {}
                        _ = async { pulled.wait_for(|pulled| *pulled).await.map(|_| ()) } => {
                            // Held open, and silent.
                            timeout(BOUND, std::future::pending::<()>()).await.ok();
                        }
                    }
                });
            }
        });
        Self { address, pulled }
    }
}

/// A request that HTTP/2 cannot carry is refused here and not by the backend.
#[test]
fn a_request_that_cannot_be_written_is_not_sent() {
    run(async {
        let (_authority, backend, pool) = shop(&["h2"]).await;
        let mut request = get("/");
        *request.uri_mut() = "/".parse().unwrap();
        let error = send(&pool, request).await.unwrap_err();
        assert_eq!(
            (error.progress, error.to_string()),
            (Progress::Unsent, "the request cannot be sent: it names no host".to_owned())
        );
        let mut request = get("/");
        request.headers_mut().insert("connection", "close".parse().unwrap());
        let error = send(&pool, request).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Malformed(_)), "{error}");
        assert_eq!(backend.seen.requests.load(Ordering::SeqCst), 0);
        assert!(tunnels(&pool).iter().all(|tunnel| tunnel.streams == 0));
    });
}

/// A tunnel that ended after it was chosen: nothing was sent, and the request comes back whole.
#[test]
fn a_request_that_finds_its_tunnel_closed_comes_back() {
    for alpn in [&["h2"], &["http/1.1"]] {
        run(async {
            let (_authority, backend, pool) = shop(alpn).await;
            let lease = pool.choose(Some(0), Need::Any).unwrap();
            drop(backend);
            until("every slot is down", || pool.view().tunnels.iter().all(|each| each.state == TunnelState::Down))
                .await;
            let error = lease.send(get("/again")).await.unwrap_err();
            assert_eq!(error.progress, Progress::Unsent);
            assert_eq!(error.request.unwrap().uri().path(), "/again");
        });
    }
}
