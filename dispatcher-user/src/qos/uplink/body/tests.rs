//! Bodies in slices: complete, in order, and without a slot while their clients are slow.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::{collections::VecDeque, convert::Infallible, pin::pin, sync::Arc, task::Waker};

use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use proptest::prelude::*;

use super::*;
use crate::{
    clock::monotonic_ns,
    qos::{
        admission::{Admission, Permit},
        classes::Classes,
        request::Ask,
        settings::{ClassId, ClassSettings, WindowSettings},
    },
};

/// A body that brings what it is told, in pieces; `None` is a client that has not sent the next one yet.
struct Pieces {
    pieces: VecDeque<Option<Frame<Bytes>>>,
    /// It knows its end before it is asked, as with a content length.
    knows_end: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.pieces.pop_front() {
            Some(Some(piece)) => Poll::Ready(Some(Ok(piece))),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.knows_end && self.pieces.is_empty()
    }
}

fn data(bytes: usize) -> Option<Frame<Bytes>> {
    Some(Frame::data(Bytes::from(vec![7; bytes])))
}

fn pieces(knows_end: bool, pieces: impl IntoIterator<Item = Option<Frame<Bytes>>>) -> Pieces {
    Pieces { pieces: pieces.into_iter().collect(), knows_end }
}

fn admission(slots: u32) -> Arc<Admission> {
    Classes::new(vec![ClassSettings::new("default", 0)], monotonic_ns)
        .unwrap()
        .admission(WindowSettings::Fixed(slots))
        .unwrap()
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn take(admission: &Arc<Admission>) -> Permit {
    let Poll::Ready(Ok(permit)) = poll(&mut admission.admit(Ask::new(ClassId(0), 1))) else {
        panic!("no slot is free")
    };
    permit
}

/// The next piece of a body; `None` if there is none yet.
fn next<B: Body<Data = Bytes> + Unpin>(body: &mut Sliced<B>) -> Option<Option<usize>> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => Some(Some(frame.data_ref().map_or(usize::MAX, Bytes::len))),
        Poll::Ready(Some(Err(_))) => panic!("an error"),
        Poll::Ready(None) => Some(None),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_large_body_goes_in_slices() {
    let admission = admission(1);
    let permit = take(&admission);
    let bytes: Bytes = (0..100_000_u32).map(|number| number as u8).collect();
    let mut body = permit.body(Full::new(bytes.clone()));
    assert_eq!(body.size_hint().exact(), Some(100_000));
    let (mut sizes, mut all) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let slice = frame.unwrap().into_data().unwrap();
        sizes.push(slice.len());
        all.extend_from_slice(&slice);
        assert_eq!(body.size_hint().exact(), Some((100_000 - all.len()) as u64));
    }
    assert_eq!(all, bytes);
    assert_eq!(sizes, [SLICE, SLICE, SLICE, SLICE, SLICE, SLICE, 100_000 - 6 * SLICE]);
    assert!(body.is_end_stream());
    permit.finish();
}

#[tokio::test]
async fn a_slow_client_holds_no_slot_but_for_its_last_byte() {
    let admission = admission(1);
    for knows_end in [true, false] {
        let permit = take(&admission);
        let mut body = permit.body(pieces(knows_end, [data(10), None, data(20), None, data(30)]));
        assert_eq!(next(&mut body), Some(Some(10)));
        assert_eq!((next(&mut body), admission.window().in_flight), (None, 0));
        // Somebody else has the slot, and the body goes on.
        let other = take(&admission);
        assert_eq!(next(&mut body), Some(Some(20)));
        assert_eq!(next(&mut body), None);
        if !knows_end {
            assert_eq!(next(&mut body), Some(Some(30)), "it may not be the last");
        }
        assert_eq!((next(&mut body), admission.window().waiting), (None, 1));
        other.finish();
        assert_eq!(next(&mut body), Some(if knows_end { Some(30) } else { None }));
        assert_eq!(admission.window().in_flight, 1);
        permit.finish();
        assert_eq!((admission.window().in_flight, admission.window().stalled), (0, 0));
    }
}

