//! A request's place on a tunnel.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::{Request, Response};

use super::{RequestBody, connection::Connection, error::SendError, http1, http2, response::ResponseBody};

/// What a request needs of its tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Need {
    /// Whatever the backend speaks.
    #[default]
    Any,
    /// HTTP/1.1, where a request can turn its connection into something else (`upgrade`, WebSocket).
    Upgrade,
}

/// A place on a tunnel, given back when this is dropped, or when the response of the request sent on it has ended.
pub struct Lease<B> {
    connection: Arc<Connection<B>>,
}

impl<B> Lease<B> {
    /// For a place that was taken with [`Connection::take`].
    pub(super) fn new(connection: Arc<Connection<B>>) -> Self {
        Self { connection }
    }

    /// The tunnel's slot, for the session to come back to.
    #[must_use]
    pub fn slot(&self) -> usize {
        self.connection.slot
    }

    /// Our address and port on the tunnel, which tells it from all others.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.connection.facts.local
    }

    pub(super) fn connection(&self) -> &Arc<Connection<B>> {
        &self.connection
    }
}

impl<B: RequestBody> Lease<B> {
    /// Sends a request and returns the backend's response as soon as its head is there.
    ///
    /// The request has its final headers, without those that are for one connection only; but `connection` and `upgrade`
    /// stay with a request that wants an upgrade. Its target is absolute, or it has a `host`. Its body is read as fast as
    /// the backend takes it, at first by this future and, if the response comes before the body's end, by a task.
    ///
    /// Dropping the future cancels the request: on HTTP/2 by a reset, on HTTP/1.1 by letting the backend finish within
    /// [`super::settings::Remainder`], since there a cancelled request costs the tunnel otherwise.
    ///
    /// # Errors
    /// Says how far the request came, and returns it if nothing of it was used up.
    pub async fn send(self, request: Request<B>) -> Result<Response<ResponseBody<B>>, SendError<B>> {
        if self.connection.facts.is_http2() {
            http2::send(self, request).await
        } else {
            http1::send(self, request).await
        }
    }
}

impl<B> Drop for Lease<B> {
    fn drop(&mut self) {
        self.connection.give_back();
    }
}

impl<B> fmt::Debug for Lease<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("slot", &self.slot()).field("local", &self.local()).finish()
    }
}
