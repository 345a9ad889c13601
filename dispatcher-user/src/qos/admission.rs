//! Admission to one backend: a request asks, waits for its turn, and holds a slot until it is over.
//!
//! The schedule is behind a lock of its own that is held for the time of one decision, never over an `.await`. A request
//! that need not wait takes that lock twice, to ask and to finish, and nothing is allocated for it. Where a request waits,
//! its waker lies in the schedule; whoever frees a slot wakes whose turn it is. Everything that two tasks may do at the
//! same time (a slot is given while its request is being dropped) is decided under the lock, so no slot is lost or given
//! twice.
//!
//! What is due by time alone (waits that become too long, slots of requests whose clients are gone) is the work of
//! [`Admission::tend`], one task for each backend, which sleeps as long as nothing waits.

mod permit;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{sync::Notify, time};

pub(super) use self::permit::Pause;
pub use self::permit::Permit;
use super::{
    classes::ClassSum,
    rate::Rates,
    request::{Ask, Ticket},
    scheduler::{Answer, Outcome, Scheduler},
    settings::{Settings, SettingsError},
    uplink::Uplink,
    view::{ClassView, Shed, WindowView},
};

/// Reads the clock; nanoseconds. [`crate::clock::monotonic_ns`] but in tests.
pub type Clock = fn() -> u64;

/// Admission to one backend.
pub struct Admission {
    schedule: Mutex<Schedule>,
    uplink: Arc<Uplink>,
    rates: Arc<Rates>,
    tender: Arc<Notify>,
    clock: Clock,
}

struct Schedule {
    scheduler: Scheduler<Option<Waker>>,
    /// Until when the tender sleeps.
    armed_ns: u64,
}

impl Admission {
    /// Admission to a backend with which nothing is in flight.
    pub(super) fn new(settings: &Settings, rates: Arc<Rates>, clock: Clock) -> Result<Arc<Self>, SettingsError> {
        let scheduler = Scheduler::new(settings, clock())?;
        let schedule = Mutex::new(Schedule { scheduler, armed_ns: u64::MAX });
        let uplink = Arc::new(Uplink::new(&settings.classes, clock));
        Ok(Arc::new(Self { schedule, uplink, rates, tender: Arc::default(), clock }))
    }

    /// Asks for a slot. To drop the future is to withdraw.
    #[must_use = "a request asks when it is polled"]
    pub fn admit(self: &Arc<Self>, ask: Ask) -> Admit {
        Admit { admission: Some(Arc::clone(self)), ask, ticket: None }
    }

    /// Does what is due by time alone, until all of the admission's owners are gone.
    pub fn tend(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let (admission, tender) = (Arc::downgrade(self), Arc::clone(&self.tender));
        async move {
            while let Some(sleep) = admission.upgrade().map(|admission| admission.do_what_is_due()) {
                match sleep {
                    // Either way there is something to look at.
                    Some(sleep) => drop(time::timeout(sleep, tender.notified()).await),
                    None => tender.notified().await,
                }
            }
        }
    }

    /// Closes admission, or opens it again. While it is closed, what waits and what asks is refused at once, so that it
    /// can go to another backend; requests in flight are not touched.
    pub fn set_closed(&self, is_closed: bool) {
        let now_ns = self.now_ns();
        let mut schedule = self.lock();
        schedule.scheduler.set_closed(now_ns, is_closed);
        self.settle(schedule, now_ns);
    }

    /// Changes the settings; requests that wait and requests in flight stay.
    ///
    /// # Errors
    /// If the settings contradict themselves; then nothing changes.
    pub(super) fn configure(&self, settings: &Settings) -> Result<(), SettingsError> {
        let now_ns = self.now_ns();
        let mut schedule = self.lock();
        let result = schedule.scheduler.configure(now_ns, settings);
        self.settle(schedule, now_ns);
        if result.is_ok() {
            self.uplink.configure(&settings.classes);
        }
        result
    }

    /// The classes at this backend.
    #[must_use]
    pub fn classes(&self) -> Vec<ClassView> {
        self.class_sums().into_iter().map(ClassSum::view).collect()
    }

    /// The classes at this backend, to be added to those at others.
    pub(super) fn class_sums(&self) -> Vec<ClassSum> {
        let now_ns = self.now_ns();
        self.lock().scheduler.class_sums(now_ns)
    }

    /// The backend's window.
    #[must_use]
    pub fn window(&self) -> WindowView {
        self.lock().scheduler.window()
    }

    fn now_ns(&self) -> u64 {
        (self.clock)()
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        // The schedule is whole between any two of its operations, also if a task panicked after one.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of something about a request, and acts on what follows.
    fn tell<R>(&self, event: impl FnOnce(&mut Scheduler<Option<Waker>>, u64) -> R) -> R {
        let now_ns = self.now_ns();
        let mut schedule = self.lock();
        let result = event(&mut schedule.scheduler, now_ns);
        self.settle(schedule, now_ns);
        result
    }

    /// Wakes everyone whose wait is over. Wakers run without the lock: they may do anything.
    fn settle<'a>(&'a self, mut schedule: MutexGuard<'a, Schedule>, now_ns: u64) {
        loop {
            let mut wakers = Wakers::default();
            let is_all = wakers.collect(&mut schedule.scheduler, now_ns);
            let is_earlier = schedule.arm();
            drop(schedule);
            wakers.wake();
            if is_earlier {
                self.tender.notify_one();
            }
            if is_all {
                return;
            }
            schedule = self.lock();
        }
    }

