//! A customer of the shop: every request on a TLS connection of its own, known by a cookie or by a TLS ticket.

use bytes::Bytes;
use dispatcher_lab::{
    Namespace,
    certificates::{Certificates, SHOP},
};
use http::{
    HeaderMap, Method, Request, StatusCode,
    header::{COOKIE, HOST, SET_COOKIE},
};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The longest that a request may take, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The cookie that names a session.
const SESSION: &str = "__Host-sid=";

/// What a customer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What a customer keeps from one connection to the next, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The cookie; TLS begins anew each time.
    Cookie,
    /// The TLS session; cookies are thrown away.
    Ticket,
}

/// A customer.
#[derive(Debug, Clone)]
pub struct Customer {
    tls: Arc<ClientConfig>,
    to: SocketAddr,
    version: Version,
    memory: Memory,
    /// The value of the session's cookie; nothing is kept here by a customer who keeps none.
    pub cookie: Option<String>,
}

/// An answer that came in whole.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// True if the TLS connection resumed an earlier one.
    pub is_resumed: bool,
    /// The certificate that the shop showed, or had shown when the TLS session began.
    pub certificate: Vec<u8>,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// There was no connection: nothing was asked.
    NotAsked(String),
    /// Something was asked, and no whole answer came.
    Broken(String),
}

/// Threads in a namespace, for customers: what they open belongs to it.
///
/// # Panics
/// When the namespace cannot be entered.
#[must_use]
pub fn place(namespace: &Namespace) -> Runtime {
    let build = || Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    namespace.run(build).unwrap_or_else(|error| panic!("{error}"))
}

impl Customer {
    /// A customer who trusts the lab's authorities.
    ///
    /// # Panics
    /// When their certificates cannot be read.
    #[must_use]
    pub fn new(certificates: &Certificates, to: SocketAddr, version: Version, memory: Memory) -> Self {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(certificates.authority()).unwrap() {
            roots.add(authority.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = match version {
            Version::Http1 => vec![b"http/1.1".to_vec()],
            Version::Http2 => vec![b"h2".to_vec()],
        };
        tls.resumption = match memory {
            Memory::Cookie => Resumption::disabled(),
            Memory::Ticket => Resumption::in_memory_sessions(8),
        };
        Self { tls: Arc::new(tls), to, version, memory, cookie: None }
    }

    /// Gets a path from somewhere else than a test's own namespace.
    ///
    /// # Panics
    /// When no whole answer comes.
    pub fn get_in(&mut self, place: &Runtime, path: &str) -> Answer {
        let (mut customer, path) = (self.clone(), path.to_owned());
        // Only what is spawned runs on the threads of the place.
        let getting = place.spawn(async move {
            let answer = customer.get(&path).await;
            (customer.cookie, answer)
        });
        let (cookie, answer) = place.block_on(getting).unwrap();
        self.cookie = cookie;
        answer.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    /// Gets a path of the shop, on a connection of its own.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub async fn get(&mut self, path: &str) -> Result<Answer, Fault> {
        let stream = timeout(PATIENCE, self.connect()).await;
        let stream = stream.unwrap_or_else(|_| Err("no connection in time".into())).map_err(Fault::NotAsked)?;
        let (_, tls) = stream.get_ref();
        let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let certificate = tls.peer_certificates().unwrap()[0].to_vec();
        let answer = timeout(PATIENCE, exchange(self.version, stream, self.request(path))).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".into())).map_err(Fault::Broken)?;
        let (status, headers, body) = answer;
        if self.memory == Memory::Cookie {
            self.keep(&headers);
        }
        Ok(Answer { status, headers, body, is_resumed, certificate })
    }

    /// Opens a connection, and says nothing on it.
    ///
    /// # Errors
    /// When it is not to be had, and why.
    ///
    /// # Panics
    /// Never: the shop has a name.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>, String> {
        let stream = TcpStream::connect(self.to).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(ServerName::try_from(SHOP).unwrap(), stream).await.map_err(|error| error.to_string())
    }

    fn request(&self, path: &str) -> Request<Empty<Bytes>> {
        let request = Request::builder().method(Method::GET);
        let mut request = match self.version {
            Version::Http1 => request.uri(path).header(HOST, SHOP),
            Version::Http2 => request.uri(format!("https://{SHOP}{path}")),
        };
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, format!("theme=dark; {SESSION}{cookie}"));
        }
        request.body(Empty::new()).unwrap()
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            let (pair, attributes) = line.to_str().unwrap().split_once("; ").unwrap();
            assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
            self.cookie = Some(pair.strip_prefix(SESSION).unwrap().to_owned());
        }
    }
}

async fn exchange(
    version: Version,
    stream: TlsStream<TcpStream>,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, HeaderMap, Bytes), String> {
    let io = TokioIo::new(stream);
    // The connection ends by itself when its sender is dropped.
    let response = match version {
        Version::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await.map_err(words)?;
            tokio::spawn(connection);
            sender.send_request(request).await
        }
        Version::Http2 => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(words)?;
            tokio::spawn(connection);
            sender.send_request(request).await
        }
    };
    let (head, body) = response.map_err(words)?.into_parts();
    let body = body.collect().await.map_err(words)?;
    Ok((head.status, head.headers, body.to_bytes()))
}

/// hyper says what went wrong in the causes of its errors.
fn words(error: hyper::Error) -> String {
    format!("{error:?}")
}
