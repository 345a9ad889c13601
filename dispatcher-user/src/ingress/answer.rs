//! The answers that are the dispatcher's own: short, clear, and in plain text.

use std::fmt::Display;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};

use super::request::Refusal;

/// What a client is told when there is no answer of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// What happened, in a sentence without a full stop.
    pub text: String,
    /// When it may be worth asking again.
    pub retry_after_s: Option<u32>,
    /// True if nothing more is read from this connection.
    pub is_last: bool,
}

impl Answer {
    /// An answer whose text is `text`.
    #[must_use]
    pub fn new(status: StatusCode, text: impl Display) -> Self {
        Self { status, text: text.to_string(), retry_after_s: None, is_last: false }
    }

    /// Tells when it may be worth asking again.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Closes the connection after it (HTTP/1.1; a stream of HTTP/2 ends by itself).
    #[must_use]
    pub fn last(self) -> Self {
        Self { is_last: true, ..self }
    }

    /// As a response.
    #[must_use]
    pub fn into_response<B: From<Bytes>>(self) -> Response<B> {
        let text =
            format!("{} {}: {}\n", self.status.as_str(), self.status.canonical_reason().unwrap_or(""), self.text);
        let mut response = Response::new(B::from(Bytes::from(text)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        // A cache must not go on saying it when it is no longer so.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.is_last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        response
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let answer = Self::new(refusal.status(), refusal);
        // What follows on such bytes may mean anything.
        if matches!(refusal, Refusal::Fault(_)) { answer.last() } else { answer }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[test]
    fn an_answer_says_what_and_when() {
        let answer = Answer::new(StatusCode::SERVICE_UNAVAILABLE, "no backend is ready").retry_after(3).last();
        let response: Response<Full<Bytes>> = answer.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "3");
        assert_eq!(response.headers()[CONNECTION], "close");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn a_refusal_closes_the_connection_if_its_bytes_are_not_clear() {
        use crate::ingress::wire::http1::Fault;
        assert!(Answer::from(Refusal::Fault(Fault::Lengths)).is_last);
        assert!(!Answer::from(Refusal::Host).is_last);
        let response: Response<Full<Bytes>> = Answer::from(Refusal::Method).into_response();
        assert!(response.headers().contains_key(ALLOW));
    }
}
