//! Speaks HTTP with a client over one connection, whichever version was agreed on, and closes it when told to.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Sleep, sleep},
};

use super::{
    connection::{Connection, Order, Rest},
    wire::Wire,
};
use crate::core::model::{Alpn, LimitsSpec};

/// What a body's failure is carried as.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// hyper's own default; another number costs an allocation for each request.
const HYPER_HEADERS: u16 = 100;
/// What hyper may hold of one HTTP/1.1 connection: a head of the greatest size, and as much of a body.
const MIN_BUFFER: usize = 64 * 1024;
/// What a client may send of one body before the backend has taken it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all bodies of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What waits for a client on one stream.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a client that has asked nothing yet may take to do so when its connection is to end.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// What an answer's body is.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Answers one request of a connection. Dropping the future says that the client is gone.
    fn handle(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// hyper, set up by a service's limits.
#[derive(Clone, Debug)]
pub struct Http {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Http {
    /// Sets up both versions.
    #[must_use]
    pub fn new(limits: &LimitsSpec) -> Self {
        let mut http1 = http1::Builder::new();
        // The sweeper watches the time, of slow heads and of idle connections each.
        http1.header_read_timeout(None);
        let header_bytes = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX);
        http1.max_header_size(header_bytes).max_buf_size(header_bytes.saturating_mul(2).max(MIN_BUFFER));
        if limits.header_count != HYPER_HEADERS {
            http1.max_headers(usize::from(limits.header_count));
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.header_bytes)
            .max_pending_accept_reset_streams(usize::try_from(limits.resets).unwrap_or(usize::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        Self { http1, http2 }
    }

    /// Serves a connection until it ends, or is ended by an order.
    pub async fn serve<IO, H>(&self, io: IO, protocol: Alpn, connection: Arc<Connection>, handler: Arc<H>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Handler,
    {
        let io = TokioIo::new(Wire::new(io, protocol, Arc::clone(&connection)));
        let watched = Arc::clone(&connection);
        let service = service_fn(move |request| {
            let (handler, connection) = (Arc::clone(&handler), Arc::clone(&connection));
            async move { Ok::<_, Infallible>(handler.handle(connection, request).await) }
        });
        let ended = match protocol {
            Alpn::Http11 => obey(&watched, pin!(self.http1.serve_connection(io, service).with_upgrades())).await,
            Alpn::H2 => obey(&watched, pin!(self.http2.serve_connection(io, service))).await,
        };
        match ended {
            Some(Ok(())) => {
                if let Some(rest) = watched.take_rest() {
                    until_aborted(&watched, rest).await;
                }
            }
            Some(Err(error)) => tracing::debug!(peer = %watched.peer, "the connection ended: {error}"),
            None => tracing::debug!(peer = %watched.peer, "the connection was cut off"),
        }
    }
}

/// hyper's connections, which have this in common but no trait.
trait Served: Future<Output = hyper::Result<()>> {
    fn drain(self: Pin<&mut Self>);
}

impl<I, S> Served for http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<Incoming, Error: Into<BoxError>, ResBody: 'static>,
    <S::ResBody as Body>::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, E> Served for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming, Error: Into<BoxError>, ResBody: 'static>,
    <S::ResBody as Body>::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Goes on with what is no longer HTTP, and knows no farewell.
async fn until_aborted(connection: &Connection, mut rest: Rest) {
    poll_fn(|context| match connection.order(context) {
        Order::Serve | Order::Drain => rest.as_mut().poll(context),
        Order::Abort => Poll::Ready(()),
    })
    .await;
}

/// Drives a connection as its orders say; returns nothing if it was aborted.
///
/// A client that has just come is on the point of asking: closed then, it would see its first request fail. So it is let
/// ask for a while, and then told to go.
async fn obey(connection: &Connection, mut served: Pin<&mut impl Served>) -> Option<hyper::Result<()>> {
    let (mut is_draining, mut patience) = (false, None);
    let step = move |context: &mut Context<'_>| {
        loop {
            let order = connection.order(context);
            if order == Order::Abort {
                return Poll::Ready(None);
            }
            if order == Order::Drain && !is_draining && may_go(connection, &mut patience, context) {
                is_draining = true;
                served.as_mut().drain();
            }
            match served.as_mut().poll(context) {
                Poll::Ready(ended) => return Poll::Ready(Some(ended)),
                // The first request came with this very poll.
                Poll::Pending if order == Order::Drain && !is_draining && connection.has_asked() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    };
    poll_fn(step).await
}

/// True if a client has asked something, or had the time to.
fn may_go(connection: &Connection, patience: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> bool {
    let mut wait = || patience.get_or_insert_with(|| Box::pin(sleep(FIRST_REQUEST))).as_mut().poll(context).is_ready();
    connection.has_asked() || wait()
}
