//! A body of a given length that is made while it is sent, so that its size takes no memory.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Interval, interval};

const CHUNK: u16 = u16::MAX;
static FILLING: [u8; CHUNK as usize] = [b'.'; CHUNK as usize];
/// A slow body is sent in about so many pieces a second.
const PIECES_A_SECOND: u64 = 20;

/// Bytes that are still to be sent.
#[derive(Debug)]
pub(super) struct Filling {
    remaining: u64,
    chunk: u16,
    pace: Option<Interval>,
}

impl Filling {
    /// So many bytes, at so many a second, or as fast as they are taken.
    pub(super) fn new(count: u64, rate: Option<u64>) -> Self {
        let Some(rate) = rate else {
            return Self { remaining: count, chunk: CHUNK, pace: None };
        };
        let chunk = u16::try_from(rate / PIECES_A_SECOND).unwrap_or(CHUNK).max(1);
        let nanoseconds = 1_000_000_000 * u64::from(chunk) / rate;
        let pace = interval(Duration::from_nanos(nanoseconds.max(1)));
        Self { remaining: count, chunk, pace: Some(pace) }
    }
}

impl Body for Filling {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        if let Some(pace) = &mut self.pace {
            ready!(pace.poll_tick(context));
        }
        let length = u16::try_from(self.remaining).unwrap_or(self.chunk).min(self.chunk);
        self.remaining -= u64::from(length);
        let piece = Bytes::from_static(&FILLING).slice(..usize::from(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_body_has_exactly_its_length() {
        for count in [0, 1, 65_535, 65_536, 1_000_000] {
            let body = Filling::new(count, None).collect().await.unwrap().to_bytes();
            assert_eq!(body.len() as u64, count);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_within_one_piece() {
        let start = tokio::time::Instant::now();
        let body = Filling::new(100_000, Some(20_000)).collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), 100_000);
        let seconds = start.elapsed().as_secs_f64();
        assert!((4.9..=5.1).contains(&seconds), "{seconds}");
    }
}
