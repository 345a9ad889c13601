//! What can go wrong between a request and its backend, and whether the request may be sent again.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use http::Request;

/// Any error, as bodies have them.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An error and what caused it, in one line; hyper's name the cause only if asked.
pub(super) fn in_full(error: &dyn StdError) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

/// Why a tunnel could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No TCP connection.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// No TLS: the backend is not who it should be, or does not take us.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The backend has not the HTTP that the configuration asks for.
    #[error("the backend does not speak HTTP/2")]
    NoHttp2,
    /// HTTP/2 does not begin.
    #[error("HTTP/2: {0}")]
    Http2(#[source] BoxError),
    /// HTTP/1.1 does not begin.
    #[error("HTTP/1.1: {}", in_full(.0))]
    Http1(hyper::Error),
    /// All of it together took too long.
    #[error("not open after {0:?}")]
    TimedOut(Duration),
}

/// Why there is no tunnel for a request. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Tunnels are open, and each carries as much as it may.
    #[error("{backend}: every tunnel is full")]
    Full {
        /// The backend.
        backend: Arc<str>,
    },
    /// No tunnel is open.
    #[error("{backend}: no tunnel is open: {reason}")]
    Down {
        /// The backend.
        backend: Arc<str>,
        /// Why the last attempt failed.
        reason: Arc<str>,
    },
    /// The request is an upgrade, and no tunnel for that is open.
    #[error("{backend}: no HTTP/1.1 tunnel is open for an upgrade: {reason}")]
    NoUpgrade {
        /// The backend.
        backend: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// The backend was removed, or the daemon ends.
    #[error("{backend}: its tunnels are being closed")]
    Stopped {
        /// The backend.
        backend: Arc<str>,
    },
}

/// How far a request came that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing of it was sent.
    Unsent,
    /// The backend says that it has not looked at it: REFUSED_STREAM, or beyond its GOAWAY (RFC 9113, 6.8 and 8.7).
    Refused,
    /// The backend may have carried it out.
    Unknown,
}

impl Progress {
    /// True if sending it again cannot carry it out twice, whatever its method.
    #[must_use]
    pub fn is_safe_to_repeat(self) -> bool {
        match self {
            Self::Unsent | Self::Refused => true,
            Self::Unknown => false,
        }
    }
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The tunnel ended, or had ended already.
    #[error("the tunnel was closed: {}", in_full(.0.as_ref()))]
    Closed(#[source] BoxError),
    /// The backend ended this request and no other.
    #[error("the backend reset the request: {0}")]
    Reset(#[source] h2::Error),
    /// The client did not send the whole body.
    #[error("the client's body broke off: {0}")]
    RequestBody(#[source] BoxError),
    /// The request cannot be written in the tunnel's HTTP.
    #[error("the request cannot be sent: {0}")]
    Malformed(#[source] BoxError),
    /// What came back is not HTTP.
    #[error("the backend's answer is not HTTP: {}", in_full(.0.as_ref()))]
    Response(#[source] BoxError),
}

/// A request that was not answered.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct SendError<B> {
    /// Why.
    #[source]
    pub cause: Cause,
    /// How far it came.
    pub progress: Progress,
    /// The request itself, if nothing of it was used up.
    pub request: Option<Box<Request<B>>>,
}

impl<B> SendError<B> {
    /// Nothing was sent, and the request is still whole.
    pub(super) fn unsent(cause: Cause, request: Request<B>) -> Self {
        Self { cause, progress: Progress::Unsent, request: Some(Box::new(request)) }
    }

    /// The request is used up.
    pub(super) fn spent(cause: Cause, progress: Progress) -> Self {
        Self { cause, progress, request: None }
    }

    /// HTTP/2's own word on a request whose head was sent.
    pub(super) fn of_stream(error: h2::Error) -> Self {
        let refused = error.is_remote()
            && (error.is_go_away() || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)));
        let progress = if refused { Progress::Refused } else { Progress::Unknown };
        let cause = if error.is_reset() && error.is_remote() {
            Cause::Reset(error)
        } else if error.is_reset() {
            // h2 found the answer wanting, and has reset the stream itself.
            Cause::Response(error.into())
        } else {
            Cause::Closed(error.into())
        };
        Self::spent(cause, progress)
    }
}

/// Why a response broke off.
///
/// An HTTP/2 reason is found along `source`, where hyper looks for the one that it tells the client.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// On an HTTP/2 tunnel.
    #[error("the response broke off: {0}")]
    Http2(#[source] h2::Error),
    /// On an HTTP/1.1 tunnel.
    #[error("the response broke off: {}", in_full(.0))]
    Http1(#[source] hyper::Error),
}
