//! Runs a connection: reads and writes its frames, until it ends.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::task::{AbortHandle, JoinError, JoinHandle};
use tokio_rustls::client::TlsStream;

use super::{connection::Connection, error::BoxError, home::Home, meter::Metered};

/// A task that runs a connection, and ends with this.
#[derive(Debug)]
pub(super) struct Driver(JoinHandle<Result<(), BoxError>>);

impl Driver {
    pub(super) fn spawn<B, F>(home: &Home, connection: Arc<Connection<B>>, run: F) -> Self
    where
        B: Send + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let closing = Closing(connection);
        Self(home.runtime.spawn(async move {
            let result = run.await;
            closing.0.ended(result.is_ok());
            result
        }))
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> Result<(), BoxError> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(error) => Err(cut(error)),
        }
    }

    pub(super) fn abort_handle(&self) -> AbortHandle {
        self.0.abort_handle()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn cut(error: JoinError) -> BoxError {
    if error.is_cancelled() { "it was cut".into() } else { error.into() }
}

/// Closes the connection for the pool when its driver ends in any way.
struct Closing<B>(Arc<Connection<B>>);

impl<B> Drop for Closing<B> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// An HTTP/2 connection.
pub(super) struct Http2<B> {
    io: h2::client::Connection<TlsStream<Metered>, Bytes>,
    connection: Arc<Connection<B>>,
    /// False after a wake-up that was not acted on yet.
    rested: bool,
}

impl<B> Http2<B> {
    pub(super) fn new(io: h2::client::Connection<TlsStream<Metered>, Bytes>, connection: Arc<Connection<B>>) -> Self {
        Self { io, connection, rested: true }
    }
}

impl<B> Future for Http2<B> {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The first request of a burst wakes this, and tokio would run it before the second one is there: each would
        // be written by a system call and a TLS record of its own. So it lets everybody else go first, once. Measured
        // with 64 clients: 7.2 instead of 10.5 µs of CPU per request.
        if self.rested {
            self.rested = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.rested = true;
        let polled = Pin::new(&mut self.io).poll(cx);
        self.connection.look();
        polled.map_err(BoxError::from)
    }
}
