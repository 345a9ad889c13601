//! A connection that has become something else than HTTP, as WebSocket makes it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::home::Home;

/// A connection that is about to become something else.
#[derive(Debug)]
pub struct Upgrade {
    pending: OnUpgrade,
    place: Place,
}

impl Upgrade {
    pub(super) fn new(pending: OnUpgrade, home: Arc<Home>) -> Self {
        home.counts.upgrades.add();
        Self { pending, place: Place::new(home) }
    }

    /// Waits until all of HTTP has been read from it.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn stream(self) -> io::Result<UpgradedStream> {
        let stream = self.pending.await.map_err(io::Error::other)?;
        Ok(UpgradedStream { stream: TokioIo::new(stream), _place: self.place })
    }
}

/// Bytes to and from the backend.
#[derive(Debug)]
pub struct UpgradedStream {
    stream: TokioIo<Upgraded>,
    _place: Place,
}

impl AsyncRead for UpgradedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Counts the connection as long as this lives.
#[derive(Debug)]
struct Place(Arc<Home>);

impl Place {
    fn new(home: Arc<Home>) -> Self {
        home.upgraded.fetch_add(1, Ordering::SeqCst);
        Self(home)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.upgraded.fetch_sub(1, Ordering::SeqCst);
    }
}
