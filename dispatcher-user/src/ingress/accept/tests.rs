//! What a client meets at the edge, over sockets of the loopback: limits, PROXY headers, bad requests, farewells.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONNECTION};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Notify, Semaphore},
    task::JoinSet,
};

use super::*;

/// Answers with who asked, after reading the whole body; waits before `/wait` until told to go on.
#[derive(Default)]
struct Mirror {
    arrived: Notify,
    go_on: Semaphore0,
}

/// A semaphore that begins with nothing.
struct Semaphore0(Semaphore);

impl Default for Semaphore0 {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Handler for Mirror {
    type Body = Full<Bytes>;

    async fn handle(self: Arc<Self>, connection: Arc<Connection>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        connection.request_begins();
        let path = request.uri().path().to_owned();
        let is_bad = connection.fault().is_some() || request.into_body().collect().await.is_err();
        if path == "/wait" {
            self.arrived.notify_one();
            self.go_on.0.acquire().await.unwrap().forget();
        }
        let text = format!("{} to {}", connection.peer, connection.local);
        connection.request_ends(clock::monotonic_ns());
        let mut response = Response::new(Full::from(text));
        if is_bad || connection.fault().is_some() {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("close"));
        }
        response
    }
}

struct Fixture {
    edge: Arc<Edge<Mirror>>,
    handler: Arc<Mirror>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Fixture {
    fn start(limits: LimitsSpec, proxies: &[&str]) -> Self {
        let handler = Arc::new(Mirror::default());
        let proxies = proxies.iter().map(|net| net.parse().unwrap()).collect();
        let edge = Arc::new(Edge::new(None, limits, proxies, Arc::clone(&handler)));
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&edge).accept(listener, stopped));
        tasks.spawn(Arc::clone(&edge).sweep());
        Self { edge, handler, address, stop, tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of their own, and returns everything that comes back until its end.
    async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        hear(&mut stream).await
    }
}

/// What comes until the end of a connection, be it reset.
async fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut part = [0; 1024];
    while let Ok(Ok(length @ 1..)) = timeout(Duration::from_secs(20), stream.read(&mut part)).await {
        heard.extend(&part[..length]);
    }
    String::from_utf8(heard).unwrap()
}

const GET: &str = "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";

