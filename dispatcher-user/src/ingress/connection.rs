//! What is known of a client's connection while it stands: who it is, what was agreed, and whether it still moves.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use http::HeaderValue;

use super::{
    cookie::{Claims, VALUE_LEN},
    headers::Introduction,
    limits::{STALL, UPGRADE_IDLE},
    tls::TlsContext,
    wire::http1::Fault,
};
use crate::core::{model::LimitsSpec, sessions::SessionId};

/// A client's connection. Its fields are set at different times by different tasks; none of them orders another.
pub struct Connection {
    /// Where it comes from: the client, as far as a PROXY header or the network tells.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// When it was accepted.
    pub opened_ns: u64,
    tls: OnceLock<TlsContext>,
    memory: Mutex<Memory>,
    /// What tells backends who the client is.
    pub introduction: Introduction,
    /// What the connection goes on with once it is no longer HTTP.
    rest: Mutex<Option<Rest>>,
    activity: Activity,
}

/// What becomes of a connection after HTTP.
pub type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the latest request brought. The next one brings the same as a rule, and need not be worked out again.
#[derive(Debug, Default)]
struct Memory {
    /// The session, and how backends are told of it.
    session: Option<(SessionId, HeaderValue)>,
    /// A cookie's value, and what it says.
    cookie: Option<([u8; VALUE_LEN], Claims)>,
}

/// Whether a connection moves; the sweeper reads it.
#[derive(Debug, Default)]
struct Activity {
    /// When something was last read, or a request ended.
    moved_ns: AtomicU64,
    /// Since when a request's head is awaited; 0 if none has begun.
    head_since_ns: AtomicU64,
    /// Since when the client takes nothing of what waits for it; 0 if nothing waits.
    blocked_since_ns: AtomicU64,
    /// Requests that are not answered in full.
    requests: AtomicU32,
    /// True once a request has come.
    has_asked: AtomicBool,
    /// True after an upgrade: the bytes are no longer HTTP.
    is_upgraded: AtomicBool,
    /// One more than the fault's place in [`FAULTS`]; 0 for none.
    fault: AtomicU8,
    order: AtomicU8,
    /// Wakes the connection's task when it has been given an order.
    waker: AtomicWaker,
}

/// What a connection's task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Serve,
    /// Answer what has been asked, take no more, then close.
    Drain,
    /// Close at once.
    Abort,
}

/// Why the sweeper ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// There was no request for too long.
    Idle,
    /// The same, and the client did not go when it was told so.
    Deaf,
    /// A request's head took too long.
    SlowHeader,
    /// The client took nothing of an answer for too long.
    Stalled,
}

impl Expired {
    /// Only an idle client is owed a farewell.
    #[must_use]
    pub fn order(self) -> Order {
        match self {
            Self::Idle => Order::Drain,
            Self::Deaf | Self::SlowHeader | Self::Stalled => Order::Abort,
        }
    }
}

/// How long an idle HTTP/2 client may take to answer that it has heard the farewell (RFC 9113 section 6.8).
const FAREWELL: Duration = Duration::from_secs(2);

