//! Decides what an HTTP request asks of the demo backend.

use hyper::{Method, Uri};
use std::time::Duration;

/// The longest that anybody can be kept waiting.
const LONGEST: Duration = Duration::from_secs(600);
/// The longest name of an item in a cart.
const LONGEST_ITEM: usize = 64;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// Who the backend is.
    Answer,
    /// The same, after a while.
    Slow(Duration),
    /// What arrived of the request, and over which connection.
    Whoami,
    /// That many bytes, at so many a second, or as fast as can be.
    Bytes { count: u64, rate: Option<u64> },
    /// How many bytes the body has.
    Upload,
    /// What is in the session's cart.
    Cart,
    /// One more item in it.
    Add(&'a str),
    /// How busy the workers of the limited addresses are.
    Load,
    /// Nothing that can be understood, and why.
    Bad(&'static str),
    /// Something that is not here.
    NotFound,
    /// A method that does not go with the path; the one that does.
    MethodNotAllowed(&'static str),
}

/// Reads a request's first line.
pub(super) fn route<'a>(method: &Method, uri: &'a Uri) -> Route<'a> {
    let (path, reads) = (uri.path(), method == Method::GET || method == Method::HEAD);
    let parameter = |prefix: &str| path.strip_prefix(prefix);
    if path == "/upload" {
        let writes = method == Method::POST || method == Method::PUT;
        return if writes { Route::Upload } else { Route::MethodNotAllowed("use POST or PUT") };
    }
    if let Some(item) = parameter("/cart/add/") {
        return if reads || method == Method::POST { add(item) } else { Route::MethodNotAllowed("use POST or GET") };
    }
    if !reads {
        return Route::MethodNotAllowed("use GET or HEAD");
    }
    match path {
        "/" => Route::Answer,
        "/whoami" => Route::Whoami,
        "/cart" => Route::Cart,
        "/load" => Route::Load,
        _ => match (parameter("/slow/"), parameter("/bytes/")) {
            (Some(milliseconds), _) => slow(milliseconds),
            (None, Some(count)) => bytes(count, uri.query()),
            (None, None) => Route::NotFound,
        },
    }
}

fn add(item: &str) -> Route<'_> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=LONGEST_ITEM).contains(&item.len()) && item.bytes().all(is_plain) {
        Route::Add(item)
    } else {
        Route::Bad("an item is 1 to 64 letters, digits and -_.")
    }
}

fn slow(milliseconds: &str) -> Route<'static> {
    match milliseconds.parse().map(Duration::from_millis) {
        Ok(pause) if pause <= LONGEST => Route::Slow(pause),
        Ok(_) | Err(_) => Route::Bad("the path is /slow/MILLISECONDS, up to 600000"),
    }
}

fn bytes(count: &str, query: Option<&str>) -> Route<'static> {
    let Ok(count) = count.parse() else {
        return Route::Bad("the path is /bytes/NUMBER");
    };
    match query.map(|query| query.strip_prefix("rate=").map(str::parse)) {
        None => Route::Bytes { count, rate: None },
        Some(None) => Route::Bad("the only option is ?rate=BYTES_A_SECOND"),
        Some(Some(Ok(rate))) if rate > 0 => Route::Bytes { count, rate: Some(rate) },
        Some(Some(_)) => Route::Bad("the rate is a number of bytes a second, more than 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &Method, uri: &'static str) -> String {
        format!("{:?}", route(method, &Uri::from_static(uri)))
    }

    #[test]
    fn every_kind_of_request_is_told_apart() {
        let (get, post) = (&Method::GET, &Method::POST);
        for (method, uri, expected) in [
            (get, "/", "Answer"),
            (post, "/", "MethodNotAllowed(\"use GET or HEAD\")"),
            (get, "/bytes/1000000000", "Bytes { count: 1000000000, rate: None }"),
            (get, "/bytes/10?rate=5", "Bytes { count: 10, rate: Some(5) }"),
            (get, "/bytes/", "Bad(\"the path is /bytes/NUMBER\")"),
            (get, "/slow/250", "Slow(250ms)"),
            (post, "/upload", "Upload"),
            (get, "/upload", "MethodNotAllowed(\"use POST or PUT\")"),
            (get, "/cart", "Cart"),
            (post, "/cart/add/book-1", "Add(\"book-1\")"),
            (get, "/cart/add/book", "Add(\"book\")"),
            (&Method::PUT, "/cart/add/book", "MethodNotAllowed(\"use POST or GET\")"),
            (get, "/whoami", "Whoami"),
            (get, "/load", "Load"),
            (get, "/elsewhere", "NotFound"),
        ] {
            assert_eq!(of(method, uri), expected, "{method} {uri}");
        }
        for uri in ["/bytes/10?rate=0", "/bytes/10?speed=1", "/slow/x", "/slow/600001", "/cart/add/", "/cart/add/a/b"] {
            assert!(of(get, uri).starts_with("Bad"), "{uri}");
        }
    }
}
