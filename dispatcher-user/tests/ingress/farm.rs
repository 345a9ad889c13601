//! A backend: an HTTPS server that keeps a cart for each session in its memory, and does what a path says.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A backend. Dropping it kills it, with its connections.
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    connections: Arc<Mutex<JoinSet<()>>>,
    listening: AbortHandle,
}

/// What a backend saw.
pub(crate) struct Seen {
    name: String,
    carts: Mutex<BTreeMap<String, Vec<String>>>,
    pub(crate) requests: AtomicUsize,
    /// Requests whose clients left before the answer.
    pub(crate) dropped: AtomicUsize,
    /// Bytes of bodies.
    pub(crate) received: AtomicUsize,
    /// Lets requests for `/wait` go on.
    pub(crate) go_on: Semaphore,
    /// What upgraded connections said.
    pub(crate) said: Mutex<Vec<u8>>,
}

impl Backend {
    /// Starts a backend on a port of its own.
    pub(crate) async fn start(name: &str, tls: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen {
            name: name.to_owned(),
            carts: Mutex::default(),
            requests: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            go_on: Semaphore::new(0),
            said: Mutex::default(),
        });
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let (serving, held) = (Arc::clone(&seen), Arc::clone(&connections));
        let acceptor = TlsAcceptor::from(tls);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serve = serve(stream, acceptor.clone(), Arc::clone(&serving));
                held.lock().unwrap().spawn(serve);
            }
        });
        Self { name: name.to_owned(), address, seen, connections, listening: task.abort_handle() }
    }

    /// Ends it as a crash does: connections are cut, and nobody listens.
    pub(crate) fn kill(&self) {
        self.listening.abort();
        self.connections.lock().unwrap().abort_all();
    }

    /// Cuts its connections; it goes on listening.
    pub(crate) fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, seen: Arc<Seen>) {
    stream.set_nodelay(true).unwrap();
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| answer(Arc::clone(&seen), request));
    // How a connection ends is for the tests to see from outside.
    if is_http2 {
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.ok();
    } else {
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await.ok();
    }
}

async fn answer(seen: Arc<Seen>, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
    seen.requests.fetch_add(1, Ordering::SeqCst);
    let mut unanswered = Unanswered(Some(Arc::clone(&seen)));
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let session = request.headers().get("x-session-id").map_or("", |id| id.to_str().unwrap()).to_owned();
    let response = match parts[..] {
        ["cart", "add", item] => {
            let mut carts = seen.carts.lock().unwrap();
            let cart = carts.entry(session).or_default();
            cart.push(item.to_owned());
            text(cart.join(","))
        }
        ["cart"] => text(seen.carts.lock().unwrap().get(&session).cloned().unwrap_or_default().join(",")),
        ["headers"] => headers(&request),
        ["status", code] => {
            let mut response = text("");
            *response.status_mut() = StatusCode::from_bytes(code.as_bytes()).unwrap();
            response
        }
        ["bytes", count] if request.method() == Method::HEAD => {
            let mut response = text("");
            response.headers_mut().insert("content-length", HeaderValue::try_from(count).unwrap());
            response
        }
        ["bytes", count] => streamed(count.parse().unwrap(), false),
        // The announced length never comes.
        ["broken", count] => streamed(count.parse().unwrap(), true),
        ["hang"] => std::future::pending().await,
        ["late", ms] => {
            sleep(Duration::from_millis(ms.parse().unwrap())).await;
            text("late")
        }
        ["wait"] => {
            seen.go_on.acquire().await.unwrap().forget();
            text("went on")
        }
        ["reset"] => return Err(std::io::Error::other("no answer")),
        ["length"] => text(read(&seen, request.into_body()).await?.0.to_string()),
        ["mirror"] => mirror(request),
        ["trailers"] => {
            let (length, trailers) = read(&seen, request.into_body()).await?;
            let mut told = HeaderMap::new();
            told.insert("grpc-status", HeaderValue::from_static("0"));
            told.insert("x-length", HeaderValue::from(length));
            if let Some(sum) = trailers.get("x-sum") {
                told.insert("x-sum", sum.clone());
            }
            let frames = [Ok(Frame::data(Bytes::from_static(b"message"))), Ok(Frame::trailers(told))];
            Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
        }
        ["echo"] if request.headers().contains_key("upgrade") => upgrade(&seen, request),
        _ => text(format!("{} {path}", seen.name)),
    };
    unanswered.0 = None;
    Ok(tagged(response, &seen.name))
}

/// The request's head, a line each.
fn headers(request: &Request<Incoming>) -> Response<Body> {
    let mut lines: Vec<String> = vec![format!("{} {}", request.method(), request.uri())];
    for (name, value) in request.headers() {
        lines.push(format!("{name}: {}", value.to_str().unwrap()));
    }
    text(lines.join("\n"))
}

/// Notes that a request was dropped before it was answered.
struct Unanswered(Option<Arc<Seen>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(seen) = &self.0 {
            seen.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn tagged(mut response: Response<Body>, name: &str) -> Response<Body> {
    response.headers_mut().insert("x-backend", HeaderValue::try_from(name).unwrap());
    response
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync())
}

/// So many bytes in pieces; broken, it fails after half of them.
fn streamed(count: usize, is_broken: bool) -> Response<Body> {
    const PIECE: usize = 8192;
    let frames = (0..count).step_by(PIECE).map(move |at| {
        if is_broken && at >= count / 2 {
            return Err(std::io::Error::other("broken"));
        }
        Ok(Frame::data(Bytes::from(vec![b'x'; PIECE.min(count - at)])))
    });
    let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
    response.headers_mut().insert("content-length", HeaderValue::from(count));
    response
}

/// Sends every piece of the body back as it comes.
fn mirror(request: Request<Incoming>) -> Response<Body> {
    let body = request.into_body();
    Response::new(body.map_err(std::io::Error::other).boxed_unsync())
}

async fn read(seen: &Seen, mut body: Incoming) -> Result<(usize, HeaderMap), std::io::Error> {
    let (mut length, mut trailers) = (0, HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame.map_err(std::io::Error::other)?.into_data() {
            Ok(data) => {
                length += data.len();
                seen.received.fetch_add(data.len(), Ordering::SeqCst);
            }
            Err(frame) => trailers = frame.into_trailers().unwrap(),
        }
    }
    Ok((length, trailers))
}

/// Turns the connection into one that echoes what it hears.
fn upgrade(seen: &Arc<Seen>, request: Request<Incoming>) -> Response<Body> {
    let protocol = request.headers()["upgrade"].clone();
    let seen = Arc::clone(seen);
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut stream = TokioIo::new(upgraded);
        let mut heard = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut heard).await {
            seen.said.lock().unwrap().extend(&heard[..length]);
            if stream.write_all(&heard[..length]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
        stream.shutdown().await.ok();
    });
    let mut response = text("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert("upgrade", protocol);
    response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
    response
}