const FAULTS: [Fault; 7] = [
    Fault::BareLineFeed,
    Fault::Folded,
    Fault::Lengths,
    Fault::Length,
    Fault::LengthAndCoding,
    Fault::Coding,
    Fault::Chunk,
];

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection that was accepted at `now_ns`.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr, now_ns: u64) -> Self {
        let activity = Activity { moved_ns: AtomicU64::new(now_ns), ..Activity::default() };
        Self {
            peer,
            local,
            opened_ns: now_ns,
            tls: OnceLock::new(),
            memory: Mutex::default(),
            introduction: Introduction::of(peer.ip()),
            rest: Mutex::default(),
            activity,
        }
    }

    /// Notes what the handshake came to; it happens once.
    pub fn secured(&self, context: TlsContext) {
        self.tls.get_or_init(|| context);
    }

    /// What the handshake came to; nothing before its end, or on a listener without TLS.
    pub fn tls(&self) -> Option<&TlsContext> {
        self.tls.get()
    }

    /// Notes the session of a request; returns how backends are told of it.
    pub fn used_by(&self, session: SessionId) -> HeaderValue {
        let mut memory = self.memory();
        match &memory.session {
            Some((known, value)) if *known == session => value.clone(),
            _ => {
                // Digits only.
                let value = HeaderValue::try_from(session.to_string()).unwrap_or(HeaderValue::from_static(""));
                memory.session.insert((session, value)).1.clone()
            }
        }
    }

    /// The session of the latest request.
    pub fn session(&self) -> Option<SessionId> {
        self.memory().session.as_ref().map(|(session, _)| *session)
    }

    /// What a cookie says that was opened before on this connection.
    pub fn recall(&self, value: &[u8]) -> Option<Claims> {
        self.memory().cookie.as_ref().filter(|(known, _)| known == value).map(|(_, claims)| *claims)
    }

    /// Notes what a cookie says.
    pub fn remember(&self, value: &[u8], claims: Claims) {
        if let Ok(value) = value.try_into() {
            self.memory().cookie = Some((value, claims));
        }
    }

    /// What goes on once the connection is no longer HTTP. From now on its bytes are not looked at.
    pub fn upgrade(&self, rest: Rest) {
        self.end_with(rest);
        self.activity.is_upgraded.store(true, Ordering::Relaxed);
    }

    /// What is still to be done when HTTP ends.
    pub fn end_with(&self, rest: Rest) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
    }

    /// Takes what goes on after HTTP.
    pub fn take_rest(&self) -> Option<Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that bytes were read, and whether they leave a request's head open.
    pub fn read(&self, is_in_head: bool, now_ns: u64) {
        let activity = &self.activity;
        activity.moved_ns.store(now_ns, Ordering::Relaxed);
        let since_ns = activity.head_since_ns.load(Ordering::Relaxed);
        if is_in_head && since_ns == 0 {
            activity.head_since_ns.store(now_ns, Ordering::Relaxed);
        } else if !is_in_head && since_ns != 0 {
            activity.head_since_ns.store(0, Ordering::Relaxed);
        }
    }

    /// Notes whether the client takes what is written.
    pub fn written(&self, is_blocked: bool, now_ns: impl Fn() -> u64) {
        let activity = &self.activity;
        let since_ns = activity.blocked_since_ns.load(Ordering::Relaxed);
        if is_blocked && since_ns == 0 {
            activity.blocked_since_ns.store(now_ns(), Ordering::Relaxed);
        } else if !is_blocked && since_ns != 0 {
            activity.blocked_since_ns.store(0, Ordering::Relaxed);
        }
        if !is_blocked && self.is_upgraded() {
            activity.moved_ns.store(now_ns(), Ordering::Relaxed);
        }
    }

    /// Notes that a request has come in.
    pub fn request_begins(&self) {
        self.activity.has_asked.store(true, Ordering::Relaxed);
        self.activity.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// True once a request has come.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        self.activity.has_asked.load(Ordering::Relaxed)
    }

    /// Notes that a request was answered in full, or given up.
    pub fn request_ends(&self, now_ns: u64) {
        self.activity.moved_ns.store(now_ns, Ordering::Relaxed);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// True if the bytes are not HTTP.
    #[must_use]
    pub fn is_upgraded(&self) -> bool {
        self.activity.is_upgraded.load(Ordering::Relaxed)
    }

    /// Notes what is wrong with the bytes that the client sent.
    pub fn refuse(&self, fault: Fault) {
        let place = FAULTS.iter().position(|known| *known == fault).and_then(|place| u8::try_from(place + 1).ok());
        self.activity.fault.store(place.unwrap_or(0), Ordering::Relaxed);
    }

    /// What is wrong with the bytes that the client sent; nothing more is read then.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let place = self.activity.fault.load(Ordering::Relaxed).checked_sub(1)?;
        FAULTS.get(usize::from(place)).copied()
    }

    /// Tells the connection's task what to do, and returns true if that is news. A milder order than the one that stands
    /// changes nothing.
    pub fn give(&self, order: Order) -> bool {
        let is_news = self.activity.order.fetch_max(order.rank(), Ordering::AcqRel) < order.rank();
        if is_news {
            self.activity.waker.wake();
        }
        is_news
    }

    /// The order that stands; the task of `context` is woken when another is given.
    pub fn order(&self, context: &Context<'_>) -> Order {
        self.activity.waker.register(context.waker());
        Order::of(self.activity.order.load(Ordering::Acquire))
    }

    /// Why the connection should end by now, if it should.
    #[must_use]
    pub fn expired(&self, limits: &LimitsSpec, now_ns: u64) -> Option<Expired> {
        let activity = &self.activity;
        let older = |since_ns: &AtomicU64, limit: Duration| {
            let since_ns = since_ns.load(Ordering::Relaxed);
            since_ns != 0 && u128::from(now_ns.saturating_sub(since_ns)) > limit.as_nanos()
        };
        if older(&activity.blocked_since_ns, STALL) {
            return Some(Expired::Stalled);
        }
        if self.is_upgraded() {
            return older(&activity.moved_ns, UPGRADE_IDLE).then_some(Expired::Stalled);
        }
        if older(&activity.head_since_ns, limits.header_time) {
            return Some(Expired::SlowHeader);
        }
        if activity.requests.load(Ordering::Relaxed) > 0 || !older(&activity.moved_ns, limits.idle) {
            return None;
        }
        let is_deaf = older(&activity.moved_ns, limits.idle + FAREWELL);
        Some(if is_deaf { Expired::Deaf } else { Expired::Idle })
    }
}

