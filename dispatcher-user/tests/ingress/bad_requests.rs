//! Bad requests and what each gets, through TLS and all; none of them reaches a backend.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    authority::SHOP,
    browser::{Browser, empty, whole},
    run,
    stage::{Script, Stage},
};

/// Sends bytes, and returns everything that comes back.
async fn say(stage: &Stage, bytes: &str) -> String {
    let mut stream = Browser::new(stage, false).tls().await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    // Some servers forget the farewell of TLS after an error; this one must not.
    timeout(Duration::from_secs(20), stream.read_to_end(&mut heard)).await.unwrap().unwrap();
    String::from_utf8(heard).unwrap()
}

#[test]
fn http1_requests_of_two_meanings_get_400_with_a_reason_and_no_more_is_read() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        let post = |lines: &str, body: &str| format!("POST /order HTTP/1.1\r\nhost: {SHOP}\r\n{lines}\r\n\r\n{body}");
        for (request, reason) in [
            (post("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"), "beside a Transfer-Encoding"),
            (post("transfer-encoding: chunked\r\ncontent-length: 5", "0\r\n\r\n"), "beside a Transfer-Encoding"),
            (post("content-length: 5\r\ncontent-length: 5", "hello"), "more than one Content-Length"),
            (post("transfer-encoding: gzip, chunked", "0\r\n\r\n"), "not chunked alone"),
            (post("x-a: b\nx-c: d", ""), "bare line feed"),
            (post("transfer-encoding: chunked", "5 \r\nhello\r\n0\r\n\r\n"), "a chunk is malformed"),
            (post("transfer-encoding: chunked", "5\r\nhelloX0\r\n\r\n"), "a chunk is malformed"),
            (post("host: other.test", ""), "not one valid Host"),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "not one valid Host"),
            (format!("GET / HTTP/1.1\r\nhost: {SHOP}/x\r\n\r\n"), "not one valid Host"),
        ] {
            let answer =
                say(&stage, &format!("{request}GET /admin HTTP/1.1\r\nhost: {SHOP}\r\nconnection: close\r\n\r\n"))
                    .await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
            assert!(answer.contains(reason), "{request:?}: {answer}");
        }
        let bad = stage.service.counters.bad_requests.value() + stage.service.counters.bad_bodies.value();
        assert_eq!(bad, 10);
        // A bad Host leaves the bytes clear, so that the next request is answered; after the others nothing is.
        assert_eq!(stage.backends[0].seen.requests.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn what_is_not_passed_on_gets_its_status() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        let long = format!("GET /{} HTTP/1.1\r\nhost: {SHOP}\r\nconnection: close\r\n\r\n", "x".repeat(9_000));
        let large = format!("GET / HTTP/1.1\r\nhost: {SHOP}\r\nx: {}\r\n\r\n", "x".repeat(40_000));
        let trace = format!("TRACE / HTTP/1.1\r\nhost: {SHOP}\r\nconnection: close\r\n\r\n");
        let connect = format!("CONNECT {SHOP}:443 HTTP/1.1\r\nhost: {SHOP}\r\nconnection: close\r\n\r\n");
        let expect = format!("POST / HTTP/1.1\r\nhost: {SHOP}\r\nexpect: magic\r\nconnection: close\r\n\r\n");
        for (request, status) in [(long, 414), (large, 431), (trace, 405), (connect, 405), (expect, 417)] {
            let answer = say(&stage, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
        assert_eq!(stage.backends[0].seen.requests.load(Ordering::SeqCst), 0);
    });
}

/// An HTTP/2 client that sends what no library would.
struct Raw(tokio_rustls::client::TlsStream<tokio::net::TcpStream>);

