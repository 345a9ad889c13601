//! The promise of admission to the hot path: a request that need not wait allocates nothing.
#![expect(clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use dispatcher_user::{
    clock::monotonic_ns,
    qos::{
        Ask,
        admission::{Admission, Permit},
        classes::Classes,
        settings::{ClassId, ClassSettings, WindowSettings},
    },
};

fn admit(admission: &Arc<Admission>) -> Permit {
    let mut admit = admission.admit(Ask::new(ClassId(0), 1));
    let polled = Pin::new(&mut admit).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Ok(permit)) = polled else { panic!("a slot is free: {polled:?}") };
    permit
}

#[test]
fn a_request_that_need_not_wait_allocates_nothing() {
    let classes = vec![ClassSettings::new("default", 1), ClassSettings::new("gold", 0)];
    let classes = Classes::new(classes, monotonic_ns).unwrap();
    for window in [WindowSettings::Open, WindowSettings::Fixed(8), WindowSettings::FOUND] {
        let admission = classes.admission(window).unwrap();
        // The record of the first request is kept for later ones.
        admit(&admission).finish();
        let allocated = allocation_counter::measure(|| {
            for _ in 0..100 {
                let permit = admit(&admission);
                permit.answered();
                permit.finish();
            }
        });
        assert_eq!(allocated.count_total, 0, "{window:?}: {allocated:?}");
    }
    // What counts allocations counts them.
    let allocated = allocation_counter::measure(|| drop(classes.admission(WindowSettings::Open)));
    assert!(allocated.count_total > 0);
}
