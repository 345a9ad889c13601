//! A request at a backend: the slot that it holds, and what the load-balancing table is told of it.

use std::sync::Arc;

use super::service::{Backend, Service};
use crate::{clock, qos::admission::Permit};

/// A request that was sent to a backend, or is about to be. Dropping it says that the client is gone while the backend may
/// still work on it.
pub struct Flight {
    service: Arc<Service>,
    /// Where it is.
    pub backend: Arc<Backend>,
    /// Nothing once it is over.
    permit: Option<Permit>,
    sent_ns: u64,
    latency_ns: Option<u64>,
}

impl Flight {
    /// A request that was let through to `backend`.
    #[must_use]
    pub fn new(service: Arc<Service>, backend: Arc<Backend>, permit: Permit) -> Self {
        service.balancer().began(backend.id);
        Self { service, backend, permit: Some(permit), sent_ns: clock::monotonic_ns(), latency_ns: None }
    }

    /// The slot.
    #[must_use]
    pub fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }

    /// The answer has begun; returns how long it took, the time of a body's sending left out (`asked_ns`: its end).
    pub fn answered(&mut self, now_ns: u64, asked_ns: u64) -> u64 {
        let latency_ns = now_ns.saturating_sub(self.sent_ns.max(asked_ns));
        self.latency_ns = Some(latency_ns);
        if let Some(permit) = &self.permit {
            permit.answered();
        }
        latency_ns
    }

    /// It is over: the backend has answered in full, or failed.
    pub fn end(mut self, now_ns: u64, is_answered: bool) {
        if let Some(permit) = self.permit.take() {
            permit.finish();
            self.service.balancer().ended(now_ns, self.backend.id, self.latency_ns, is_answered);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            drop(permit);
            self.service.balancer().ended(clock::monotonic_ns(), self.backend.id, self.latency_ns, true);
        }
    }
}