    /// Does what is due, and says how long to sleep; `None`: until called.
    fn do_what_is_due(&self) -> Option<Duration> {
        let now_ns = self.now_ns();
        self.settle(self.lock(), now_ns);
        let mut schedule = self.lock();
        schedule.armed_ns = schedule.scheduler.due_ns().unwrap_or(u64::MAX);
        let is_idle = schedule.armed_ns == u64::MAX;
        (!is_idle).then(|| Duration::from_nanos(schedule.armed_ns.saturating_sub(now_ns)))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.tender.notify_one();
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Admission").field("window", &self.window()).finish_non_exhaustive()
    }
}

impl Schedule {
    /// True if the tender has to be woken, for something is due before it would wake up.
    fn arm(&mut self) -> bool {
        let Some(due_ns) = self.scheduler.due_ns().filter(|due_ns| *due_ns < self.armed_ns) else { return false };
        self.armed_ns = due_ns;
        true
    }
}

/// A few wakers, to be woken once the lock is released.
#[derive(Default)]
struct Wakers([Option<Waker>; 8]);

impl Wakers {
    /// Carries out what the schedule says; false if there may be more to do than there is room for.
    fn collect(&mut self, scheduler: &mut Scheduler<Option<Waker>>, now_ns: u64) -> bool {
        for place in &mut self.0 {
            let Some((ticket, _)) = scheduler.next(now_ns) else { return true };
            *place = scheduler.payload_mut(ticket).and_then(Option::take);
        }
        false
    }

    fn wake(self) {
        self.0.into_iter().flatten().for_each(Waker::wake);
    }
}

/// A request that asks for a slot; see [`Admission::admit`].
#[derive(Debug)]
pub struct Admit {
    /// `None` once it is answered.
    admission: Option<Arc<Admission>>,
    ask: Ask,
    ticket: Option<Ticket>,
}

impl Future for Admit {
    type Output = Result<Permit, Shed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(admission) = self.admission.take() else { return Poll::Pending };
        let answer = match self.ticket {
            None => self.ask(&admission, context),
            Some(ticket) => admission.look(ticket, context),
        };
        match answer {
            Answer::Go(ticket) => Poll::Ready(Ok(Permit::new(admission, self.ask.class, ticket))),
            Answer::Shed(shed) => Poll::Ready(Err(shed)),
            Answer::Wait(ticket) => {
                (self.admission, self.ticket) = (Some(admission), Some(ticket));
                Poll::Pending
            }
        }
    }
}

impl Admit {
    fn ask(&self, admission: &Admission, context: &Context<'_>) -> Answer {
        let now_ns = admission.now_ns();
        if let Err((reason, retry_after_s)) = admission.rates.take(now_ns, self.ask.class, self.ask.client) {
            return Answer::Shed(Shed { reason, retry_after_s });
        }
        let mut schedule = admission.lock();
        let mut answer = schedule.scheduler.ask(now_ns, &self.ask, None);
        if matches!(answer, Answer::Go(_)) {
            return answer;
        }
        // Its turn may have come at once, and others may have had to make room for it.
        let mut wakers = Wakers::default();
        let is_all = wakers.collect(&mut schedule.scheduler, now_ns);
        if let Answer::Wait(ticket) = answer {
            answer = schedule.look(ticket, context);
        }
        let is_earlier = schedule.arm();
        drop(schedule);
        wakers.wake();
        if is_earlier {
            admission.tender.notify_one();
        }
        if !is_all {
            admission.settle(admission.lock(), now_ns);
        }
        answer
    }
}

impl Admission {
    fn look(&self, ticket: Ticket, context: &Context<'_>) -> Answer {
        self.lock().look(ticket, context)
    }
}

impl Schedule {
    /// Looks how a wait ended; if it has not, its task is woken when it does.
    fn look(&mut self, ticket: Ticket, context: &Context<'_>) -> Answer {
        match self.scheduler.outcome(ticket) {
            Outcome::Go => return Answer::Go(ticket),
            Outcome::Shed(shed) => return Answer::Shed(shed),
            Outcome::Waits => {}
        }
        if let Some(waker) = self.scheduler.payload_mut(ticket)
            && !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        Answer::Wait(ticket)
    }
}

impl Drop for Admit {
    fn drop(&mut self) {
        if let (Some(admission), Some(ticket)) = (self.admission.take(), self.ticket) {
            admission.tell(|scheduler, now_ns| scheduler.withdraw(now_ns, ticket));
        }
    }
}

#[cfg(test)]
mod tests;
