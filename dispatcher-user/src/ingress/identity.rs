//! Finds out whose request it is: by cookie, by a header, by the TLS connection, or nobody's that is known.

use http::HeaderMap;

use super::{
    connection::Connection,
    cookie::{self, Claims, Outcome},
    headers::is_of_proxy,
    service::{Rules, Service},
};
use crate::{core::sessions::SessionId, failure::Failure};

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The session.
    pub session: SessionId,
    /// How it is known.
    pub known_by: KnownBy,
    /// What the cookie says, if there is one that counts.
    pub claims: Option<Claims>,
}

/// How a session is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// By its cookie.
    Cookie,
    /// By the header that is configured for it.
    Header,
    /// By a TLS ticket: the connection resumes an earlier one.
    Ticket,
    /// By the connection: it is the first of its client, or goes on from an earlier request.
    Connection,
    /// Not at all.
    Nothing,
}

impl KnownBy {
    /// True if the client has proved that it was here before.
    #[must_use]
    pub fn is_proved(self) -> bool {
        matches!(self, Self::Cookie | Self::Header | Self::Ticket)
    }
}

/// Finds out whose request it is.
///
/// What a client says itself goes before what its connection says: a client that names its session in a header would
/// otherwise change it with the first connection that it resumes.
///
/// # Errors
/// The system has no random numbers for a new session.
pub fn whose(
    service: &Service,
    rules: &Rules,
    headers: &HeaderMap,
    connection: &Connection,
    now_s: i64,
) -> Result<Whose, Failure> {
    if let Some(claims) = by_cookie(service, rules, headers, connection, now_s) {
        return Ok(Whose { session: claims.session, known_by: KnownBy::Cookie, claims: Some(claims) });
    }
    let named = rules.session.header.as_ref().and_then(|name| headers.get(name.as_str()));
    if let Some(value) = named.filter(|value| !value.is_empty()) {
        let session = SessionId::named(&service.name, value.as_bytes());
        return Ok(Whose { session, known_by: KnownBy::Header, claims: None });
    }
    // A proxy sends the requests of many clients on one connection; their sessions must not become one.
    if let Some(tls) = connection.tls().filter(|_| !is_of_proxy(headers)) {
        let known_by = if tls.is_resumed { KnownBy::Ticket } else { KnownBy::Connection };
        return Ok(Whose { session: tls.session, known_by, claims: None });
    }
    Ok(Whose { session: SessionId::random()?, known_by: KnownBy::Nothing, claims: None })
}

/// What the first cookie says that counts; each one is counted.
fn by_cookie(
    service: &Service,
    rules: &Rules,
    headers: &HeaderMap,
    connection: &Connection,
    now_s: i64,
) -> Option<Claims> {
    let mut is_any = false;
    for value in cookie::values(headers, rules.session.cookie.as_str()) {
        is_any = true;
        if let Some(claims) = connection.recall(value).filter(|claims| claims.expires_s > now_s) {
            service.cookie_counters.count(Some(&Outcome::Valid(claims)));
            return Some(claims);
        }
        let outcome = service.cookies.open(&service.binding, value, now_s);
        service.cookie_counters.count(Some(&outcome));
        if let Outcome::Valid(claims) = outcome {
            connection.remember(value, claims);
            return Some(claims);
        }
    }
    if !is_any {
        service.cookie_counters.count(None);
    }
    None
}
