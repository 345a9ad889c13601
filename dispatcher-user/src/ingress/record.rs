//! What becomes of one request: counted when it is over, and written to the access log.

use std::sync::Arc;

use http::{Method, Request, Uri};

use super::{
    body::Meter,
    connection::Connection,
    rules::Why,
    service::{Backend, Service},
};
use crate::{clock, core::sessions::SessionId, qos::settings::ClassId};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered in full.
    Complete,
    /// The dispatcher itself answered.
    Refused,
    /// The client left.
    ClientGone,
    /// The backend broke its answer off.
    CutShort,
}

/// A request from its head to its end. Dropping it is its end, too: the client is gone then.
pub struct Record {
    service: Arc<Service>,
    connection: Arc<Connection>,
    /// There if somebody reads the access log.
    line: Option<Box<Line>>,
    began_ns: u64,
    /// Its session.
    pub session: Option<SessionId>,
    /// Why it is a secure transaction, if it is one.
    pub secure: Option<Why>,
    /// Its class.
    pub class: ClassId,
    /// The backend that it was sent to last.
    pub backend: Option<Arc<Backend>>,
    /// How often it was sent.
    pub attempts: u32,
    /// How long it waited for its turn.
    pub wait_ns: u64,
    /// From its end to the answer's head.
    pub answer_ns: u64,
    /// The answer's status; 0 if there is none.
    pub status: u16,
    /// How much of its body was read; nothing if it has none.
    pub received: Option<Meter>,
    /// Bytes of the answer's body.
    pub sent: u64,
    end: End,
}

/// What the access log says besides.
struct Line {
    method: Method,
    uri: Uri,
    host: Option<http::HeaderValue>,
}

impl Record {
    /// A request whose head has come.
    #[must_use]
    pub fn begin<B>(service: Arc<Service>, connection: Arc<Connection>, request: &Request<B>) -> Self {
        connection.request_begins();
        let line = tracing::enabled!(target: "access", tracing::Level::INFO).then(|| {
            Box::new(Line {
                method: request.method().clone(),
                uri: request.uri().clone(),
                host: request.headers().get(http::header::HOST).cloned(),
            })
        });
        Self {
            service,
            connection,
            line,
            began_ns: clock::monotonic_ns(),
            session: None,
            secure: None,
            class: ClassId::default(),
            backend: None,
            attempts: 0,
            wait_ns: 0,
            answer_ns: 0,
            status: 0,
            received: None,
            sent: 0,
            end: End::ClientGone,
        }
    }

    /// Its service.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Its connection.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// When its head had come.
    #[must_use]
    pub fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// It is over.
    pub fn end(mut self, end: End) {
        self.end = end;
    }

    fn count(&self, total_ns: u64) {
        match self.end {
            End::Complete | End::Refused => {}
            End::ClientGone => self.service.counters.client_gone.one(),
            End::CutShort => self.service.counters.cut_short.one(),
        }
        if let Some(backend) = &self.backend {
            backend.counters.answered(self.secure.is_some(), self.status);
            backend.counters.total.count(total_ns);
            if self.answer_ns > 0 {
                backend.counters.answer.count(self.answer_ns);
            }
        }
        if let Some(session) = self.session {
            let received = self.received.as_ref().map_or(0, Meter::bytes);
            self.service.sessions.count(session, received.saturating_add(self.sent));
        }
    }

    fn log(&self, line: &Line, total_ns: u64) {
        let authority = line.uri.authority().map(http::uri::Authority::as_str);
        let host = authority.or_else(|| line.host.as_ref()?.to_str().ok()).unwrap_or("-");
        tracing::info!(
            target: "access",
            service = %self.service.name,
            client = %self.connection.peer,
            session = ?self.session,
            method = %line.method,
            host,
            path = line.uri.path(),
            status = self.status,
            secure = self.secure.map(tracing::field::display),
            backend = self.backend.as_ref().map(|backend| &*backend.name),
            class = self.class.0,
            attempts = self.attempts,
            wait_us = self.wait_ns / 1_000,
            answer_us = self.answer_ns / 1_000,
            total_us = total_ns / 1_000,
            received = self.received.as_ref().map_or(0, Meter::bytes),
            sent = self.sent,
            end = ?self.end,
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let now_ns = clock::monotonic_ns();
        let total_ns = now_ns.saturating_sub(self.began_ns);
        self.connection.request_ends(now_ns);
        self.count(total_ns);
        if let Some(line) = &self.line {
            self.log(line, total_ns);
        }
    }
}
