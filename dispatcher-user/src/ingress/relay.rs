//! The way of a request: whose it is, whether it is secure, its backend, its turn, its tunnel; and the answer back.
//!
//! ```text
//!  head ─▶ check ─▶ whose? secure? class? ─▶ body taken in ─▶ ┌ backend ─▶ turn ─▶ tunnel ─▶ sent ┐ ─▶ answer
//!            │                                   │            └──────◀── once more, where safe ◀──┘      │
//!            ▼ 4xx                               ▼ 4xx                         ▼ 502 503 504             ▼ cookie, log
//! ```

mod attempt;
mod upgrade;

use std::{hash::BuildHasher as _, sync::Arc};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{EXPECT, SET_COOKIE},
    request::Parts,
};
use hyper::{body::Incoming, upgrade::OnUpgrade};

use self::attempt::Delivery;
use super::{
    answer::Answer,
    body::{BodyFault, Intake, Meter, Taken},
    connection::Connection,
    cookie::{self, Claims},
    download::{self, Begun, Download},
    headers::{self, Upgrading},
    http::Handler,
    identity::{self, KnownBy, Whose},
    record::{End, Record},
    request::{self, Refusal},
    route::{Bond, Wanted},
    rules::Facts,
    service::{Backend, Rules, Service},
};
use crate::{clock, qos::settings::ClassId};

/// Answers the requests of a service by what its backends say.
pub struct Relay {
    service: Arc<Service>,
    hasher: std::hash::RandomState,
}

/// A request that is ready to be sent.
struct Prepared {
    head: Parts,
    /// As in the head, which may be spent.
    method: Method,
    body: Taken,
    /// True if head and body were sent, and cannot be sent again.
    is_spent: bool,
    rules: Arc<Rules>,
    wanted: Wanted,
    /// There if the client wants to change the protocol.
    upgrade: Option<OnUpgrade>,
}

impl Relay {
    /// Answers the requests of `service`.
    #[must_use]
    pub fn new(service: Arc<Service>) -> Self {
        Self { service, hasher: std::hash::RandomState::new() }
    }

    /// Everything before a backend is bothered.
    async fn prepare(&self, record: &mut Record, mut request: Request<Incoming>) -> Result<Prepared, Answer> {
        let connection = Arc::clone(record.connection());
        let upgrade = upgrade::take_out(&mut request, &connection);
        if let Err(refusal) = request::check(&mut request, connection.fault()) {
            self.service.counters.bad_requests.one();
            return Err(refusal.into());
        }
        let rules = self.service.rules();
        let (mut head, incoming) = request.into_parts();
        let wanted = self.decide(record, &rules, &head, &connection)?;
        let upgrade = upgrade.filter(|_| headers::wants_upgrade(head.version, &head.headers));
        let body = self.take_in(record, &rules, head.version, incoming).await?;
        self.rewrite(&mut head, &rules, &wanted, &connection, upgrade.is_some());
        Ok(Prepared { method: head.method.clone(), head, body, is_spent: false, rules, wanted, upgrade })
    }

    /// Whose it is, whether it is secure, and of which class.
    fn decide(
        &self,
        record: &mut Record,
        rules: &Rules,
        head: &Parts,
        connection: &Connection,
    ) -> Result<Wanted, Answer> {
        let whose = identity::whose(&self.service, rules, &head.headers, connection, clock::calendar_s());
        let whose = whose.map_err(|failure| {
            tracing::error!("no session for a request: {failure}");
            Answer::new(StatusCode::INTERNAL_SERVER_ERROR, "no session can be made")
        })?;
        let server_name = connection.tls().and_then(|tls| tls.server_name.as_deref());
        let facts = Facts::of(head, connection.peer.ip(), server_name);
        let why = rules.policy.secure.judge(&facts);
        let class = rules.policy.classes.judge(&facts).and_then(|number| u16::try_from(number).ok()).map(ClassId);
        record.session = Some(whose.session);
        record.secure = why;
        let bond = Bond::of(why.is_some(), rules.affinity);
        Ok(Wanted { whose, bond, class, client: self.client(&whose, connection) })
    }

    /// Whose turn a request takes: the session's if it is proved, else the address's. Otherwise, a client that keeps no
    /// cookies would be as many clients as it makes requests.
    fn client(&self, whose: &Whose, connection: &Connection) -> u64 {
        if whose.known_by.is_proved() {
            self.hasher.hash_one(whose.session)
        } else {
            self.hasher.hash_one(connection.peer.ip())
        }
    }

