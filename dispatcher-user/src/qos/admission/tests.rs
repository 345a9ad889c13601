//! Tasks that wait, leave, and are served: with a paused clock, and many at a time.

mod many;

use std::{cell::OnceCell, future::poll_fn, pin::pin, task};

use futures_util::FutureExt as _;
use tokio::{task::JoinHandle, time::Instant};

use super::*;
use crate::qos::{
    classes::Classes,
    settings::{ClassId, ClassSettings, WindowSettings},
    view::ShedReason,
};

const DEFAULT: ClassId = ClassId(0);
const GOLD: ClassId = ClassId(1);

/// The paused clock of the test's own runtime.
fn paused_ns() -> u64 {
    thread_local!(static START: OnceCell<Instant> = const { OnceCell::new() });
    let start = START.with(|start| *start.get_or_init(Instant::now));
    u64::try_from(start.elapsed().as_nanos()).unwrap()
}

fn classes() -> Classes {
    let classes = vec![ClassSettings::new("default", 1), ClassSettings::new("gold", 0)];
    Classes::new(classes, paused_ns).unwrap()
}

/// An admission with so many slots, and its tender at work.
fn admission(slots: u32) -> (Arc<Admission>, JoinHandle<()>) {
    let admission = classes().admission(WindowSettings::Fixed(slots)).unwrap();
    let tender = tokio::spawn(admission.tend());
    (admission, tender)
}

fn ask(class: ClassId) -> Ask {
    Ask::new(class, 1)
}

