//! A request body that takes turns with others, and lends its request's slot while its client is slow.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use super::{SLICE, Upload};
use crate::qos::{admission::Pause, view::Shed};

/// A body in slices.
///
/// ```text
///  nothing at hand ──data──▶ data at hand ──turn──▶ slice out ──▶ …
///      │ client slow: the slot is lent         last slice: the slot is needed again
///      └──end, or trailers──▶ the slot is needed again ──▶ over
/// ```
#[derive(Debug)]
pub struct Sliced<B> {
    inner: B,
    upload: Upload,
    pause: Pause,
    /// Data that came and was not sent yet.
    data: Bytes,
    /// What the body ends with, once it has ended: trailers, or nothing.
    end: Option<Option<Frame<Bytes>>>,
}

/// Why a body ends early.
#[derive(Debug, Error)]
pub enum SlicedError<E> {
    /// It cannot be read.
    #[error(transparent)]
    Client(E),
    /// The backend is gone while the body was on its way.
    #[error(transparent)]
    Shed(Shed),
}

impl<B> Sliced<B> {
    /// A body whose request holds the slot that `pause` lends.
    pub(in crate::qos) fn new(inner: B, upload: Upload, pause: Pause) -> Self {
        Self { inner, upload, pause, data: Bytes::new(), end: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sliced<B> {
    type Data = Bytes;
    type Error = SlicedError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        while this.data.is_empty() {
            if let Some(end) = &mut this.end {
                this.upload.rest();
                ready!(this.pause.poll_return(context)).map_err(SlicedError::Shed)?;
                return Poll::Ready(end.take().map(Ok));
            }
            let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
                this.upload.rest();
                this.pause.lend();
                return Poll::Pending;
            };
            match frame.transpose().map_err(SlicedError::Client)?.map(Frame::into_data) {
                Some(Ok(data)) => this.data = data,
                Some(Err(trailers)) => this.end = Some(Some(trailers)),
                None => this.end = Some(None),
            }
        }
        // With its last byte the backend begins to work. The slot comes first: a slice that waits for it would be in the
        // others' way.
        if this.data.len() <= SLICE && this.inner.is_end_stream() {
            ready!(this.pause.poll_return(context)).map_err(SlicedError::Shed)?;
        }
        let bytes = ready!(this.upload.poll_turn(context, this.data.len()));
        Poll::Ready(Some(Ok(Frame::data(this.data.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && matches!(self.end, None | Some(None)) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let at_hand = self.data.remaining() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(at_hand));
        }
        hint.set_lower(inner.lower().saturating_add(at_hand));
        hint
    }
}

#[cfg(test)]
mod tests;
