//! An HTTPS server that does what a path says, and notes what it saw.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What a backend saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) accepted: AtomicUsize,
    pub(crate) handshakes: AtomicUsize,
    pub(crate) resumed: AtomicUsize,
    pub(crate) certificates: AtomicUsize,
    pub(crate) live: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    /// Requests under way, in all and for each connection.
    pub(crate) under_way: Mutex<BTreeMap<u16, usize>>,
    pub(crate) most_on_one: AtomicUsize,
    /// Bytes of bodies that were asked of it, and that it was sent.
    pub(crate) produced: AtomicU64,
    pub(crate) consumed: AtomicU64,
    /// Requests that ended before their answer was made.
    pub(crate) abandoned: AtomicUsize,
    /// Clients' ports, each with the requests that came from it.
    pub(crate) ports: Mutex<BTreeMap<u16, usize>>,
    pub(crate) first_bytes: Mutex<Vec<Vec<u8>>>,
}

impl Seen {
    pub(crate) fn total(&self) -> usize {
        self.under_way.lock().unwrap().values().sum()
    }
}

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) tls: Arc<ServerConfig>,
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub(crate) max_streams: u32,
    /// Bytes before TLS begins.
    pub(crate) skipped: usize,
}

impl Options {
    pub(crate) fn new(tls: Arc<ServerConfig>) -> Self {
        Self { tls, max_streams: 200, skipped: 0 }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Serve,
    /// GOAWAY, or `connection: close`.
    Leave,
}

/// It serves until it is dropped, which cuts every connection.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    /// Each request to `/hold` is answered for one permit.
    pub(crate) release: Arc<Semaphore>,
    orders: watch::Sender<Order>,
    _tasks: JoinSet<()>,
}

impl Backend {
    pub(crate) fn start(options: Options) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), options)
    }

    /// Starts at an address that another one may have had before.
    pub(crate) fn start_at(address: SocketAddr, options: Options) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, release) = (Arc::new(Seen::default()), Arc::new(Semaphore::new(0)));
        let orders = watch::Sender::new(Order::Serve);
        let (shared, released, ordered) = (Arc::clone(&seen), Arc::clone(&release), orders.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let here = Here { seen: Arc::clone(&shared), release: Arc::clone(&released), port: peer.port() };
                connections.spawn(serve(stream, options.clone(), here, ordered.subscribe()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, seen, release, orders, _tasks: tasks }
    }

    /// Asks every client to leave.
    pub(crate) fn leave(&self) {
        self.orders.send_replace(Order::Leave);
        self.orders.send_replace(Order::Serve);
    }
}

/// One connection.
#[derive(Clone)]
struct Here {
    seen: Arc<Seen>,
    release: Arc<Semaphore>,
    port: u16,
}

async fn serve(mut stream: TcpStream, options: Options, here: Here, mut orders: watch::Receiver<Order>) {
    orders.mark_unchanged();
    let mut skipped = vec![0; options.skipped];
    if stream.read_exact(&mut skipped).await.is_err() {
        return;
    }
    here.seen.first_bytes.lock().unwrap().push(skipped);
    let Ok(stream) = TlsAcceptor::from(options.tls).accept(stream).await else { return };
    let (_, session) = stream.get_ref();
    let seen = Arc::clone(&here.seen);
    seen.handshakes.fetch_add(1, Ordering::SeqCst);
    seen.resumed
        .fetch_add(usize::from(session.handshake_kind() == Some(rustls::HandshakeKind::Resumed)), Ordering::SeqCst);
    seen.certificates.fetch_add(usize::from(session.peer_certificates().is_some()), Ordering::SeqCst);
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let _live = Live::new(Arc::clone(&seen));
    let service = service_fn(move |request| answer(here.clone(), request));
    let io = TokioIo::new(stream);
    if is_http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let mut connection =
            std::pin::pin!(builder.max_concurrent_streams(options.max_streams).serve_connection(io, service));
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = orders.changed() => connection.as_mut().graceful_shutdown(),
        }
        connection.await.ok();
    } else {
        let mut connection =
            std::pin::pin!(hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades());
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = orders.changed() => connection.as_mut().graceful_shutdown(),
        }
        connection.await.ok();
    }
}

struct Live(Arc<Seen>);

