//! A backend of a fixed capacity.

use super::{
    VecDeque,
    load::{Random, Service},
};

/// Works on so many requests at a time; the rest waits, first in, first out.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) capacity: usize,
    pub(super) service: Service,
    pub(super) busy: usize,
    pub(super) queue: VecDeque<usize>,
}

impl Backend {
    pub(super) fn new(capacity: usize, service: Service) -> Self {
        Self { capacity, service, busy: 0, queue: VecDeque::new() }
    }

    pub(super) fn become_like(&mut self, other: &Self) {
        (self.capacity, self.service) = (other.capacity, other.service);
    }

    /// The next request that it begins to work on, and how long that takes.
    pub(super) fn take(&mut self, random: &mut Random, of: impl Fn(usize) -> Option<Service>) -> Option<(usize, u64)> {
        if self.busy >= self.capacity {
            return None;
        }
        let job = self.queue.pop_front()?;
        self.busy += 1;
        Some((job, of(job).unwrap_or(self.service).draw_ns(random)))
    }
}