/// Polls a future once.
fn poll(future: &mut Admit) -> Poll<Result<Permit, Shed>> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Asks for a slot that must be free.
fn take(admission: &Arc<Admission>) -> Permit {
    admission.admit(ask(DEFAULT)).now_or_never().expect("a free slot").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_free_slot_is_given_without_waiting() {
    let (admission, _tender) = admission(2);
    let (first, second) = (take(&admission), take(&admission));
    assert!(admission.admit(ask(DEFAULT)).now_or_never().is_none());
    first.finish();
    take(&admission).finish();
    second.finish();
    assert_eq!(admission.window().in_flight, 0);
    let view = &admission.classes()[0];
    assert_eq!((view.counts.admitted, view.counts.finished, view.counts.gave_up), (3, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn whoever_frees_a_slot_wakes_whose_turn_it_is() {
    let (admission, _tender) = admission(1);
    let permit = take(&admission);
    let low = tokio::spawn(admission.admit(ask(DEFAULT)));
    tokio::task::yield_now().await;
    let high = tokio::spawn(admission.admit(ask(GOLD)));
    tokio::task::yield_now().await;
    time::advance(Duration::from_millis(5)).await;
    permit.finish();
    let high = high.await.unwrap().unwrap();
    assert_eq!(high.waited(), Duration::from_millis(5));
    assert!(!low.is_finished());
    high.finish();
    low.await.unwrap().unwrap().finish();
}

#[tokio::test(start_paused = true)]
async fn a_slot_given_to_someone_who_leaves_goes_to_the_next() {
    let (admission, _tender) = admission(1);
    let permit = take(&admission);
    let mut waiting: Vec<Admit> = (0..4).map(|_| admission.admit(ask(DEFAULT))).collect();
    for future in &mut waiting {
        assert!(poll(future).is_pending());
    }
    // One leaves while it waits, one after it was given the slot and before it knows.
    drop(waiting.remove(0));
    permit.finish();
    assert_eq!(admission.window().in_flight, 1);
    drop(waiting.remove(0));
    let Poll::Ready(Ok(permit)) = poll(&mut waiting[0]) else { panic!("the next one has the slot") };
    assert!(poll(&mut waiting[1]).is_pending());
    permit.finish();
    drop(waiting);
    assert_eq!((admission.window().in_flight, admission.window().waiting), (0, 0));
    assert_eq!(admission.classes()[0].counts.gave_up, 3);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_becomes_too_long_is_refused_by_time_alone() {
    let (admission, _tender) = admission(1);
    let _permit = take(&admission);
    let began_ns = paused_ns();
    let shed = admission.admit(ask(DEFAULT)).await.unwrap_err();
    assert_eq!(shed.reason, ShedReason::Timeout);
    let waited_ms = (paused_ns() - began_ns) / 1_000_000;
    assert!((1000..=1002).contains(&waited_ms), "{waited_ms}");
}

#[tokio::test(start_paused = true)]
async fn a_slot_whose_client_left_is_given_away_once_its_usual_time_has_passed() {
    let (admission, _tender) = admission(1);
    for _ in 0..50 {
        let permit = take(&admission);
        time::advance(Duration::from_millis(20)).await;
        permit.finish();
    }
    let began_ns = paused_ns();
    drop(take(&admission));
    admission.admit(ask(DEFAULT)).await.unwrap().finish();
    let waited_ms = (paused_ns() - began_ns) / 1_000_000;
    assert!((20..=23).contains(&waited_ms), "{waited_ms}");
}

#[tokio::test(start_paused = true)]
async fn a_tender_that_sleeps_for_long_is_woken_for_what_is_due_earlier() {
    let classes = classes();
    let admission = classes.admission(WindowSettings::Fixed(1)).unwrap();
    let quick = Duration::from_millis(10);
    let change = crate::qos::settings::ClassChange { timeout: Some(quick), ..Default::default() };
    classes.set("gold", &change).unwrap();
    let _tender = tokio::spawn(admission.tend());
    let _permit = take(&admission);
    let slow = tokio::spawn(admission.admit(ask(DEFAULT)));
    time::advance(Duration::from_millis(100)).await;
    let began_ns = paused_ns();
    assert_eq!(admission.admit(ask(GOLD)).await.unwrap_err().reason, ShedReason::Timeout);
    assert!(paused_ns() - began_ns <= 12_000_000);
    assert!(!slow.is_finished());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_at_a_backend_that_is_gone_is_told_at_once() {
    let (admission, _tender) = admission(1);
    let permit = take(&admission);
    let waits = tokio::spawn(admission.admit(ask(DEFAULT)));
    tokio::task::yield_now().await;
    admission.set_closed(true);
    assert_eq!(waits.await.unwrap().unwrap_err().reason, ShedReason::Closed);
    assert_eq!(admission.admit(ask(GOLD)).await.unwrap_err().reason, ShedReason::Closed);
    permit.finish();
    admission.set_closed(false);
    take(&admission).finish();
}

#[tokio::test(start_paused = true)]
async fn a_window_that_grows_lets_everyone_in_who_fits() {
    let classes = classes();
    let admission = classes.admission(WindowSettings::Fixed(1)).unwrap();
    let _permit = take(&admission);
    // More than are woken in one go.
    let waits: Vec<JoinHandle<_>> = (0..30).map(|_| tokio::spawn(admission.admit(ask(DEFAULT)))).collect();
    tokio::task::yield_now().await;
    classes.set_window(&admission, WindowSettings::Fixed(31)).unwrap();
    for wait in waits {
        wait.await.unwrap().unwrap().finish();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_at_every_backend_together() {
    let classes = classes();
    let change = crate::qos::settings::ClassChange { rate: Some(3), ..Default::default() };
    classes.set("default", &change).unwrap();
    let backends = [(); 2].map(|()| classes.admission(WindowSettings::Fixed(100)).unwrap());
    let admitted = (0..10).filter(|number| backends[number % 2].admit(ask(DEFAULT)).now_or_never().unwrap().is_ok());
    assert_eq!(admitted.count(), 3);
    let view = classes.view();
    assert_eq!(view[1].name, "default");
    assert_eq!((view[1].counts.admitted, view[1].counts.shed.class_rate), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn a_tender_ends_with_its_admission() {
    let (admission, tender) = admission(1);
    let permit = take(&admission);
    tokio::task::yield_now().await;
    drop(admission);
    assert!(!tender.is_finished());
    permit.finish();
    tender.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_moved_is_woken_where_it_is() {
    let (admission, _tender) = admission(1);
    let permit = take(&admission);
    let mut waits = pin!(admission.admit(ask(DEFAULT)));
    let counts: [Arc<Count>; 2] = Default::default();
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    permit.finish();
    assert_eq!(counts.each_ref().map(|count| count.0.load(std::sync::atomic::Ordering::Relaxed)), [0, 1]);
    poll_fn(|context| waits.as_mut().poll(context)).await.unwrap().finish();
}

#[derive(Default)]
struct Count(std::sync::atomic::AtomicU32);

impl task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}
