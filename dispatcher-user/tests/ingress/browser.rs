//! A client: one connection after another, with or without cookies, over HTTP/1.1 or HTTP/2.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{COOKIE, SET_COOKIE},
};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, HandshakeKind, SupportedProtocolVersion,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{authority::SHOP, stage::Stage};

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A client.
pub(crate) struct Browser {
    pub(crate) tls: Arc<ClientConfig>,
    address: SocketAddr,
    is_http2: bool,
    /// Nothing if it keeps none.
    pub(crate) cookie: Option<String>,
    keeps_cookies: bool,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
    /// True if the TLS connection resumed an earlier one.
    pub(crate) is_resumed: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn backend(&self) -> &str {
        self.headers.get("x-backend").unwrap_or_else(|| panic!("{self:?}")).to_str().unwrap()
    }
}

/// An open connection.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connection {
    pub(crate) async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

impl Browser {
    /// A client that keeps cookies.
    pub(crate) fn new(stage: &Stage, is_http2: bool) -> Self {
        Self::of(stage, is_http2, true, &[&TLS13, &TLS12])
    }

    pub(crate) fn of(
        stage: &Stage,
        is_http2: bool,
        keeps_cookies: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let tls = stage.authority.client(versions, if is_http2 { "h2" } else { "http/1.1" });
        Self { tls, address: stage.address, is_http2, cookie: None, keeps_cookies }
    }

    /// A request; its target is what the version of HTTP wants.
    pub(crate) fn request(&self, method: Method, path: &str, body: Body) -> Request<Body> {
        let mut request = Request::builder().method(method);
        request = if self.is_http2 {
            request.uri(format!("https://{SHOP}{path}"))
        } else {
            request.uri(path).header("host", SHOP)
        };
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, format!("theme=dark; __Host-sid={cookie}"));
        }
        request.body(body).unwrap()
    }

    /// Opens a TLS connection.
    pub(crate) async fn tls(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(ServerName::try_from(SHOP).unwrap(), stream).await
    }

    /// Opens a connection; true if it was resumed.
    pub(crate) async fn open(&self) -> (Connection, bool) {
        let stream = self.tls().await.unwrap();
        let is_resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let io = TokioIo::new(stream);
        let connection = if self.is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Connection::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection.with_upgrades());
            Connection::Http1(sender)
        };
        (connection, is_resumed)
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn ask(&mut self, request: Request<Body>) -> hyper::Result<Answer> {
        let (mut connection, is_resumed) = self.open().await;
        let response = connection.send(request).await?;
        let answer = whole(response, is_resumed).await?;
        self.keep(&answer.headers);
        Ok(answer)
    }

    /// Gets a path on a connection of its own.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let request = self.request(Method::GET, path, empty());
        self.ask(request).await.unwrap()
    }

    /// Posts a body on a connection of its own.
    pub(crate) async fn post(&mut self, path: &str, body: Body) -> hyper::Result<Answer> {
        let request = self.request(Method::POST, path, body);
        self.ask(request).await
    }

    fn keep(&mut self, headers: &HeaderMap) {
        if !self.keeps_cookies {
            return;
        }
        for line in headers.get_all(SET_COOKIE) {
            let (pair, attributes) = line.to_str().unwrap().split_once("; ").unwrap();
            assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
            self.cookie = Some(pair.strip_prefix("__Host-sid=").unwrap().to_owned());
        }
    }
}

/// Reads an answer to its end.
pub(crate) async fn whole(response: Response<Incoming>, is_resumed: bool) -> hyper::Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    Ok(Answer { status: head.status, headers: head.headers, trailers, body: body.to_bytes(), is_resumed })
}

pub(crate) fn empty() -> Body {
    bytes("")
}

pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
