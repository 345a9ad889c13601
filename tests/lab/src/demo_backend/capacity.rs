//! A server with a fixed number of workers and a queue before them, as a pool of threads is one.
//!
//! What a client gives up is worked on all the same: a server learns of it only when it has an answer to write.

use super::settings::Capacity;
use serde::Serialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::sleep};

/// The workers, and what they have done.
#[derive(Debug)]
pub(super) struct Workers {
    /// First in, first out (its documentation says so).
    free: Arc<Semaphore>,
    each: Duration,
    queue: usize,
    waiting: AtomicUsize,
    working: AtomicUsize,
    most_working: AtomicUsize,
    done: AtomicU64,
    refused: AtomicU64,
}

/// How busy the workers are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Requests that wait for a worker.
    pub waiting: usize,
    /// Requests that are worked on.
    pub working: usize,
    /// The most that were worked on at the same time.
    pub most_working: usize,
    /// Requests that were worked on to their end.
    pub done: u64,
    /// Requests that found the queue full.
    pub refused: u64,
}

impl Workers {
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(capacity.at_once)),
            each: capacity.each,
            queue: capacity.queue,
            waiting: AtomicUsize::default(),
            working: AtomicUsize::default(),
            most_working: AtomicUsize::default(),
            done: AtomicU64::default(),
            refused: AtomicU64::default(),
        })
    }

    /// Does a job when its turn comes, and takes the time that a job takes; nothing if the queue is full.
    ///
    /// The job is done whether or not the caller waits for it.
    pub(super) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let this = Arc::clone(self);
        let worker = tokio::spawn(async move {
            // Nobody closes the semaphore.
            let slot = this.free.acquire().await.ok();
            this.waiting.fetch_sub(1, Ordering::Relaxed);
            let working = this.working.fetch_add(1, Ordering::Relaxed) + 1;
            this.most_working.fetch_max(working, Ordering::Relaxed);
            let result = job.await;
            sleep(this.each).await;
            this.working.fetch_sub(1, Ordering::Relaxed);
            this.done.fetch_add(1, Ordering::Relaxed);
            drop(slot);
            result
        });
        worker.await.ok()
    }

    pub(super) fn load(&self) -> Load {
        Load {
            waiting: self.waiting.load(Ordering::Relaxed),
            working: self.working.load(Ordering::Relaxed),
            most_working: self.most_working.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::{task::JoinSet, time::Instant};

    const CAPACITY: Capacity = Capacity { at_once: 8, each: Duration::from_millis(10), queue: 100 };

    #[tokio::test(start_paused = true)]
    async fn eighty_jobs_take_ten_turns_and_begin_in_the_order_in_which_they_came() {
        let (workers, start) = (Workers::new(CAPACITY), Instant::now());
        let begun = Arc::new(Mutex::new(Vec::new()));
        let mut jobs = JoinSet::new();
        for number in 0..80 {
            let (workers, begun) = (Arc::clone(&workers), Arc::clone(&begun));
            jobs.spawn(async move { workers.work(async move { begun.lock().unwrap().push(number) }).await });
        }
        assert!(jobs.join_all().await.iter().all(Option::is_some));
        assert_eq!(start.elapsed(), Duration::from_millis(100));
        assert_eq!(*begun.lock().unwrap(), (0..80).collect::<Vec<_>>());
        assert_eq!(workers.load(), Load { most_working: 8, done: 80, ..Load::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_its_client_gave_up_takes_its_time_all_the_same() {
        let workers = Workers::new(Capacity { at_once: 1, ..CAPACITY });
        let start = Instant::now();
        assert!(tokio::time::timeout(Duration::from_millis(1), workers.work(async {})).await.is_err());
        assert_eq!(workers.work(async { 7 }).await, Some(7));
        assert_eq!(start.elapsed(), Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_queue_a_job_is_refused() {
        let workers = Workers::new(Capacity { at_once: 1, queue: 2, ..CAPACITY });
        let mut jobs = JoinSet::new();
        for _ in 0..4 {
            let workers = Arc::clone(&workers);
            jobs.spawn(async move { workers.work(async {}).await });
        }
        let refused = jobs.join_all().await.iter().filter(|outcome| outcome.is_none()).count();
        assert_eq!((refused, workers.load().refused, workers.load().done), (2, 2, 2));
    }
}
