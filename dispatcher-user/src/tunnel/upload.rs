//! Sends a request's body on an HTTP/2 tunnel, as fast as the backend takes it and no faster.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::{RequestBody, error::BoxError};

/// The most that is asked of the tunnel's flow-control window at once, so that uploads share it in small parts.
const SLICE: usize = 16 * 1024;

/// A body on its way. Dropping it before its end does not reset the request; the response's end does.
pub(super) struct Upload<B> {
    stream: SendStream<Bytes>,
    body: B,
    /// What the body gave and the window did not take yet. Nothing more is read from the client until then.
    rest: Bytes,
}

/// Why an upload ended early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The backend wants no more of it, or the tunnel ended. The response says what that means.
    ByBackend,
    /// The client's side failed; the backend was told.
    ByBody(BoxError),
}

impl<B: RequestBody> Upload<B> {
    pub(super) fn new(stream: SendStream<Bytes>, body: B) -> Self {
        Self { stream, body, rest: Bytes::new() }
    }

    /// Sends what it can.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Stopped::ByBackend));
            }
            if !self.rest.is_empty() {
                if ready!(self.send_slice(cx))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Some(end) = self.take_frame(frame) {
                        return Poll::Ready(end);
                    }
                }
                Some(Err(error)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Stopped::ByBody(error.into())));
                }
                None => return Poll::Ready(self.send(Bytes::new(), true)),
            }
        }
    }

    /// Keeps a frame's data for sending; sends trailers, which end the body.
    fn take_frame(&mut self, frame: http_body::Frame<Bytes>) -> Option<Result<(), Stopped>> {
        match frame.into_data() {
            Ok(data) if data.is_empty() && self.body.is_end_stream() => Some(self.send(data, true)),
            Ok(data) => {
                self.rest = data;
                None
            }
            Err(frame) => {
                let trailers = frame.into_trailers().ok()?;
                Some(self.stream.send_trailers(trailers).map_err(|_gone| Stopped::ByBackend))
            }
        }
    }

    /// Sends as much of the rest as the window takes; true if that was the body's end.
    fn send_slice(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Stopped>> {
        self.stream.reserve_capacity(self.rest.len().min(SLICE));
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Stopped::ByBackend)),
            }
        }
        let slice = self.rest.split_to(self.stream.capacity().min(self.rest.len()));
        let is_last = self.rest.is_empty() && self.body.is_end_stream();
        Poll::Ready(self.send(slice, is_last).map(|()| is_last))
    }

    fn send(&mut self, data: Bytes, is_last: bool) -> Result<(), Stopped> {
        self.stream.send_data(data, is_last).map_err(|_gone| Stopped::ByBackend)
    }
}
