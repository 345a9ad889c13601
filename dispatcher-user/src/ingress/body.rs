//! A request's body on its way to the backend: taken in before a backend is bothered if it is small, streamed if not.

mod client;

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::timeout;

pub use self::client::{BodyFault, ClientBody, Meter};
use crate::qos::{
    admission::Permit,
    uplink::{SLICE, Sliced, SlicedError},
};

/// How long a body of unknown length is waited for. Its sender may itself wait for an answer before it goes on (gRPC).
const BRIEF: Duration = Duration::from_millis(5);

/// A request's body, as far as it was taken in.
#[derive(Debug)]
pub enum Taken {
    /// There is none.
    None,
    /// All of it is here, and can be sent again.
    Whole(Whole),
    /// Its rest is still with the client.
    Stream(Box<Stream>),
}

/// A body that was taken in.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    parts: VecDeque<Bytes>,
    length: u64,
    trailers: Option<HeaderMap>,
}

/// A body whose beginning was taken in.
#[derive(Debug)]
pub struct Stream {
    front: Whole,
    rest: ClientBody,
}

/// How much of a body is taken in, and how long it may pause.
#[derive(Clone, Copy, Debug)]
pub struct Intake {
    /// Bytes that are taken in at most.
    pub bytes: u64,
    /// Without a byte that is awaited.
    pub pause: Duration,
}

/// What a tunnel sends as a request's body: by itself if it fits into one slice, else taking turns with others.
#[derive(Debug)]
pub enum Upload {
    /// Nothing.
    None,
    /// All of it.
    Whole(Whole),
    /// Slice by slice.
    Sliced(Box<Sliced<Taken>>),
}

impl Taken {
    /// Takes in a body, up to a bound. A backend, and a slot of its window, is asked for only after that: slow clients
    /// hold neither.
    ///
    /// # Errors
    /// If the client breaks off or pauses for too long.
    pub async fn take_in(
        incoming: Incoming,
        version: Version,
        intake: Intake,
        meter: &Meter,
    ) -> Result<Self, BodyFault> {
        if incoming.is_end_stream() {
            return Ok(Self::None);
        }
        let is_promised = incoming.size_hint().exact().is_some();
        let mut rest = ClientBody::new(incoming, version, intake.pause, meter.clone());
        let mut front = Whole::default();
        while front.length < intake.bytes {
            let next = poll_fn(|context| rest.poll_frame(context));
            let frame = if is_promised {
                next.await
            } else {
                match timeout(BRIEF, next).await {
                    Ok(frame) => frame,
                    Err(_elapsed) => break,
                }
            };
            let Some(frame) = frame else { return Ok(Self::Whole(front)) };
            front.push(frame?);
            if rest.is_end_stream() {
                return Ok(Self::Whole(front));
            }
        }
        Ok(Self::Stream(Box::new(Stream { front, rest })))
    }

    /// The same body once more; nothing if part of it is still with the client.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        match self {
            Self::None => Some(Self::None),
            Self::Whole(whole) => Some(Self::Whole(whole.clone())),
            Self::Stream(_) => None,
        }
    }

    /// True if part of it is still with the client.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Bytes that are held for it.
    #[must_use]
    pub fn held(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Whole(whole) => whole.length,
            Self::Stream(stream) => stream.front.length,
        }
    }

    /// The body of a request that was let through.
    #[must_use]
    pub fn with(self, permit: &Permit) -> Upload {
        match self {
            Self::None => Upload::None,
            Self::Whole(whole) if whole.length <= SLICE as u64 => Upload::Whole(whole),
            Self::Whole(_) | Self::Stream(_) => Upload::Sliced(Box::new(permit.body(self))),
        }
    }
}

impl Whole {
    fn push(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => {
                self.length += data.len() as u64;
                self.parts.push_back(data);
            }
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        if let Some(data) = self.parts.pop_front() {
            self.length -= data.len() as u64;
            return Some(Frame::data(data));
        }
        self.trailers.take().map(Frame::trailers)
    }

    fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // A length would leave no room for trailers on HTTP/1.1.
        if self.trailers.is_some() { SizeHint::default() } else { SizeHint::with_exact(self.length) }
    }
}

impl Body for Taken {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self.get_mut() {
            Self::None => Poll::Ready(None),
            Self::Whole(whole) => Poll::Ready(whole.next().map(Ok)),
            Self::Stream(stream) => match stream.front.next() {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => stream.rest.poll_frame(context),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Whole(whole) => whole.is_empty(),
            Self::Stream(stream) => stream.front.is_empty() && stream.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(stream) => match stream.rest.remaining() {
                Some(remaining) => SizeHint::with_exact(stream.front.length + remaining),
                None => SizeHint::default(),
            },
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = SlicedError<BodyFault>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::None => Poll::Ready(None),
            Self::Whole(whole) => Poll::Ready(whole.next().map(Ok)),
            Self::Sliced(sliced) => Pin::new(sliced.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Whole(whole) => whole.is_empty(),
            Self::Sliced(sliced) => sliced.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Whole(whole) => whole.size_hint(),
            Self::Sliced(sliced) => sliced.size_hint(),
        }
    }
}
