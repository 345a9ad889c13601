//! Writes a request's target the way its tunnel's HTTP wants it.

use http::{
    HeaderValue, Version,
    header::HOST,
    request::Parts,
    uri::{Authority, InvalidUri, InvalidUriParts, PathAndQuery, Scheme, Uri},
};

use super::error::BoxError;

/// Why a target cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("it names no host")]
    NoHost,
    #[error("its host is not one: {0}")]
    Host(#[from] InvalidUri),
    #[error("its target is not one: {0}")]
    Uri(#[from] InvalidUriParts),
    #[error("its host cannot be a header: {0}")]
    Header(#[from] http::header::InvalidHeaderValue),
}

/// HTTP/1.1: the path in the request line, the host in a header (RFC 9112, section 3.2.1).
pub(super) fn for_http1(parts: &mut Parts) -> Result<(), BoxError> {
    write_http1(parts).map_err(BoxError::from)
}

/// HTTP/2: scheme, host and path as pseudo-headers (RFC 9113, section 8.3.1); no `host`, which could differ from them.
pub(super) fn for_http2(parts: &mut Parts) -> Result<(), BoxError> {
    write_http2(parts).map_err(BoxError::from)
}

fn write_http1(parts: &mut Parts) -> Result<(), TargetError> {
    parts.version = Version::HTTP_11;
    let Some(authority) = parts.uri.authority() else {
        return if parts.headers.contains_key(HOST) { Ok(()) } else { Err(TargetError::NoHost) };
    };
    // The target's host wins over a header (RFC 9112, section 3.2.2).
    let host = HeaderValue::from_str(authority.as_str())?;
    parts.headers.insert(HOST, host);
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    (uri.scheme, uri.authority) = (None, None);
    uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from_parts(uri)?;
    Ok(())
}

fn write_http2(parts: &mut Parts) -> Result<(), TargetError> {
    parts.version = Version::HTTP_2;
    let host = parts.headers.remove(HOST);
    if parts.uri.authority().is_some() && parts.uri.scheme().is_some() {
        return Ok(());
    }
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    if uri.authority.is_none() {
        uri.authority = Some(Authority::try_from(host.ok_or(TargetError::NoHost)?.as_bytes())?);
    }
    uri.scheme = Some(Scheme::HTTPS);
    uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from_parts(uri)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn http1(uri: &str, host: Option<&str>) -> Option<(String, String)> {
        let mut parts = parts(uri, host);
        for_http1(&mut parts).ok()?;
        assert_eq!(parts.version, Version::HTTP_11);
        Some((parts.uri.to_string(), parts.headers.get(HOST)?.to_str().ok()?.to_owned()))
    }

    fn http2(uri: &str, host: Option<&str>) -> Option<String> {
        let mut parts = parts(uri, host);
        for_http2(&mut parts).ok()?;
        assert!(!parts.headers.contains_key(HOST));
        assert_eq!(parts.version, Version::HTTP_2);
        Some(parts.uri.to_string())
    }

    #[test]
    fn http1_has_the_path_in_its_line_and_the_host_in_a_header() {
        let expected = |path: &str, host: &str| Some((path.to_owned(), host.to_owned()));
        assert_eq!(http1("/a?b=c", Some("shop")), expected("/a?b=c", "shop"));
        assert_eq!(http1("https://shop:8443/a?b=c", None), expected("/a?b=c", "shop:8443"));
        assert_eq!(http1("https://shop", None), expected("/", "shop"));
        assert_eq!(http1("https://shop/", Some("other")), expected("/", "shop"));
        assert_eq!(http1("*", Some("shop")), expected("*", "shop"));
        assert_eq!(http1("/", None), None);
    }

    #[test]
    fn http2_has_all_of_it_in_the_target_and_no_host() {
        assert_eq!(http2("/a?b=c", Some("shop:8443")).as_deref(), Some("https://shop:8443/a?b=c"));
        assert_eq!(http2("https://shop/a", Some("other")).as_deref(), Some("https://shop/a"));
        assert_eq!(http2("https://shop", None).as_deref(), Some("https://shop/"));
        assert_eq!(http2("/", Some("[::1]:8443")).as_deref(), Some("https://[::1]:8443/"));
        assert_eq!(http2("/", Some("not a host")), None);
        assert_eq!(http2("/", None), None);
    }
}
