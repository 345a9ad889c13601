//! A response's body on its way from a tunnel to the client.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::{RequestBody, error::BodyError, http1::Exchange, lease::Lease, upgrade::Upgrade};

/// The body of a response. The request's place on the tunnel is given back when it has ended or is dropped.
///
/// It reads no further ahead of whoever polls it than the tunnel's window. Dropped before its end it cancels the request.
pub struct ResponseBody<B: RequestBody> {
    source: Source<B>,
}

enum Source<B: RequestBody> {
    Http2(Http2<B>),
    Http1(Exchange<B>),
    /// The connection has become something else.
    Upgraded(Option<Upgrade>),
}

/// The fields are dropped in this order: the stream is reset before its place is given back.
struct Http2<B> {
    stream: h2::RecvStream,
    /// The rest of the request's body, if that was not sent before the response began.
    upload: Option<AbortHandle>,
    /// Nothing once the response has ended.
    lease: Option<Lease<B>>,
}

impl<B: RequestBody> ResponseBody<B> {
    pub(super) fn http2(stream: h2::RecvStream, upload: Option<AbortHandle>, lease: Lease<B>) -> Self {
        let mut body = Http2 { stream, upload, lease: Some(lease) };
        body.give_back_at_end();
        Self { source: Source::Http2(body) }
    }

    pub(super) fn http1(exchange: Exchange<B>) -> Self {
        Self { source: Source::Http1(exchange) }
    }

    pub(super) fn upgraded(upgrade: Upgrade) -> Self {
        Self { source: Source::Upgraded(Some(upgrade)) }
    }

    /// What the connection has become, if the response says so (status 101). It can be taken once.
    pub fn take_upgrade(&mut self) -> Option<Upgrade> {
        match &mut self.source {
            Source::Upgraded(upgrade) => upgrade.take(),
            Source::Http2(_) | Source::Http1(_) => None,
        }
    }
}

impl<B> Http2<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(data) = ready!(self.stream.poll_data(cx)) {
            let data = data.map_err(BodyError::Http2)?;
            // Whoever polls has a place for it, so the backend may send as much again.
            self.stream.flow_control().release_capacity(data.len()).map_err(BodyError::Http2)?;
            self.give_back_at_end();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).map_err(BodyError::Http2)?;
        self.lease = None;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn give_back_at_end(&mut self) {
        if self.stream.is_end_stream() {
            self.lease = None;
        }
    }
}

impl<B> Drop for Http2<B> {
    fn drop(&mut self) {
        // A backend that has answered may still want the rest of the request; one whose answer nobody wants may not.
        if self.lease.is_some()
            && let Some(upload) = &self.upload
        {
            upload.abort();
        }
    }
}

impl<B: RequestBody> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Http2(body) => body.poll_frame(cx),
            Source::Http1(exchange) => exchange.poll_frame(cx),
            Source::Upgraded(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http2(body) => body.stream.is_end_stream(),
            Source::Http1(exchange) => exchange.is_end_stream(),
            Source::Upgraded(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http2(body) if body.stream.is_end_stream() => SizeHint::with_exact(0),
            Source::Http2(_) => SizeHint::default(),
            Source::Http1(exchange) => exchange.size_hint(),
            Source::Upgraded(_) => SizeHint::with_exact(0),
        }
    }
}

impl<B: RequestBody> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.source {
            Source::Http2(_) => "ResponseBody::Http2",
            Source::Http1(_) => "ResponseBody::Http1",
            Source::Upgraded(_) => "ResponseBody::Upgraded",
        })
    }
}