    async fn take_in(
        &self,
        record: &mut Record,
        rules: &Rules,
        version: Version,
        incoming: Incoming,
    ) -> Result<Taken, Answer> {
        if hyper::body::Body::is_end_stream(&incoming) {
            return Ok(Taken::None);
        }
        let meter = record.received.insert(Meter::default()).clone();
        let intake = Intake { bytes: u64::from(rules.limits.buffer), pause: rules.limits.body_pause };
        Taken::take_in(incoming, version, intake, &meter).await.map_err(|fault| {
            self.service.counters.bad_bodies.one();
            // What is wrong with the bytes says more than that they broke off.
            record.connection().fault().map_or_else(|| body_answer(&fault), |fault| Refusal::from(fault).into())
        })
    }

    /// Makes the head what the backend should see.
    fn rewrite(&self, head: &mut Parts, rules: &Rules, wanted: &Wanted, connection: &Connection, is_upgrade: bool) {
        headers::strip_request(&mut head.headers, if is_upgrade { Upgrading::Yes } else { Upgrading::No });
        // What was expected has happened: the body's beginning was taken in.
        head.headers.remove(EXPECT);
        if !rules.session.pass_cookie {
            cookie::strip(&mut head.headers, rules.session.cookie.as_str());
        }
        connection.introduction.write(&mut head.headers, connection.used_by(wanted.whose.session));
        head.extensions.clear();
    }

    /// Hands an answer on.
    async fn deliver(&self, mut record: Record, prepared: Prepared, delivery: Delivery) -> Response<Download> {
        let Delivery { response, flight } = delivery;
        let (mut head, mut body) = response.into_parts();
        record.status = head.status.as_u16();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            headers::strip_response(&mut head.headers, Upgrading::Yes);
            return upgrade::switch(head, body, prepared.upgrade, flight, record);
        }
        headers::strip_response(&mut head.headers, Upgrading::No);
        if let Some(line) = self.cookie(&prepared, &flight.backend) {
            self.service.counters.cookies_given.one();
            head.headers.append(SET_COOKIE, line);
        }
        head.extensions.clear();
        match download::begin(&mut body).await {
            Ok(Begun::Whole(bytes)) => {
                flight.end(clock::monotonic_ns(), true);
                record.sent = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                record.end(End::Complete);
                Response::from_parts(head, Download::Whole(bytes))
            }
            Ok(Begun::Part(first)) => Response::from_parts(head, Download::stream(body, first, flight, record)),
            Err(error) => {
                tracing::debug!(backend = %flight.backend.name, "an answer broke off at its head: {error}");
                flight.end(clock::monotonic_ns(), false);
                refuse(record, Answer::new(StatusCode::BAD_GATEWAY, "the backend broke its answer off"))
            }
        }
    }

    /// The cookie that an answer brings, if the client has none that says the same.
    fn cookie(&self, prepared: &Prepared, backend: &Backend) -> Option<HeaderValue> {
        let Wanted { whose, bond, .. } = &prepared.wanted;
        if *bond == Bond::None || whose.known_by == KnownBy::Header {
            return None;
        }
        let now_s = clock::calendar_s();
        let session = &prepared.rules.session;
        let lifetime_s = i64::try_from(session.lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut claims = Claims {
            session: whose.session,
            backend: backend.id,
            generation: backend.generation,
            mark: cookie::mark(backend.address),
            expires_s: now_s.saturating_add(lifetime_s),
        };
        if let Some(known) = &whose.claims {
            // A session's lifetime counts from its beginning; a cookie without one is renewed in time.
            let is_fresh = *bond == Bond::Session || known.expires_s.saturating_sub(now_s) > lifetime_s / 2;
            if is_fresh {
                claims.expires_s = known.expires_s;
            }
            if *known == claims {
                return None;
            }
        }
        let sealed = self.service.cookies.seal(&self.service.binding, &claims);
        sealed.and_then(|value| cookie::set_cookie(session.cookie.as_str(), &value)).ok()
    }
}

impl Handler for Relay {
    type Body = Download;

    async fn handle(self: Arc<Self>, connection: Arc<Connection>, request: Request<Incoming>) -> Response<Download> {
        let mut record = Record::begin(Arc::clone(&self.service), connection, &request);
        let mut prepared = match self.prepare(&mut record, request).await {
            Ok(prepared) => prepared,
            Err(answer) => return refuse(record, answer),
        };
        match self.send(&mut record, &mut prepared).await {
            Ok(delivery) => self.deliver(record, prepared, delivery).await,
            Err(answer) => refuse(record, answer),
        }
    }
}

/// Ends a request with an answer of the dispatcher's own.
fn refuse(mut record: Record, answer: Answer) -> Response<Download> {
    record.status = answer.status.as_u16();
    record.end(End::Refused);
    answer.into_response::<Download>()
}

fn body_answer(fault: &BodyFault) -> Answer {
    let status = match fault {
        BodyFault::Slow(_) => StatusCode::REQUEST_TIMEOUT,
        BodyFault::Broken(_) | BodyFault::Reset => StatusCode::BAD_REQUEST,
    };
    Answer::new(status, fault).last()
}
