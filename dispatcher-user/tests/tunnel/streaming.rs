//! Bodies flow both ways as fast as the slower side, and no faster.

use http::{HeaderMap, HeaderValue};
use http_body_util::{Full, StreamBody, channel::Channel};
use hyper::body::Frame;

use super::*;

const CHUNK: usize = 16 * 1024;

fn chunks(count: usize) -> TestBody {
    let chunk = Bytes::from(vec![7; CHUNK]);
    let frames = (0..count).map(move |_| Ok(Frame::data(chunk.clone())));
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

fn bodies_of_any_size_arrive_whole(alpn: &'static [&'static str]) {
    run(async move {
        let (_authority, backend, pool) = shop(alpn).await;
        for count in [1, 3, 64, 1000] {
            assert_eq!(fetch(&pool, post("/count", chunks(count))).await, (count * CHUNK).to_string());
            let mut body = send(&pool, get(&format!("/bytes/{}", count * CHUNK + 1))).await.unwrap().into_body();
            let mut read = 0;
            while let Some(frame) = body.frame().await {
                read += frame.unwrap().into_data().unwrap().len();
            }
            assert_eq!(read, count * CHUNK + 1);
        }
        let text = Full::new(Bytes::from("small")).map_err(|never| match never {}).boxed_unsync();
        assert_eq!(fetch(&pool, post("/echo", text)).await, "small");
        assert_eq!(fetch(&pool, post("/count", chunks(0))).await, "0");
        let head = Request::head(format!("https://{}/bytes/100", authority::NAME))
            .body(Empty::new().map_err(|never| match never {}).boxed_unsync());
        let response = send(&pool, head.unwrap()).await.unwrap();
        assert_eq!(response.headers()["content-length"], "100");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "");
        assert_eq!(pool.view().counters.opened, backend.seen.handshakes.load(Ordering::SeqCst) as u64);
        assert!(tunnels(&pool).iter().all(|tunnel| tunnel.streams == 0));
    });
}

#[test]
fn bodies_of_any_size_arrive_whole_on_http2() {
    bodies_of_any_size_arrive_whole(&["h2"]);
}

#[test]
fn bodies_of_any_size_arrive_whole_on_http1() {
    bodies_of_any_size_arrive_whole(&["http/1.1"]);
}

/// gRPC: what one side says depends on what the other said before, and trailers end it.
fn a_conversation_needs_no_end_of_the_request(alpn: &'static [&'static str]) {
    run(async move {
        let (_authority, _backend, pool) = shop(alpn).await;
        let (mut say, body) = Channel::<Bytes, io::Error>::new(1);
        let mut request = post("/echo", body.boxed_unsync());
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        request.headers_mut().insert("trailer", HeaderValue::from_static("grpc-status"));
        let response = send(&pool, request).await.unwrap();
        let mut heard = response.into_body();
        for number in 0..100 {
            let said = Bytes::from(format!("message {number}"));
            say.send_data(said.clone()).await.unwrap();
            assert_eq!(heard.frame().await.unwrap().unwrap().into_data().unwrap(), said);
        }
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        say.send_trailers(trailers.clone()).await.unwrap();
        drop(say);
        let last = heard.frame().await;
        if alpn == ["h2"] {
            assert_eq!(last.unwrap().unwrap().into_trailers().unwrap(), trailers);
            assert!(heard.frame().await.is_none());
        } else {
            // hyper's server sends trailers on HTTP/1.1 only if its answer announced them.
            assert!(last.is_none());
        }
        until("the tunnel is free", || tunnels(&pool).iter().all(|tunnel| tunnel.streams == 0)).await;
    });
}

#[test]
fn a_conversation_needs_no_end_of_the_request_on_http2() {
    a_conversation_needs_no_end_of_the_request(&["h2"]);
}

#[test]
fn a_conversation_needs_no_end_of_the_request_on_http1() {
    a_conversation_needs_no_end_of_the_request(&["http/1.1"]);
}

/// The backend is never asked for much more than the client took: the window, and what sockets hold.
#[test]
fn a_client_that_reads_slowly_slows_the_backend() {
    run(async {
        let (_authority, backend, pool) = shop(&["h2"]).await;
        // hyper's server keeps up to 400 KB of a response, and each TLS side a record.
        const AHEAD: u64 = 256 * 1024 + 512 * 1024;
        let mut body = send(&pool, get("/bytes/20000000")).await.unwrap().into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().unwrap().len() as u64;
            let ahead = backend.seen.produced.load(Ordering::SeqCst) - read;
            assert!(ahead <= AHEAD, "{ahead} bytes ahead of {read}");
        }
        assert_eq!(read, 20_000_000);
    });
}

/// A response that nobody reads holds neither the tunnel's window nor anybody else's response.
#[test]
fn clients_that_do_not_read_hold_up_nobody_on_their_tunnel() {
    run(async {
        let authority = Authority::new();
        let backend = Backend::start(Options::new(authority.server(authority::NAME, &["h2"], false)));
        let pool = TestPool::start(Settings { kept: 1, ..settings(&authority, backend.address) });
        open(&pool, 1).await;
        let mut unread = Vec::new();
        for _ in 0..100 {
            unread.push(send(&pool, get("/bytes/10000000")).await.unwrap());
        }
        assert_eq!(fetch(&pool, get("/bytes/1000000")).await.len(), 1_000_000);
        assert_eq!(tunnels(&pool)[0].streams, 100);
        drop(unread);
        until("all is cancelled", || tunnels(&pool)[0].streams == 0).await;
    });
}

/// A client is never read much further than the backend takes.
#[test]
fn a_backend_that_reads_slowly_slows_the_client() {
    run(async {
        let (_authority, backend, pool) = shop(&["h2"]).await;
        let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let chunk = Bytes::from(vec![7; CHUNK]);
        // `/hold` reads nothing of its body.
        let frames = futures_util::stream::repeat_with(move || {
            counted.fetch_add(CHUNK as u64, Ordering::SeqCst);
            Ok(Frame::data(chunk.clone()))
        });
        let body = StreamBody::new(frames).boxed_unsync();
        let mut request = tokio::spawn(pool.choose(Some(0), Need::Any).unwrap().send(post("/hold", body)));
        until("the request arrives", || backend.seen.total() == 1).await;
        let other = fetch(&pool, get("/bytes/1000000")).await;
        assert_eq!(other.len(), 1_000_000);
        // hyper's server gives each request a window of 1 MiB.
        let ahead = sent.load(Ordering::SeqCst);
        assert!(ahead <= 1024 * 1024 + 256 * 1024, "{ahead} bytes were read of the client");
        backend.release.add_permits(1);
        let response = (&mut request).await.unwrap().unwrap();
        // Whoever answers without the whole body wants no more of it.
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "..");
        until("the tunnel is free", || tunnels(&pool).iter().all(|tunnel| tunnel.streams == 0)).await;
        assert_eq!(pool.view().counters.opened, 4);
    });
}

#[test]
fn an_answer_that_comes_before_the_body_is_passed_on() {
    run(async {
        let (_authority, _backend, pool) = shop(&["h2"]).await;
        let response = send(&pool, post("/early", chunks(10_000))).await.unwrap();
        assert_eq!(response.status(), 413);
        drop(response);
        until("the tunnel is free", || tunnels(&pool).iter().all(|tunnel| tunnel.streams == 0)).await;
        assert_eq!(fetch(&pool, get("/")).await.len(), "GET ".len() + format!("https://{}/", authority::NAME).len());
    });
}