fn proxied(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(source);
    header.extend([203, 0, 113, 10]);
    header.extend(40_000_u16.to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header
}

#[tokio::test]
async fn a_client_is_who_the_network_says() {
    let fixture = Fixture::start(LimitsSpec::default(), &["198.51.100.0/24"]);
    let mut stream = fixture.connect().await;
    let from = stream.local_addr().unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert!(hear(&mut stream).await.ends_with(&format!("{from} to {}", fixture.address)));
}

#[tokio::test]
async fn a_header_of_a_trusted_proxy_says_who_the_client_is() {
    let fixture = Fixture::start(LimitsSpec::default(), &["127.0.0.0/8"]);
    let answer = fixture.say([&proxied([192, 0, 2, 7])[..], GET.as_bytes()].concat()).await;
    assert!(answer.ends_with("192.0.2.7:40000 to 203.0.113.10:443"), "{answer}");
    // From there a header is not only believed but required.
    assert_eq!(fixture.say(GET).await, "");
    assert_eq!(fixture.edge.counters.proxy_header.value(), 1);
}

#[tokio::test]
async fn a_header_of_anybody_else_is_a_bad_request() {
    let fixture = Fixture::start(LimitsSpec::default(), &["198.51.100.0/24"]);
    let answer = fixture.say([&proxied([192, 0, 2, 7])[..], GET.as_bytes()].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_source_gets_no_more_connections_than_one_may_have() {
    let limits = LimitsSpec { connections_per_source: 2, connections: 3, ..LimitsSpec::default() };
    let fixture = Fixture::start(limits, &["127.0.0.0/8"]);
    let mut standing = Vec::new();
    for source in [[192, 0, 2, 1], [192, 0, 2, 1], [192, 0, 2, 2]] {
        let mut stream = fixture.connect().await;
        stream.write_all(&proxied(source)).await.unwrap();
        // Only what was answered has surely been counted.
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        standing.push(stream);
    }
    let once_more = |source| fixture.say([&proxied(source)[..], GET.as_bytes()].concat());
    assert_eq!(once_more([192, 0, 2, 3]).await, "");
    assert_eq!(fixture.edge.counters.refused_full.value(), 1);
    fixture.edge.change(LimitsSpec { connections: 4, ..limits }, vec!["127.0.0.0/8".parse().unwrap()]);
    assert_eq!(once_more([192, 0, 2, 1]).await, "");
    assert_eq!(fixture.edge.counters.refused_source.value(), 1);
    assert!(once_more([192, 0, 2, 2]).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_slow_header_and_an_idle_client_are_cut_off() {
    let short = Duration::from_millis(200);
    let limits = LimitsSpec { header_time: short, idle: short, ..LimitsSpec::default() };
    let fixture = Fixture::start(limits, &[]);
    assert_eq!(fixture.say("GET / HTTP/1.1\r\nhost: sh").await, "");
    assert_eq!(fixture.edge.counters.slow_header.value(), 1);
    let answer = fixture.say("GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(fixture.edge.counters.idle.value(), 1);
}

#[tokio::test]
async fn bytes_of_two_meanings_are_answered_with_400_and_a_close() {
    let fixture = Fixture::start(LimitsSpec::default(), &[]);
    let post = |lines: &str, body: &str| format!("POST / HTTP/1.1\r\nhost: shop\r\n{lines}\r\n\r\n{body}");
    for request in [
        post("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
        post("transfer-encoding: chunked\r\ncontent-length: 5", "0\r\n\r\n"),
        post("content-length: 5\r\ncontent-length: 5", "hello"),
        post("content-length: 5\r\ncontent-length: 6", "hello!"),
        post("content-length: 5 ", "hello").replace("5 \r", "5x\r"),
        post("transfer-encoding: chunked", "5 \r\nhello\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked", "5\nhello\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked", "5\r\nhelloX0\r\n\r\n"),
        post("transfer-encoding: gzip, chunked", "0\r\n\r\n"),
        post("transfer-encoding: identity", ""),
        post("x-a: b\nx-c: d", ""),
        post("x-a: b\r\n folded", ""),
        post("x-a : b", ""),
        post("x\0: b", ""),
        "GET / HTTP/1.1\nhost: shop\n\n".to_owned(),
        "GET  / HTTP/1.1\r\nhost: shop\r\n\r\n".to_owned(),
        "GET / HTTP/3.0\r\nhost: shop\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
    ] {
        let answer = fixture.say(format!("{request}GET /admin HTTP/1.1\r\nhost: shop\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn http2_that_was_not_agreed_on_is_not_spoken() {
    let fixture = Fixture::start(LimitsSpec::default(), &[]);
    assert_eq!(fixture.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
}

#[tokio::test]
async fn heads_that_are_too_large_are_answered_with_431() {
    let limits = LimitsSpec { header_bytes: 8 * 1024, header_count: 20, ..LimitsSpec::default() };
    let fixture = Fixture::start(limits, &[]);
    let large = format!("GET / HTTP/1.1\r\nhost: shop\r\nx: {}\r\n\r\n", "x".repeat(9 * 1024));
    assert!(fixture.say(large).await.starts_with("HTTP/1.1 431 "));
    let endless = format!("GET / HTTP/1.1\r\nhost: shop\r\nx: {}", "x".repeat(200 * 1024));
    assert!(fixture.say(endless).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\nhost: shop\r\n{}\r\n", "x: y\r\n".repeat(21));
    assert!(fixture.say(many).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn what_is_in_flight_is_answered_before_the_end() {
    let mut fixture = Fixture::start(LimitsSpec::default(), &[]);
    let mut busy = fixture.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    fixture.handler.arrived.notified().await;
    let mut idle = fixture.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    idle.read_exact(&mut [0; 12]).await.unwrap();
    fixture.stop.send_replace(true);
    let edge = Arc::clone(&fixture.edge);
    fixture.tasks.spawn(async move { edge.end(Duration::from_secs(60)).await });
    hear(&mut idle).await;
    fixture.handler.go_on.0.add_permits(1);
    let answer = hear(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    fixture.edge.registry.empty().await;
    assert!(TcpStream::connect(fixture.address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn who_has_just_come_may_ask_once_before_the_end() {
    let mut fixture = Fixture::start(LimitsSpec::default(), &[]);
    let (mut asking, mut silent) = (fixture.connect().await, fixture.connect().await);
    while fixture.edge.registry.connections().len() < 2 {
        tokio::task::yield_now().await;
    }
    fixture.stop.send_replace(true);
    fixture.edge.registry.give(Order::Drain);
    // Their tasks hear of it before the request comes.
    tokio::task::yield_now().await;
    asking.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let answer = hear(&mut asking).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(hear(&mut silent).await, "");
    let edge = Arc::clone(&fixture.edge);
    fixture.tasks.spawn(async move { edge.end(Duration::from_secs(60)).await });
    fixture.edge.registry.empty().await;
}

#[tokio::test]
async fn whoever_does_not_finish_in_time_is_cut_off() {
    let fixture = Fixture::start(LimitsSpec::default(), &[]);
    let mut busy = fixture.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    fixture.handler.arrived.notified().await;
    fixture.edge.end(Duration::from_millis(50)).await;
    assert_eq!(hear(&mut busy).await, "");
    assert_eq!(fixture.edge.census.count(), 0);
}

/// An HTTP/2 connection, its frames written by hand.
async fn http2(fixture: &Fixture) -> TcpStream {
    // Without TLS there is no ALPN: the connection is served as if it had agreed on h2.
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let edge = Arc::clone(&fixture.edge);
    let connection = Arc::new(Connection::new(peer, fixture.address, clock::monotonic_ns()));
    tokio::spawn(async move {
        let _row = edge.registry.enter(&connection);
        let rules = edge.rules.load_full();
        rules.http.serve(stream, Alpn::H2, connection, Arc::clone(&edge.handler)).await;
    });
    client
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The connection's preface and empty settings.
fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat()
}

/// The types of all frames until the connection's end, which must come.
async fn frames(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut header = [0; 9];
    loop {
        match timeout(Duration::from_secs(20), stream.read_exact(&mut header)).await.expect("the connection stays open")
        {
            Ok(_) => {
                let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
                if stream.read_exact(&mut payload).await.is_err() {
                    return frames;
                }
                frames.push((header[3], payload));
            }
            Err(_) => return frames,
        }
    }
}

/// A request's block: `:method: GET`, `:scheme: https`, `:path: /wait`, `:authority: shop`.
const BLOCK: &[u8] = b"\x82\x87\x04\x05/wait\x01\x04shop";

#[tokio::test]
async fn floods_of_frames_end_the_connection() {
    let fixture = Fixture::start(LimitsSpec::default(), &[]);
    let ping = frame(6, 0, 0, &[0; 8]);
    let settings = frame(4, 0, 0, &[]);
    let reset_streams: Vec<u8> = (0..1_000)
        .flat_map(|number| [frame(1, 5, 2 * number + 1, BLOCK), frame(3, 0, 2 * number + 1, &[0, 0, 0, 8])].concat())
        .collect();
    let continuations = [frame(1, 1, 1, BLOCK), frame(9, 0, 1, b"\x00\x01x\x01y").repeat(20_000)].concat();
    let priorities = frame(2, 0, 1, &[0, 0, 0, 0, 1]).repeat(2_000);
    for (what, flood) in [
        ("PING", ping.repeat(20_000)),
        ("SETTINGS", settings.repeat(2_000)),
        ("resets", reset_streams),
        ("CONTINUATION", continuations),
        ("PRIORITY", priorities),
    ] {
        let mut stream = http2(&fixture).await;
        stream.write_all(&preface()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        // What is answered must be read, or the flood would only wait for its own answers.
        let read = tokio::spawn(async move { while let Ok(1..) = reader.read(&mut [0; 4096]).await {} });
        // A connection that was closed refuses the rest.
        writer.write_all(&flood).await.ok();
        timeout(Duration::from_secs(20), read)
            .await
            .unwrap_or_else(|_| panic!("{what}: the connection stands"))
            .unwrap();
    }
}

#[tokio::test]
async fn an_idle_http2_client_is_told_to_go_and_an_open_header_block_is_not_waited_for() {
    let short = Duration::from_millis(200);
    let fixture = Fixture::start(LimitsSpec { idle: short, header_time: short, ..LimitsSpec::default() }, &[]);
    let mut stream = http2(&fixture).await;
    stream.write_all(&preface()).await.unwrap();
    let seen = frames(&mut stream).await;
    assert!(seen.iter().any(|(kind, _)| *kind == 7), "no GOAWAY: {seen:?}");
    let mut stream = http2(&fixture).await;
    stream.write_all(&[preface(), frame(1, 1, 1, BLOCK)].concat()).await.unwrap();
    frames(&mut stream).await;
    assert_eq!((fixture.edge.counters.idle.value(), fixture.edge.counters.slow_header.value()), (1, 1));
}

#[tokio::test]
async fn http2_requests_are_answered_side_by_side() {
    let fixture = Fixture::start(LimitsSpec::default(), &[]);
    let stream = http2(&fixture).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = |path: &str| Request::builder().uri(format!("http://shop{path}")).body(Full::<Bytes>::default()).unwrap();
    let waiting = sender.send_request(ask("/wait"));
    let quick = sender.clone().send_request(ask("/")).await.unwrap();
    assert_eq!(quick.status(), StatusCode::OK);
    fixture.handler.go_on.0.add_permits(1);
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
}
