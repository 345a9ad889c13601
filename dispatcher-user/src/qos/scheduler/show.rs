//! What the schedule shows of itself.

use super::Scheduler;
use crate::qos::{
    histogram::Histogram,
    queue::Order,
    request::nanoseconds,
    settings::{ClassId, ClassSettings},
    view::{ClassCounts, ClassView, WindowView},
};

/// A class at one or more backends, before its quantiles are drawn.
#[derive(Clone, Debug)]
pub(crate) struct ClassSum {
    view: ClassView,
    waits: Histogram,
}

impl ClassSum {
    /// A class that has nothing at any backend.
    pub(crate) fn new(settings: &ClassSettings, now_ns: u64) -> Self {
        let view = ClassView {
            name: settings.name.clone(),
            priority: settings.priority,
            weight: settings.weight,
            share_percent: settings.share_percent,
            queue: settings.queue,
            timeout_ms: nanoseconds(settings.timeout) / 1_000_000,
            rate: settings.rate,
            client_rate: settings.client_rate,
            ..ClassView::default()
        };
        Self { view, waits: Histogram::new(now_ns) }
    }

    /// Adds what another backend has of the class.
    pub(crate) fn add(&mut self, other: &Self) {
        let (sum, view) = (&mut self.view, &other.view);
        sum.depth += view.depth;
        sum.bytes += view.bytes;
        sum.clients += view.clients;
        sum.overloaded += view.overloaded;
        sum.in_flight += view.in_flight;
        sum.counts.add(&view.counts);
        self.waits.add(&other.waits);
    }

    /// Adds requests that were refused before they came to a backend's schedule.
    pub(crate) fn add_counts(&mut self, counts: &ClassCounts) {
        self.view.counts.add(counts);
    }

    /// The class, ready to be shown.
    pub(crate) fn view(self) -> ClassView {
        ClassView {
            wait_p50_us: self.waits.quantile_ns(500) / 1000,
            wait_p99_us: self.waits.quantile_ns(990) / 1000,
            ..self.view
        }
    }
}

impl<T> Scheduler<T> {
    /// What the backend has of each class.
    pub(crate) fn class_sums(&mut self, now_ns: u64) -> Vec<ClassSum> {
        (0..self.classes.len()).filter_map(|index| self.class_sum(now_ns, index)).collect()
    }

    /// A class at this backend.
    pub fn class(&mut self, now_ns: u64, class: ClassId) -> Option<ClassView> {
        self.class_sum(now_ns, class.index()).map(ClassSum::view)
    }

    /// The backend's window.
    pub fn window(&self) -> WindowView {
        let slots = self.slots.window();
        WindowView {
            slots: (slots < u32::MAX).then_some(slots),
            base_latency_us: self.slots.base_latency_ns().map(|base_ns| base_ns / 1000),
            in_flight: self.slots.in_flight(),
            abandoned: self.slots.abandoned() as u64,
            stalled: self.slots.stalled(),
            waiting: u64::from(self.waiting),
        }
    }

    fn class_sum(&mut self, now_ns: u64, index: usize) -> Option<ClassSum> {
        let class = self.classes.get_mut(index)?;
        class.waits.turn(now_ns);
        let is_overloaded = class.order(now_ns, self.standing_ns, &self.requests) != Order::OldestFirst;
        let mut sum = ClassSum::new(&class.settings, now_ns);
        sum.view = ClassView {
            depth: u64::from(class.queue.len()) + u64::from(class.returning.len()),
            bytes: class.queue.bytes(),
            clients: class.queue.clients() as u64,
            overloaded: u64::from(is_overloaded),
            in_flight: u64::from(class.in_flight),
            counts: class.counts,
            ..sum.view
        };
        sum.waits.add(&class.waits);
        Some(sum)
    }
}
