//! What a client still has to send of a request's body: counted, and given up if it pauses for too long.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Version;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::clock;

/// How far the reading of a client's body has come.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    bytes: AtomicU64,
    moved_ns: AtomicU64,
}

impl Meter {
    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// When something of it was read last; 0 if nothing was.
    #[must_use]
    pub fn moved_ns(&self) -> u64 {
        self.0.moved_ns.load(Ordering::Relaxed)
    }

    fn read(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.moved_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
    }
}

/// Why there is no more of a body.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// The client broke off, or what it sent is malformed.
    #[error("the client's body broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// The client reset the stream within the body, and said that all is well.
    #[error("the client's body was reset before its end")]
    Reset,
    /// The client paused for too long.
    #[error("the client sent nothing of its body for {0:?}")]
    Slow(Duration),
}

/// A body that is read off the client's connection.
#[derive(Debug)]
pub struct ClientBody {
    incoming: Incoming,
    version: Version,
    pause: Duration,
    /// There while the client is awaited.
    timer: Option<Pin<Box<Sleep>>>,
    is_awaited: bool,
    meter: Meter,
}

impl ClientBody {
    /// A body of which nothing was read yet.
    pub(super) fn new(incoming: Incoming, version: Version, pause: Duration, meter: Meter) -> Self {
        Self { incoming, version, pause, timer: None, is_awaited: false, meter }
    }

    pub(super) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
            return self.wait(context).map(|fault| Some(Err(fault)));
        };
        self.is_awaited = false;
        if let Some(Ok(frame)) = &frame {
            self.meter.read(frame.data_ref().map_or(0, Bytes::len));
        }
        // hyper takes a reset with NO_ERROR for the body's end (RFC 9113 section 8.1 has it for responses alone). Passed on
        // as such, half an upload would look like a whole one.
        if frame.is_none() && self.version == Version::HTTP_2 && !self.incoming.is_end_stream() {
            return Poll::Ready(Some(Err(BodyFault::Reset)));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyFault::Broken)))
    }

    /// Waits for the client, for as long as it may pause.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<BodyFault> {
        let timer = match &mut self.timer {
            Some(timer) => {
                if !self.is_awaited {
                    timer.as_mut().reset(Instant::now() + self.pause);
                }
                timer
            }
            none => none.insert(Box::pin(sleep(self.pause))),
        };
        self.is_awaited = true;
        ready!(timer.as_mut().poll(context));
        Poll::Ready(BodyFault::Slow(self.pause))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// Bytes that are still to come, if the client said how many.
    pub(super) fn remaining(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }
}