impl Order {
    fn rank(self) -> u8 {
        match self {
            Self::Serve => 0,
            Self::Drain => 1,
            Self::Abort => 2,
        }
    }

    fn of(rank: u8) -> Self {
        match rank {
            0 => Self::Serve,
            1 => Self::Drain,
            _ => Self::Abort,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        task::{Wake, Waker},
    };

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn connection() -> Connection {
        Connection::new("192.0.2.1:40000".parse().unwrap(), "203.0.113.10:443".parse().unwrap(), SECOND)
    }

    fn limits() -> LimitsSpec {
        LimitsSpec { header_time: Duration::from_secs(5), idle: Duration::from_secs(60), ..LimitsSpec::default() }
    }

    /// The first second at whose end the connection should go.
    fn ends(connection: &Connection) -> Option<(u64, Expired)> {
        (0..5_000).find_map(|second| Some((second, connection.expired(&limits(), second * SECOND)?)))
    }

    #[test]
    fn an_idle_connection_ends_in_peace() {
        let connection = connection();
        assert_eq!(ends(&connection), Some((62, Expired::Idle)));
        connection.read(false, 10 * SECOND);
        assert_eq!(ends(&connection), Some((71, Expired::Idle)));
        assert_eq!(connection.expired(&limits(), 72 * SECOND), Some(Expired::Idle));
        assert_eq!(connection.expired(&limits(), 73 * SECOND), Some(Expired::Deaf));
        assert_eq!(Expired::Idle.order(), Order::Drain);
    }

    #[test]
    fn a_request_may_take_its_time() {
        let connection = connection();
        connection.request_begins();
        assert_eq!(ends(&connection), None);
        connection.request_ends(500 * SECOND);
        assert_eq!(ends(&connection), Some((561, Expired::Idle)));
    }

    #[test]
    fn a_head_is_timed_from_its_first_byte() {
        let connection = connection();
        connection.read(true, 30 * SECOND);
        connection.read(true, 34 * SECOND);
        assert_eq!(ends(&connection), Some((36, Expired::SlowHeader)));
        connection.read(false, 35 * SECOND);
        connection.read(true, 40 * SECOND);
        assert_eq!(ends(&connection), Some((46, Expired::SlowHeader)));
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut_off() {
        let connection = connection();
        connection.request_begins();
        connection.written(true, || 10 * SECOND);
        connection.written(true, || 25 * SECOND);
        assert_eq!(ends(&connection), Some((71, Expired::Stalled)));
        connection.written(false, || 30 * SECOND);
        assert_eq!(ends(&connection), None);
    }

    #[test]
    fn what_is_upgraded_is_idle_only_without_bytes_in_either_direction() {
        let connection = connection();
        connection.upgrade(Box::pin(std::future::ready(())));
        connection.read(false, 100 * SECOND);
        assert_eq!(ends(&connection), Some((3_701, Expired::Stalled)));
        connection.written(false, || 300 * SECOND);
        assert_eq!(ends(&connection), Some((3_901, Expired::Stalled)));
    }

    #[test]
    fn every_fault_is_told_as_it_was_noted() {
        let connection = connection();
        assert_eq!(connection.fault(), None);
        for fault in FAULTS {
            connection.refuse(fault);
            assert_eq!(connection.fault(), Some(fault));
        }
    }

    #[test]
    fn an_order_wakes_and_is_not_softened() {
        let connection = connection();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert_eq!(connection.order(&Context::from_waker(&waker)), Order::Serve);
        assert!(connection.give(Order::Abort));
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(!connection.give(Order::Drain));
        assert_eq!(connection.order(&Context::from_waker(&waker)), Order::Abort);
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
