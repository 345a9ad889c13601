//! An answer's body on its way to the client: passed on as it comes, and never ended as if it were whole when it is not.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    body::Upload,
    flight::Flight,
    http::BoxError,
    record::{End, Record},
};
use crate::{
    clock,
    tunnel::{error::BodyError, response::ResponseBody},
};

/// What a client gets.
pub enum Download {
    /// All of it, at once.
    Whole(Option<Bytes>),
    /// What a backend sends.
    Stream(Box<Stream>),
}

/// A body that a backend sends.
pub struct Stream {
    body: ResponseBody<Upload>,
    /// What was read of it already.
    first: Option<Frame<Bytes>>,
    /// Both are there until its end.
    flight: Option<Flight>,
    record: Option<Record>,
}

/// The beginning of an answer's body.
pub enum Begun {
    /// That was all.
    Whole(Option<Bytes>),
    /// There is more, or nothing was there yet.
    Part(Option<Frame<Bytes>>),
}

/// Reads what is there of an answer, without waiting. Most answers are small and come with their head: then the backend
/// is through with the request before the client gets a byte, and a slow client holds no slot of it.
///
/// # Errors
/// If it broke off.
pub async fn begin(body: &mut ResponseBody<Upload>) -> Result<Begun, BodyError> {
    if body.is_end_stream() {
        return Ok(Begun::Whole(None));
    }
    let polled = poll_fn(|context| Poll::Ready(Pin::new(&mut *body).poll_frame(context))).await;
    match polled {
        Poll::Pending => Ok(Begun::Part(None)),
        Poll::Ready(None) => Ok(Begun::Whole(None)),
        Poll::Ready(Some(Err(error))) => Err(error),
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(data) if body.is_end_stream() => Ok(Begun::Whole(Some(data))),
            Ok(data) => Ok(Begun::Part(Some(Frame::data(data)))),
            Err(trailers) => Ok(Begun::Part(Some(trailers))),
        },
    }
}

impl Download {
    /// A body of which `first` was read.
    #[must_use]
    pub fn stream(body: ResponseBody<Upload>, first: Option<Frame<Bytes>>, flight: Flight, record: Record) -> Self {
        Self::Stream(Box::new(Stream { body, first, flight: Some(flight), record: Some(record) }))
    }
}

impl From<Bytes> for Download {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }
}

impl Stream {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(Pin::new(&mut self.body).poll_frame(context)),
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(record), Some(data)) = (&mut self.record, frame.data_ref()) {
                    record.sent = record.sent.saturating_add(data.len() as u64);
                }
                // Whoever polls may not ask again once he knows that nothing follows.
                if self.body.is_end_stream() {
                    self.end(End::Complete);
                }
            }
            Some(Err(error)) => {
                tracing::debug!("an answer broke off: {error}");
                self.end(End::CutShort);
            }
            None => self.end(End::Complete),
        }
        // The error makes hyper close the connection, or reset the stream: the client sees that something is missing.
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }

    fn end(&mut self, end: End) {
        if let Some(flight) = self.flight.take() {
            flight.end(clock::monotonic_ns(), end == End::Complete);
        }
        if let Some(record) = self.record.take() {
            record.end(end);
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(stream) => stream.first.is_none() && stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(stream) => {
                let first = stream.first.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
                match stream.body.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(first + rest),
                    None => SizeHint::default(),
                }
            }
        }
    }
}
