//! Answers HTTP requests.

use super::{Backend, body::Filling, route, route::Route, tls::Agreed};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    http::request::Parts,
};
use serde::Serialize;
use std::net::SocketAddr;
use tokio::time::sleep;

/// The header by which the dispatcher names a request's session.
const SESSION: &str = "x-session-id";
const PATHS: &str = "there are /, /whoami, /bytes/NUMBER, /slow/MILLISECONDS, /upload, /cart, /cart/add/ITEM and /load";

pub(super) type Reply = Response<Either<Full<Bytes>, Filling>>;

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Agreed>,
}

/// What arrived.
#[derive(Debug, Serialize)]
struct Whoami<'a> {
    backend: &'a str,
    client: SocketAddr,
    protocol: String,
    tls: Option<&'a Agreed>,
    method: &'a str,
    uri: String,
    /// Names and values, in the order in which they arrived, as far as HTTP keeps one.
    headers: Vec<(&'a str, String)>,
}

#[derive(Debug, Serialize)]
struct Uploaded<'a> {
    backend: &'a str,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Cart<'a> {
    backend: &'a str,
    session: &'a str,
    items: Vec<String>,
}

/// Answers a request, whatever it is.
pub(super) async fn reply(request: Request<Incoming>, peer: &Peer, backend: &Backend) -> Reply {
    let (head, body) = request.into_parts();
    match route::route(&head.method, &head.uri) {
        Route::Answer => json(backend.answer(peer.address, None)),
        Route::Slow(pause) => {
            sleep(pause).await;
            json(backend.answer(peer.address, None))
        }
        Route::Whoami => document(&whoami(&head, peer, backend)),
        Route::Bytes { count, rate } => Response::new(Either::Right(Filling::new(count, rate))),
        Route::Upload => match length(body).await {
            Ok(bytes) => document(&Uploaded { backend: &backend.name, bytes }),
            Err(_broken) => refusal(StatusCode::BAD_REQUEST, "the body broke off"),
        },
        Route::Cart => cart(&head, backend, None),
        Route::Add(item) => cart(&head, backend, Some(item)),
        Route::Load => document(&backend.workers.load()),
        Route::Bad(why) => refusal(StatusCode::BAD_REQUEST, why),
        Route::NotFound => refusal(StatusCode::NOT_FOUND, PATHS),
        Route::MethodNotAllowed(why) => refusal(StatusCode::METHOD_NOT_ALLOWED, why),
    }
}

fn whoami<'a>(head: &'a Parts, peer: &'a Peer, backend: &'a Backend) -> Whoami<'a> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Whoami {
        backend: &backend.name,
        client: peer.address,
        protocol: format!("{:?}", head.version),
        tls: peer.tls.as_ref(),
        method: head.method.as_str(),
        uri: head.uri.to_string(),
        headers: head.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect(),
    }
}

fn cart(head: &Parts, backend: &Backend, item: Option<&str>) -> Reply {
    let Some(session) = head.headers.get(SESSION).and_then(|value| value.to_str().ok()) else {
        return refusal(StatusCode::BAD_REQUEST, "a cart belongs to a session, which the header x-session-id names");
    };
    let items = match item {
        None => Ok(backend.carts.items(session)),
        Some(item) => backend.carts.add(session, item),
    };
    match items {
        Ok(items) => document(&Cart { backend: &backend.name, session, items }),
        Err(_full) => refusal(StatusCode::INSUFFICIENT_STORAGE, "there is no room for more"),
    }
}

async fn length(mut body: Incoming) -> Result<u64, hyper::Error> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let data = frame?.into_data().map_or(0, |data| data.len());
        bytes += u64::try_from(data).unwrap_or(u64::MAX);
    }
    Ok(bytes)
}

fn document(value: &impl Serialize) -> Reply {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    json(text)
}

fn json(text: Vec<u8>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::from(text)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// An answer that says what is wrong.
pub(super) fn refusal(status: StatusCode, why: &str) -> Reply {
    let mut reply = Response::new(Either::Left(Full::from(format!("{why}\n"))));
    *reply.status_mut() = status;
    reply
}
