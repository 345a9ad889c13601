//! Serves HTTP/1.1 with keep-alive, one task a connection.

use super::{Backend, body::Filling, route, route::Route};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};

/// Connections that wait to be accepted; a burst of first packets is the point of the lab.
const BACKLOG: u32 = 8192;
const RETRY_ACCEPT_AFTER: Duration = Duration::from_millis(50);

type Reply = Response<Either<Full<Bytes>, Filling>>;

/// Listens for connections.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves every connection, for ever.
pub(super) async fn accept(listener: TcpListener, backend: Arc<Backend>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => drop(tokio::spawn(converse(stream, client, Arc::clone(&backend)))),
            Err(error) => {
                // Out of descriptors, mostly: connections that end give some back.
                eprintln!("cannot accept a connection: {error}");
                sleep(RETRY_ACCEPT_AFTER).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, client: SocketAddr, backend: Arc<Backend>) {
    let service = service_fn(|request| {
        let reply = reply(&request, client, &backend);
        async { Ok::<_, Infallible>(reply) }
    });
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    // A client that goes away in the middle is its own business.
    let _outcome = connection.await;
}

fn reply(request: &Request<Incoming>, client: SocketAddr, backend: &Backend) -> Reply {
    match route::route(request.method(), request.uri()) {
        Route::Answer => {
            let text = Full::from(backend.answer(client, None));
            let mut reply = Response::new(Either::Left(text));
            reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            reply
        }
        Route::Bytes { count, rate } => Response::new(Either::Right(Filling::new(count, rate))),
        Route::Bad(why) => refusal(StatusCode::BAD_REQUEST, why),
        Route::NotFound => refusal(StatusCode::NOT_FOUND, "there are / and /bytes/NUMBER"),
        Route::MethodNotAllowed => refusal(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD"),
    }
}

fn refusal(status: StatusCode, why: &str) -> Reply {
    let mut reply = Response::new(Either::Left(Full::from(format!("{why}\n"))));
    *reply.status_mut() = status;
    reply
}
