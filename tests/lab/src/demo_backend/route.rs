//! Decides what an HTTP request asks of the demo backend.

use hyper::{Method, Uri};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Who the backend is.
    Answer,
    /// That many bytes, at so many a second, or as fast as can be.
    Bytes { count: u64, rate: Option<u64> },
    /// Nothing that can be understood, and why.
    Bad(&'static str),
    /// Something that is not here.
    NotFound,
    /// A method that nothing here takes.
    MethodNotAllowed,
}

/// Reads a request's first line.
pub(super) fn route(method: &Method, uri: &Uri) -> Route {
    if method != Method::GET && method != Method::HEAD {
        return Route::MethodNotAllowed;
    }
    if uri.path() == "/" {
        return Route::Answer;
    }
    let Some(count) = uri.path().strip_prefix("/bytes/") else {
        return Route::NotFound;
    };
    let Ok(count) = count.parse() else {
        return Route::Bad("the path is /bytes/NUMBER");
    };
    match uri.query().and_then(|query| query.strip_prefix("rate=")).map(str::parse) {
        None if uri.query().is_some() => Route::Bad("the only option is ?rate=BYTES_A_SECOND"),
        None => Route::Bytes { count, rate: None },
        Some(Ok(rate)) if rate > 0 => Route::Bytes { count, rate: Some(rate) },
        Some(_) => Route::Bad("the rate is a number of bytes a second, more than 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(uri: &'static str) -> Route {
        route(&Method::GET, &Uri::from_static(uri))
    }

    #[test]
    fn every_kind_of_request_is_told_apart() {
        assert_eq!(get("/"), Route::Answer);
        assert_eq!(get("/bytes/1000000000"), Route::Bytes { count: 1_000_000_000, rate: None });
        assert_eq!(get("/bytes/10?rate=5"), Route::Bytes { count: 10, rate: Some(5) });
        assert_eq!(get("/bytes/"), Route::Bad("the path is /bytes/NUMBER"));
        assert!(matches!(get("/bytes/10?rate=0"), Route::Bad(_)));
        assert!(matches!(get("/bytes/10?speed=1"), Route::Bad(_)));
        assert_eq!(get("/elsewhere"), Route::NotFound);
        assert_eq!(route(&Method::POST, &Uri::from_static("/")), Route::MethodNotAllowed);
    }
}