impl Raw {
    async fn open(stage: &Stage) -> Self {
        let mut stream = Browser::new(stage, true).tls().await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        Self(stream)
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.0.write_all(&frame).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Waits for what a stream comes to: the status of its answer as HPACK has it, or the reason of its reset.
    async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let mut header = [0; 9];
            if timeout(Duration::from_secs(20), self.0.read_exact(&mut header)).await.unwrap().is_err() {
                return Outcome::Closed;
            }
            let length = usize::from(header[1]) << 8 | usize::from(header[2]);
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            let of = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            match header[3] {
                1 if of == stream => return Outcome::Answer(payload[0]),
                3 if of == stream => return Outcome::Reset(payload[3]),
                7 if payload[7] != 0 => return Outcome::GoAway(payload[7]),
                _ => {}
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answer(u8),
    Reset(u8),
    GoAway(u8),
    Closed,
}

/// A field as a literal that is not indexed (RFC 7541 section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(name.len()).unwrap()];
    bytes.extend(name.as_bytes());
    bytes.push(u8::try_from(value.len()).unwrap());
    bytes.extend(value.as_bytes());
    bytes
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

const HEAD: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", SHOP), (":path", "/x")];

/// `:status: 200` and `:status: 400` in HPACK's static table (RFC 7541 appendix A).
const OK: Outcome = Outcome::Answer(0x88);
const BAD: Outcome = Outcome::Answer(0x8c);
const PROTOCOL_ERROR: u8 = 1;

#[test]
fn http2_pseudo_header_tricks_are_refused() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        let with = |extra: &[(&str, &str)]| block(&[&HEAD[..], extra].concat());
        let without = |name: &str| block(&HEAD.into_iter().filter(|(each, _)| *each != name).collect::<Vec<_>>());
        let change = |name: &str, value: &'static str| {
            block(&HEAD.map(|(each, old)| if each == name { (each, value) } else { (each, old) }))
        };
        assert_eq!(outcome(&stage, &with(&[])).await, OK);
        let before = stage.backends[0].seen.requests.load(Ordering::SeqCst);
        for (what, block) in [
            ("two paths", with(&[(":path", "/y")])),
            ("two authorities", with(&[(":authority", "other.test")])),
            ("a pseudo-header behind a field", with(&[("x-a", "b"), (":path", "/y")])),
            ("an unknown pseudo-header", with(&[(":secret", "x")])),
            ("an answer's pseudo-header", with(&[(":status", "200")])),
            ("no path", without(":path")),
            ("no method", without(":method")),
            ("an empty path", change(":path", "")),
            ("a path with a space", change(":path", "/x HTTP/1.1")),
            ("a path with a line feed", change(":path", "/x\r\nhost: y")),
            ("a name in upper case", with(&[("X-Upper", "y")])),
            ("a value with a line feed", with(&[("x-a", "b\r\nx-evil: y")])),
            ("a name with a colon", with(&[("x:a", "b")])),
            ("connection", with(&[("connection", "keep-alive")])),
            ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
            ("upgrade", with(&[("upgrade", "h2c")])),
            ("te other than trailers", with(&[("te", "gzip")])),
            ("another host", with(&[("host", "other.test")])),
            ("a user in the authority", change(":authority", "user@shop.test")),
            ("a target that is no path", change(":path", "*")),
            ("two lengths", with(&[("content-length", "0"), ("content-length", "5")])),
        ] {
            let outcome = outcome(&stage, &block).await;
            let is_refused = matches!(outcome, Outcome::Reset(PROTOCOL_ERROR) | Outcome::GoAway(_)) || outcome == BAD;
            assert!(is_refused, "{what}: {outcome:?}");
        }
        assert_eq!(stage.backends[0].seen.requests.load(Ordering::SeqCst), before, "one reached the backend");
    });
}

/// What a request of this block comes to, on a connection of its own.
async fn outcome(stage: &Stage, block: &[u8]) -> Outcome {
    let mut raw = Raw::open(stage).await;
    raw.frame(1, 5, 1, block).await;
    raw.outcome(1).await
}

#[test]
fn an_http2_body_must_be_as_long_as_it_says() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        let head = [(":method", "POST"), (":scheme", "https"), (":authority", SHOP), (":path", "/length")];
        for (length, body, wanted) in [
            ("5", "hello", OK),
            ("4", "hello", Outcome::Reset(PROTOCOL_ERROR)),
            ("6", "hello", Outcome::Reset(PROTOCOL_ERROR)),
        ] {
            let mut raw = Raw::open(&stage).await;
            raw.frame(1, 4, 1, &block(&[&head[..], &[("content-length", length)]].concat())).await;
            raw.frame(0, 1, 1, body.as_bytes()).await;
            assert_eq!(raw.outcome(1).await, wanted, "{length}");
        }
        // A client that resets within the body, with NO_ERROR, has not sent it.
        let mut raw = Raw::open(&stage).await;
        raw.frame(1, 4, 1, &block(&head)).await;
        raw.frame(0, 0, 1, b"half an order").await;
        raw.frame(3, 0, 1, &[0; 4]).await;
        let mut other = Browser::new(&stage, true);
        other.get("/").await;
        let answered = stage.service.backends()[0].counters.answers(true);
        assert_eq!(answered[2], 2, "the whole one, and the last: {answered:?}");
    });
}

#[test]
fn a_connection_is_worth_as_much_after_a_refused_stream() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        let browser = Browser::new(&stage, true);
        let (mut connection, _) = browser.open().await;
        for _ in 0..3 {
            let request = browser.request(http::Method::TRACE, "/", empty());
            let answer = whole(connection.send(request).await.unwrap(), false).await.unwrap();
            assert_eq!(answer.status.as_u16(), 405);
            let answer = whole(connection.send(browser.request(http::Method::GET, "/", empty())).await.unwrap(), false)
                .await
                .unwrap();
            assert_eq!(answer.status.as_u16(), 200);
        }
    });
}