#[tokio::test]
async fn trailers_come_last_and_need_the_slot() {
    let admission = admission(1);
    let permit = take(&admission);
    let trailers = Some(Frame::trailers(http::HeaderMap::new()));
    let mut body = permit.body(pieces(false, [None, data(5), trailers]));
    assert_eq!(next(&mut body), None);
    let other = take(&admission);
    assert_eq!(next(&mut body), Some(Some(5)));
    assert_eq!(next(&mut body), None);
    assert!(!body.is_end_stream());
    other.finish();
    assert_eq!(next(&mut body), Some(Some(usize::MAX)));
    assert_eq!(next(&mut body), Some(None));
    permit.finish();
}

#[tokio::test]
async fn a_body_whose_backend_is_gone_ends_with_an_error() {
    let admission = admission(1);
    let permit = take(&admission);
    let mut body = permit.body(pieces(true, [None, data(5)]));
    assert_eq!(next(&mut body), None);
    let other = take(&admission);
    assert_eq!(next(&mut body), None);
    admission.set_closed(true);
    let error = pin!(body.frame()).now_or_never();
    assert!(matches!(error, Some(Some(Err(SlicedError::Shed(_))))), "{error:?}");
    drop((body, permit, other));
    assert_eq!(admission.window().stalled, 0);
}

#[tokio::test]
async fn a_body_that_outlives_its_request_is_harmless() {
    let admission = admission(1);
    let permit = take(&admission);
    let mut body = permit.body(pieces(true, [None, data(5), None, data(5)]));
    assert_eq!(next(&mut body), None);
    permit.finish();
    let other = take(&admission);
    assert_eq!(next(&mut body), Some(Some(5)));
    assert_eq!(next(&mut body), None);
    assert_eq!(next(&mut body), Some(Some(5)));
    assert_eq!((admission.window().in_flight, admission.window().stalled), (1, 0));
    other.finish();
}

#[tokio::test]
async fn bodies_that_a_backend_does_not_read_do_not_stop_others() {
    let admission = admission(100);
    let permits: Vec<Permit> = (0..20).map(|_| take(&admission)).collect();
    let mut bodies: Vec<_> = permits.iter().map(|permit| permit.body(pieces(true, [data(1 << 20)]))).collect();
    let mut last = bodies.pop().unwrap();
    // Each sends what it may, and is not asked again.
    let sent = bodies.iter_mut().filter_map(next).count();
    assert_eq!(sent as u64, super::super::BUDGET / SLICE as u64);
    assert_eq!(next(&mut last), None);
    let slice = tokio::time::timeout(std::time::Duration::from_secs(60), last.frame()).await;
    assert_eq!(slice.unwrap().unwrap().unwrap().into_data().unwrap().len(), SLICE);
}

proptest! {
    /// Whatever comes in whatever pieces goes out complete, in order and in slices.
    #[test]
    fn nothing_is_lost(sizes in prop::collection::vec(prop::option::of(0_usize..50_000), 0..12), knows_end: bool) {
        let admission = admission(1);
        let permit = take(&admission);
        let total: usize = sizes.iter().flatten().sum();
        let waits = sizes.iter().filter(|size| size.is_none()).count();
        let mut body = permit.body(pieces(knows_end, sizes.into_iter().map(|size| size.and_then(data))));
        let (mut seen, mut pending) = (0, 0);
        loop {
            match next(&mut body) {
                Some(Some(bytes)) => {
                    prop_assert!(0 < bytes && bytes <= SLICE);
                    seen += bytes;
                }
                Some(None) => break,
                None => pending += 1,
            }
            prop_assert!(pending <= waits);
        }
        prop_assert_eq!(seen, total);
        permit.finish();
        prop_assert_eq!(admission.window().in_flight, 0);
    }
}
