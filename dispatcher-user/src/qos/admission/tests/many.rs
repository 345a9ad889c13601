//! Many tasks on several threads, some of which leave at any moment.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::*;
use crate::clock::monotonic_ns;

const SLOTS: u32 = 3;
const TASKS: u64 = 64;
const REQUESTS: u64 = 300;

/// What the tasks have seen together.
#[derive(Default)]
struct Seen {
    in_flight: AtomicU32,
    most: AtomicU32,
    served: AtomicU64,
    left: AtomicU64,
    refused: AtomicU64,
}

/// Asks again and again; at each third time it leaves after having been polled up to `number` times.
async fn requests(admission: Arc<Admission>, seen: Arc<Seen>, number: u64) {
    for round in 0..REQUESTS {
        let class = ClassId((number % 2) as u16);
        let mut admit = admission.admit(Ask::new(class, number % 8));
        let leaves = (round + number).is_multiple_of(3);
        let polls = if leaves { (round * 7 + number) % 4 } else { u64::MAX };
        match polls_at_most(&mut admit, polls).await {
            None => _ = seen.left.fetch_add(1, Ordering::Relaxed),
            Some(Err(_)) => _ = seen.refused.fetch_add(1, Ordering::Relaxed),
            Some(Ok(permit)) => {
                let now = seen.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
                seen.most.fetch_max(now, Ordering::Relaxed);
                tokio::task::yield_now().await;
                seen.in_flight.fetch_sub(1, Ordering::SeqCst);
                seen.served.fetch_add(1, Ordering::Relaxed);
                if leaves { drop(permit) } else { permit.finish() }
            }
        }
    }
}

/// Polls a future; after so many polls without an answer it leaves.
async fn polls_at_most(admit: &mut Admit, mut polls: u64) -> Option<Result<Permit, Shed>> {
    poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        let answer = Pin::new(&mut *admit).poll(context).map(Some);
        if answer.is_pending() && polls < 8 {
            context.waker().wake_by_ref();
        }
        answer
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_slot_is_lost_or_given_twice_and_nobody_is_forgotten() {
    let patient =
        |name, priority| ClassSettings { timeout: Duration::from_secs(3600), ..ClassSettings::new(name, priority) };
    let classes = Classes::new(vec![patient("default", 1), patient("gold", 0)], monotonic_ns).unwrap();
    let admission = classes.admission(WindowSettings::Fixed(SLOTS)).unwrap();
    let tender = tokio::spawn(admission.tend());
    let seen = Arc::new(Seen::default());
    let tasks: Vec<JoinHandle<()>> =
        (0..TASKS).map(|number| tokio::spawn(requests(Arc::clone(&admission), Arc::clone(&seen), number))).collect();
    let all = async {
        for task in tasks {
            task.await.unwrap();
        }
        // The slots of those that left come free by time.
        while admission.window().in_flight > 0 {
            let waits = admission.admit(ask(DEFAULT));
            waits.await.unwrap().finish();
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(120), all).await.expect("everybody is answered");
    assert!(seen.most.load(Ordering::Relaxed) <= SLOTS, "{:?} at a time", seen.most);
    let [served, left, refused] = [&seen.served, &seen.left, &seen.refused].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(served + left + refused, TASKS * REQUESTS);
    assert_eq!(refused, 0, "nobody waited too long, and there was room for all");
    assert!(served > TASKS * REQUESTS / 2 && left > 0, "{served} served, {left} left");
    let window = admission.window();
    assert_eq!((window.in_flight, window.waiting, window.abandoned), (0, 0, 0));
    drop((admission, classes));
    time::timeout(Duration::from_secs(60), tender).await.expect("the tender ends").unwrap();
}
