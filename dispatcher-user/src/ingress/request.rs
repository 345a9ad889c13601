//! Looks at a request's head before anything else does: refuses what a backend could read otherwise than we do.

use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version,
    header::{EXPECT, HOST},
};

use super::{limits::TARGET_BYTES, wire::http1::Fault};

/// Why a request is refused unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its bytes have two meanings.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// Its target is longer than any should be.
    #[error("the request's target is too long")]
    Target,
    /// It does not say, or not clearly, which host it is for.
    #[error("the request has not one valid Host")]
    Host,
    /// `*` is a target of OPTIONS alone (RFC 9112 section 3.2.4).
    #[error("the request's target is no path")]
    Asterisk,
    /// A method that is not passed on: tunnels through us, and echoes of what we added.
    #[error("the method is not allowed")]
    Method,
    /// It expects what nobody knows (RFC 9110 section 10.1.1).
    #[error("only 100-continue can be expected")]
    Expectation,
}

impl Refusal {
    /// The answer's status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Fault(_) | Self::Host | Self::Asterisk => StatusCode::BAD_REQUEST,
            Self::Target => StatusCode::URI_TOO_LONG,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
        }
    }
}

/// Checks a head, and makes its host clear: one authority in HTTP/2, one `Host` in HTTP/1.
///
/// # Errors
/// If it is not to be passed on.
pub fn check<B>(request: &mut Request<B>, fault: Option<Fault>) -> Result<(), Refusal> {
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    check_target(request.uri(), request.method())?;
    let headers = request.headers();
    if headers.get(EXPECT).is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::Expectation);
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if authority.is_some_and(|authority| !is_host(authority)) {
        return Err(Refusal::Host);
    }
    match (request.version(), authority, host(headers)?) {
        (_, None, Some(_)) | (Version::HTTP_2, Some(_), None) => {}
        (_, None, None) => return Err(Refusal::Host),
        // RFC 9113 section 8.3.1: they must agree.
        (Version::HTTP_2, Some(authority), Some(host)) if !host.eq_ignore_ascii_case(authority) => {
            return Err(Refusal::Host);
        }
        (Version::HTTP_2, Some(_), Some(_)) => {
            request.headers_mut().remove(HOST);
        }
        // RFC 9112 section 3.2.2: the target counts, and the field is replaced by it.
        (_, Some(authority), _) => {
            let host = HeaderValue::from_bytes(authority).or(Err(Refusal::Host))?;
            request.headers_mut().insert(HOST, host);
        }
    }
    Ok(())
}

fn check_target(uri: &Uri, method: &Method) -> Result<(), Refusal> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > TARGET_BYTES {
        return Err(Refusal::Target);
    }
    let is_path = target.starts_with('/') || (target == "*" && *method == Method::OPTIONS);
    if is_path { Ok(()) } else { Err(Refusal::Asterisk) }
}

/// The one `Host`, if there is any.
fn host(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => Ok(None),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(Some(host.as_bytes())),
        (Some(_), _) => Err(Refusal::Host),
    }
}

/// True for what may be a name or address and a port; no user, no path, nothing that ends a name for some and not for
/// others.
fn is_host(host: &[u8]) -> bool {
    let is_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']' | b'~');
    host.first().is_some_and(|first| *first != b':') && host.iter().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, method: &str, uri: &str, lines: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().version(version).method(method).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn checked(version: Version, method: &str, uri: &str, lines: &[(&str, &str)]) -> Result<Option<String>, Refusal> {
        let mut request = request(version, method, uri, lines);
        check(&mut request, None)?;
        Ok(request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned()))
    }

    const H1: Version = Version::HTTP_11;
    const H2: Version = Version::HTTP_2;

    #[test]
    fn the_host_is_made_clear() {
        let host = |host: &str| Ok(Some(host.to_owned()));
        assert_eq!(checked(H1, "GET", "/", &[("host", "shop.example:8443")]), host("shop.example:8443"));
        assert_eq!(checked(H1, "GET", "/", &[("host", "[2001:db8::1]")]), host("[2001:db8::1]"));
        assert_eq!(checked(H1, "GET", "https://a.example/", &[("host", "b.example")]), host("a.example"));
        assert_eq!(checked(H1, "OPTIONS", "*", &[("host", "a.example")]), host("a.example"));
        assert_eq!(checked(H2, "GET", "https://a.example/", &[]), Ok(None));
        assert_eq!(checked(H2, "GET", "https://a.example/", &[("host", "A.example")]), Ok(None));
    }

    #[test]
    fn an_unclear_host_is_refused() {
        type Lines = &'static [(&'static str, &'static str)];
        let refused: &[(Version, &str, Lines)] = &[
            (H1, "/", &[]),
            (H1, "/", &[("host", "")]),
            (H1, "/", &[("host", ":80")]),
            (H1, "/", &[("host", "a.example"), ("host", "a.example")]),
            (H1, "/", &[("host", "a.example, b.example")]),
            (H1, "/", &[("host", "a.example/path")]),
            (H1, "/", &[("host", "user@a.example")]),
            (H1, "/", &[("host", "a.example#")]),
            (H1, "/", &[("host", "a\\b")]),
            (H1, "https://user@a.example/", &[("host", "a.example")]),
            (H2, "https://user@a.example/", &[]),
            (H2, "https://a.example/", &[("host", "b.example")]),
        ];
        for (version, uri, lines) in refused {
            assert_eq!(checked(*version, "GET", uri, lines), Err(Refusal::Host), "{uri} {lines:?}");
        }
    }

    #[test]
    fn what_is_not_passed_on_gets_its_status() {
        let host = [("host", "a.example")];
        let long = format!("/{}", "x".repeat(TARGET_BYTES));
        for (method, uri, wanted) in [
            ("GET", long.as_str(), StatusCode::URI_TOO_LONG),
            ("GET", "*", StatusCode::BAD_REQUEST),
            ("CONNECT", "a.example:443", StatusCode::METHOD_NOT_ALLOWED),
            ("TRACE", "/", StatusCode::METHOD_NOT_ALLOWED),
        ] {
            assert_eq!(checked(H1, method, uri, &host).unwrap_err().status(), wanted, "{method} {uri}");
        }
        let expecting = [host[0], ("expect", "200-ok")];
        assert_eq!(checked(H1, "POST", "/", &expecting).unwrap_err().status(), StatusCode::EXPECTATION_FAILED);
        checked(H1, "POST", "/", &[host[0], ("expect", "100-Continue")]).unwrap();
        let mut bad = request(H1, "GET", "/", &host);
        assert_eq!(check(&mut bad, Some(Fault::Lengths)), Err(Refusal::Fault(Fault::Lengths)));
        assert_eq!(Refusal::from(Fault::Lengths).status(), StatusCode::BAD_REQUEST);
    }
}
