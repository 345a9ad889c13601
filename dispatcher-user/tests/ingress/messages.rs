//! Messages go through as they are, but for what is of one connection or in our name.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    authority::SHOP,
    browser::{Body, Browser, bytes, empty, whole},
    run,
    stage::{Script, Stage},
};

/// Every pair of what clients and backends may speak.
async fn each_pair(test: impl AsyncFn(&Stage, Browser)) {
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let stage = Stage::set(Script { alpn, ..Script::default() }).await;
        for is_http2 in [false, true] {
            test(&stage, Browser::new(&stage, is_http2)).await;
        }
    }
}

#[test]
fn a_backend_sees_who_the_client_is_and_nothing_that_the_client_made_up() {
    run(async {
        each_pair(async |_stage, mut browser| {
            browser.get("/cart").await;
            let mut request = browser.request(Method::GET, "/headers?a=b", empty());
            for (name, value) in [
                ("x-session-id", "stolen"),
                ("x-forwarded-for", "1.2.3.4"),
                ("forwarded", "for=1.2.3.4"),
                ("x-real-ip", "1.2.3.4"),
                ("accept", "text/plain"),
            ] {
                request.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            let answer = browser.ask(request).await.unwrap();
            let (first, rest) = answer.text().split_once('\n').unwrap();
            assert!(first.starts_with("GET ") && first.ends_with("/headers?a=b"), "{first}");
            let mut lines: Vec<&str> = rest.split('\n').filter(|line| !line.starts_with("host:")).collect();
            lines.sort_unstable();
            let id = lines.iter().find_map(|line| line.strip_prefix("x-session-id: ")).unwrap();
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
            let wanted = [
                "accept: text/plain",
                "cookie: theme=dark",
                "forwarded: for=127.0.0.1;proto=https",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-proto: https",
            ];
            assert_eq!(lines[..5], wanted, "{lines:?}");
            assert_eq!(lines.len(), 6, "{lines:?}");
        })
        .await;
    });
}

#[test]
fn head_and_empty_answers_have_no_body_and_keep_their_fields() {
    run(async {
        each_pair(async |_stage, mut browser| {
            let request = browser.request(Method::HEAD, "/bytes/1000", empty());
            let answer = browser.ask(request).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
            assert_eq!(answer.headers["content-length"], "1000");
            for code in [204, 304, 404, 500] {
                let answer = browser.get(&format!("/status/{code}")).await;
                assert_eq!((answer.status.as_u16(), answer.body.len()), (code, 0));
                assert_eq!(answer.headers["x-backend"].len(), 2);
            }
        })
        .await;
    });
}

#[test]
fn many_requests_share_a_connection() {
    run(async {
        each_pair(async |_stage, browser| {
            let (mut connection, _) = browser.open().await;
            for size in [0, 1, 200, 20_000, 300_000] {
                let response = connection.send(browser.request(Method::GET, &format!("/bytes/{size}"), empty())).await;
                let answer = whole(response.unwrap(), false).await.unwrap();
                assert_eq!((answer.status.as_u16(), answer.body.len()), (200, size));
                assert_eq!(answer.headers["content-length"], size.to_string());
            }
        })
        .await;
    });
}

#[test]
fn grpc_trailers_pass_both_ways() {
    run(async {
        let stage = Stage::set(Script { alpn: &["h2"], ..Script::default() }).await;
        let mut browser = Browser::new(&stage, true);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("abc"));
        let frames = [Ok(Frame::data(Bytes::from_static(b"hello"))), Ok(Frame::trailers(trailers))];
        let body: Body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let mut request = browser.request(Method::POST, "/trailers", body);
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let answer = browser.ask(request).await.unwrap();
        assert_eq!(answer.text(), "message");
        assert_eq!(answer.trailers["grpc-status"], "0");
        assert_eq!(answer.trailers["x-length"], "5");
        assert_eq!(answer.trailers["x-sum"], "abc");
    });
}

#[test]
fn a_client_that_expects_100_continue_is_told_to_go_on() {
    run(async {
        for alpn in [&["h2"][..], &["http/1.1"]] {
            let stage = Stage::set(Script { alpn, ..Script::default() }).await;
            let mut stream = Browser::new(&stage, false).tls().await.unwrap();
            let head = format!(
                "POST /length HTTP/1.1\r\nhost: {SHOP}\r\ncontent-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut told = [0; 25];
            stream.read_exact(&mut told).await.unwrap();
            assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
            stream.write_all(b"hello").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("5"), "{answer}");
        }
    });
}

#[test]
fn a_long_poll_is_waited_for() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        let mut browser = Browser::new(&stage, true);
        let waiting = tokio::spawn(async move { browser.get("/wait").await });
        let seen = &stage.backends[0].seen;
        crate::until("the request", || seen.requests.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
        assert!(!waiting.is_finished());
        seen.go_on.add_permits(1);
        assert_eq!(waiting.await.unwrap().text(), "went on");
    });
}

#[test]
fn an_http_1_0_client_gets_its_answer_and_a_close() {
    run(async {
        let stage = Stage::set(Script::default()).await;
        let mut stream = Browser::new(&stage, false).tls().await.unwrap();
        stream.write_all(format!("GET /bytes/20000 HTTP/1.0\r\nhost: {SHOP}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200 OK"), "{head}");
        assert_eq!(body.len(), 20_000);
    });
}

#[test]
fn an_absolute_target_counts_and_not_the_host_beside_it() {
    run(async {
        let stage = Stage::set(Script { alpn: &["http/1.1"], ..Script::default() }).await;
        let browser = Browser::new(&stage, false);
        let (mut connection, _) = browser.open().await;
        let request: Request<Body> =
            Request::builder().uri("https://first.test/headers").header("host", "second.test").body(bytes("")).unwrap();
        let answer = whole(connection.send(request).await.unwrap(), false).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.text().contains("host: first.test"), "{}", answer.text());
    });
}