impl Live {
    fn new(seen: Arc<Seen>) -> Self {
        seen.live.fetch_add(1, Ordering::SeqCst);
        Self(seen)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A request under way.
struct UnderWay {
    here: Here,
    answered: bool,
}

impl UnderWay {
    fn new(here: Here) -> Self {
        here.seen.requests.fetch_add(1, Ordering::SeqCst);
        *here.seen.ports.lock().unwrap().entry(here.port).or_default() += 1;
        let mut under_way = here.seen.under_way.lock().unwrap();
        let on_this = under_way.entry(here.port).or_default();
        *on_this += 1;
        here.seen.most_on_one.fetch_max(*on_this, Ordering::SeqCst);
        drop(under_way);
        Self { here, answered: false }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.here.seen.under_way.lock().unwrap().get_mut(&self.here.port).unwrap() -= 1;
        if !self.answered {
            self.here.seen.abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn answer(here: Here, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let mut under_way = UnderWay::new(here.clone());
    let path = request.uri().path().to_owned();
    let mut words = path.split('/').skip(1);
    let response = match (words.next().unwrap(), words.next()) {
        (_, Some(size)) if request.method() == http::Method::HEAD => {
            Response::builder().header(header::CONTENT_LENGTH, size).body(Empty::new().boxed_unsync()).unwrap()
        }
        ("hold", rest) => {
            here.release.acquire().await.unwrap().forget();
            let size: usize = rest.map_or(2, |size| size.parse().unwrap());
            Response::new(Full::new(Bytes::from(vec![b'.'; size])).boxed_unsync())
        }
        ("bytes", Some(size)) => Response::new(Producer::new(size.parse().unwrap(), here.seen.clone()).boxed_unsync()),
        ("count", _) => {
            let counted = count(request, &here.seen).await;
            Response::new(Full::new(Bytes::from(counted.to_string())).boxed_unsync())
        }
        ("early", _) => Response::builder().status(413).body(Empty::new().boxed_unsync()).unwrap(),
        ("echo", _) => {
            let headers = request.headers().clone();
            let frames = StreamBody::new(frames(request.into_body()));
            let mut response = Response::new(frames.boxed_unsync());
            response
                .headers_mut()
                .insert("x-host", headers.get(header::HOST).cloned().unwrap_or("none".parse().unwrap()));
            response
        }
        ("upgrade", _) => upgrade(request),
        _ => {
            let text = format!("{} {}", request.method(), request.uri());
            Response::new(Full::new(Bytes::from(text)).boxed_unsync())
        }
    };
    under_way.answered = true;
    Ok(response)
}

/// A body's frames as they come, data and trailers.
fn frames(mut body: Incoming) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> {
    futures_util::stream::poll_fn(move |cx| {
        Pin::new(&mut body).poll_frame(cx).map(|frame| frame.and_then(Result::ok).map(Ok))
    })
}

async fn count(request: Request<Incoming>, seen: &Seen) -> u64 {
    let mut body = request.into_body();
    let mut counted = 0;
    while let Some(Ok(frame)) = body.frame().await {
        counted += frame.data_ref().map_or(0, |data| data.len() as u64);
        seen.consumed.store(counted, Ordering::SeqCst);
    }
    counted
}

/// Becomes a line that echoes in capitals.
fn upgrade(mut request: Request<Incoming>) -> Answer {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgraded.await.unwrap());
        let mut buffer = [0; 256];
        while let Ok(read @ 1..) = io.read(&mut buffer).await {
            io.write_all(&buffer[..read].to_ascii_uppercase()).await.unwrap();
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "capitals")
        .body(Empty::new().boxed_unsync())
        .unwrap()
}

/// Zeros, counted as they are asked for.
struct Producer {
    left: u64,
    seen: Arc<Seen>,
}

impl Producer {
    fn new(left: u64, seen: Arc<Seen>) -> Self {
        Self { left, seen }
    }
}

impl Body for Producer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
        let size = usize::try_from(self.left).unwrap().min(ZEROS.len());
        self.left -= size as u64;
        self.seen.produced.fetch_add(size as u64, Ordering::SeqCst);
        Poll::Ready((size > 0).then(|| Ok(Frame::data(Bytes::from_static(&ZEROS[..size])))))
    }
}
