//! Sends clients that come without TLS to the same place with it.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, HOST, LOCATION},
    uri::Authority,
};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{connection::Connection, counters::Count, http::Handler};

/// Answers every request with a redirection to https.
#[derive(Debug)]
pub struct Redirect {
    /// The port of the service; left out of the address if it is the usual one.
    port: u16,
    /// Requests that were sent on.
    pub redirected: Count,
    /// Requests that say not where they want to go.
    pub refused: Count,
}

impl Redirect {
    /// Redirects to `port` of the same host.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self { port, redirected: Count::default(), refused: Count::default() }
    }

    fn answer<B>(&self, connection: &Connection, request: &Request<B>) -> Response<Full<Bytes>> {
        let location = if connection.fault().is_none() { self.location(request) } else { None };
        let (status, text) = match location {
            // 308 keeps method and body (RFC 9110 section 15.4.9).
            Some(_) => (StatusCode::PERMANENT_REDIRECT, "use https\n"),
            None => (StatusCode::BAD_REQUEST, "the request has no usable Host\n"),
        };
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        // The client will not be back on this connection.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(location) = location {
            self.redirected.one();
            headers.insert(LOCATION, location);
        } else {
            self.refused.one();
        }
        response
    }

    fn location<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = match (request.uri().authority(), hosts.next(), hosts.next()) {
            (_, _, Some(_)) => return None,
            (Some(authority), _, None) => authority.clone(),
            (None, host, None) => Authority::try_from(host?.as_bytes()).ok()?,
        };
        // What is before an at sign would show one host and lead to another.
        if host.host().is_empty() || host.as_str().contains('@') {
            return None;
        }
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target } else { "/" };
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        HeaderValue::try_from(format!("https://{}{port}{target}", host.host())).ok()
    }
}

impl Handler for Redirect {
    type Body = Full<Bytes>;

    async fn handle(self: Arc<Self>, connection: Arc<Connection>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.answer(&connection, &request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(port: u16, uri: &str, hosts: &[&str]) -> Response<Full<Bytes>> {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let address = "192.0.2.1:1".parse().unwrap();
        Redirect::new(port).answer(&Connection::new(address, address, 1), &request.body(()).unwrap())
    }

    fn location(port: u16, uri: &str, hosts: &[&str]) -> Option<String> {
        let response = answer(port, uri, hosts);
        let location = response.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
        let wanted = if location.is_some() { StatusCode::PERMANENT_REDIRECT } else { StatusCode::BAD_REQUEST };
        assert_eq!(response.status(), wanted);
        location
    }

    #[test]
    fn the_place_stays_and_the_scheme_changes() {
        for (port, uri, host, wanted) in [
            (443, "/", "shop.example", "https://shop.example/"),
            (443, "/cart?item=1&n=2", "shop.example:80", "https://shop.example/cart?item=1&n=2"),
            (8443, "/cart", "shop.example", "https://shop.example:8443/cart"),
            (443, "/", "[2001:db8::1]:80", "https://[2001:db8::1]/"),
            // RFC 9112 section 3.2.2: the target counts, not the Host.
            (443, "http://shop.example/a", "other.example", "https://shop.example/a"),
            (443, "*", "shop.example", "https://shop.example/"),
        ] {
            assert_eq!(location(port, uri, &[host]).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn without_one_clear_host_there_is_nowhere_to_go() {
        for hosts in
            [&[][..], &["a.example", "b.example"], &["shop.example@evil.example"], &["a b"], &["evil.example/x"], &[""]]
        {
            assert_eq!(location(443, "/", hosts), None, "{hosts:?}");
        }
    }

    #[test]
    fn bytes_of_two_meanings_are_not_answered_by_a_redirection() {
        let address = "192.0.2.1:1".parse().unwrap();
        let connection = Connection::new(address, address, 1);
        connection.refuse(crate::ingress::wire::http1::Fault::LengthAndCoding);
        let request = Request::builder().uri("/").header(HOST, "shop.example").body(()).unwrap();
        assert_eq!(Redirect::new(443).answer(&connection, &request).status(), StatusCode::BAD_REQUEST);
    }
}
