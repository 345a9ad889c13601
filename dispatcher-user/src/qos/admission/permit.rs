//! A slot of a backend's window, as its request holds it.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::Admission;
use crate::qos::{
    request::Ticket,
    scheduler::{Answer, Outcome},
    settings::ClassId,
    uplink::Sliced,
    view::Shed,
};

/// A request that was let through. To drop it is to say that its client is gone while the backend may still work on it:
/// the slot stays taken until the request's usual time has passed. Whoever sees the backend's answer end, or its reset,
/// calls [`Permit::finish`].
#[derive(Debug)]
#[must_use = "to drop it means that the client is gone"]
pub struct Permit {
    admission: Arc<Admission>,
    class: ClassId,
    ticket: Ticket,
    is_over: bool,
}

impl Permit {
    pub(super) fn new(admission: Arc<Admission>, class: ClassId, ticket: Ticket) -> Self {
        Self { admission, class, ticket, is_over: false }
    }

    /// Lets the request's body take turns with others, and lend the request's slot while its client is slow.
    pub fn body<B>(&self, body: B) -> Sliced<B> {
        let upload = self.admission.uplink.join(self.class);
        let pause = Pause { admission: Arc::clone(&self.admission), ticket: self.ticket, is_lent: false };
        Sliced::new(body, upload, pause)
    }

    /// The backend has begun to answer. The time until now is what a window that is found goes by; without this call, it
    /// goes by the time until [`Self::finish`], in which a slow client's download counts.
    pub fn answered(&self) {
        let now_ns = self.admission.now_ns();
        self.admission.lock().scheduler.answered(now_ns, self.ticket);
    }

    /// How long the request waited for its slot.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.admission.lock().scheduler.waited_ns(self.ticket))
    }

    /// The request is over: the slot is free.
    pub fn finish(mut self) {
        self.is_over = true;
        self.admission.tell(|scheduler, now_ns| scheduler.finish(now_ns, self.ticket));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_over {
            self.admission.tell(|scheduler, now_ns| scheduler.abandon(now_ns, self.ticket));
        }
    }
}

/// Lends a request's slot to others. After the request is over it does nothing.
#[derive(Debug)]
pub(in crate::qos) struct Pause {
    admission: Arc<Admission>,
    ticket: Ticket,
    is_lent: bool,
}

impl Pause {
    /// The request waits for its client: the backend can do nothing for it, so others have its slot meanwhile. So many
    /// may do so at a time as a backend can be expected to keep open; others keep their slots.
    pub(in crate::qos) fn lend(&mut self) {
        if !self.is_lent {
            self.is_lent = self.admission.tell(|scheduler, _| scheduler.stall(self.ticket));
        }
    }

    /// Waits for a slot, if the request has lent its own. The last byte of a request must not go out without: with it, the
    /// backend begins to work. Requests that come back go before those of their class that were never let through.
    pub(in crate::qos) fn poll_return(&mut self, context: &Context<'_>) -> Poll<Result<(), Shed>> {
        if !self.is_lent {
            return Poll::Ready(Ok(()));
        }
        match self.admission.come_back(self.ticket, context) {
            Answer::Wait(_) => return Poll::Pending,
            Answer::Go(_) => {}
            Answer::Shed(shed) => return Poll::Ready(Err(shed)),
        }
        self.is_lent = false;
        Poll::Ready(Ok(()))
    }
}

impl Admission {
    fn come_back(&self, ticket: Ticket, context: &Context<'_>) -> Answer {
        let now_ns = self.now_ns();
        let mut schedule = self.lock();
        let answer = match schedule.scheduler.resume(now_ns, ticket) {
            Outcome::Go => Answer::Go(ticket),
            Outcome::Shed(shed) => Answer::Shed(shed),
            Outcome::Waits => schedule.look(ticket, context),
        };
        self.settle(schedule, now_ns);
        answer
    }
}
