//! Keeps a message's fields to those that the other side should see: what is for one connection goes, what a client says
//! of itself in our name goes, and what we know of it comes.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONNECTION, FORWARDED, TE, UPGRADE},
};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");

/// What a connection's requests tell the backend of their client; made once for each connection.
#[derive(Clone, Debug)]
pub struct Introduction {
    forwarded: HeaderValue,
    address: HeaderValue,
}

impl Introduction {
    /// Of a client with this address that came by TLS.
    #[must_use]
    pub fn of(client: IpAddr) -> Self {
        let client = client.to_canonical();
        // RFC 7239 section 6: an IPv6 address stands in brackets, and so in quotes.
        let forwarded = match client {
            IpAddr::V4(v4) => format!("for={v4};proto=https"),
            IpAddr::V6(v6) => format!("for=\"[{v6}]\";proto=https"),
        };
        // Both are ASCII without controls, so neither conversion fails.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"));
        Self { forwarded: value(forwarded), address: value(client.to_string()) }
    }

    /// Says it in a request, in place of whatever the client said itself.
    pub fn write(&self, headers: &mut HeaderMap, session: HeaderValue) {
        headers.insert(&FORWARDED, self.forwarded.clone());
        headers.insert(&X_FORWARDED_FOR, self.address.clone());
        headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        headers.insert(&X_SESSION_ID, session);
    }
}

/// Whether a message is to change the protocol of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrading {
    /// It is not, or may not.
    No,
    /// It is: `connection: upgrade` and the protocol's name are kept.
    Yes,
}

/// Takes out of a request what is not for the backend.
pub fn strip_request(headers: &mut HeaderMap, upgrading: Upgrading) {
    let takes_trailers = strip(headers, upgrading, is_not_for_backends);
    if takes_trailers {
        // gRPC servers insist on it (RFC 9110 section 10.1.4).
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Takes out of a response what is not for the client.
pub fn strip_response(headers: &mut HeaderMap, upgrading: Upgrading) {
    strip(headers, upgrading, |_name| false);
}

/// True if a request asks to change the protocol. HTTP/1.0 and HTTP/2 have no such thing.
#[must_use]
pub fn wants_upgrade(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_11
        && headers.contains_key(UPGRADE)
        && headers
            .get_all(CONNECTION)
            .iter()
            .any(|field| tokens(field).any(|token| token.eq_ignore_ascii_case(b"upgrade")))
}

/// True if the request came through another proxy, whose connection it is then: nothing about the connection says
/// whose request it is.
#[must_use]
pub fn is_of_proxy(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| matches!(name.as_str(), "via" | "forwarded" | "x-forwarded-for"))
}

/// Fields that hold for one connection (RFC 9110 section 7.6.1), and such as were once used so.
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade" | "http2-settings"
    )
}

/// Fields in which only we speak to backends; those that are always written are replaced anyway.
fn is_not_for_backends(name: &str) -> bool {
    matches!(name, "x-forwarded-host" | "x-forwarded-port" | "x-forwarded-server" | "x-real-ip")
}

/// Takes out the fields of the connection, those that `Connection` names, and those that `is_unwanted` names. True if
/// the sender takes trailers.
fn strip(headers: &mut HeaderMap, upgrading: Upgrading, is_unwanted: impl Fn(&str) -> bool) -> bool {
    // Most messages have none; one look over the names costs less than a search for each.
    let is_clean = headers.keys().all(|name| !is_of_connection(name.as_str()) && !is_unwanted(name.as_str()));
    if is_clean {
        return false;
    }
    let takes_trailers =
        headers.get_all(TE).iter().any(|field| tokens(field).any(|token| token.eq_ignore_ascii_case(b"trailers")));
    let protocol = if upgrading == Upgrading::Yes { headers.remove(UPGRADE) } else { None };
    let mut names: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        // A client must not take away what tells the backend who it is, nor what the message is (RFC 9110 section 7.6.1).
        .filter(|name| {
            !matches!(
                name.as_str(),
                "host"
                    | "content-length"
                    | "content-type"
                    | "authorization"
                    | "cookie"
                    | "set-cookie"
                    | "cache-control"
            )
        })
        .collect();
    names.extend(headers.keys().filter(|name| is_of_connection(name.as_str()) || is_unwanted(name.as_str())).cloned());
    for name in names {
        headers.remove(name);
    }
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    takes_trailers
}

/// The parts of a list, without parameters.
fn tokens(field: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let parts = field.as_bytes().split(|byte| *byte == b',');
    parts
        .map(|part| part.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    /// In alphabetical order: that of different fields means nothing.
    fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn what_is_for_one_connection_goes_no_further() {
        let mut request = headers(&[
            ("host", "shop"),
            ("connection", "keep-alive, X-Private ,upgrade"),
            ("connection", "x-other"),
            ("x-private", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers, deflate;q=0.5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("accept", "*/*"),
        ]);
        strip_request(&mut request, Upgrading::No);
        assert_eq!(lines(&request), [("accept", "*/*"), ("host", "shop"), ("te", "trailers")]);
        let mut response = headers(&[("connection", "close"), ("transfer-encoding", "chunked"), ("etag", "\"1\"")]);
        strip_response(&mut response, Upgrading::No);
        assert_eq!(lines(&response), [("etag", "\"1\"")]);
    }

    #[test]
    fn connection_cannot_be_used_to_take_away_what_matters() {
        let mut request =
            headers(&[("connection", "host, cookie, content-length"), ("host", "shop"), ("cookie", "a=1")]);
        strip_request(&mut request, Upgrading::No);
        assert_eq!(lines(&request), [("cookie", "a=1"), ("host", "shop")]);
    }

    #[test]
    fn an_upgrade_keeps_the_name_of_its_protocol_and_nothing_else() {
        let mut request = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("keep-alive", "5"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
        ]);
        assert!(wants_upgrade(Version::HTTP_11, &request));
        assert!(!wants_upgrade(Version::HTTP_2, &request));
        assert!(!wants_upgrade(Version::HTTP_10, &request));
        strip_request(&mut request, Upgrading::Yes);
        assert_eq!(
            lines(&request),
            [("connection", "upgrade"), ("sec-websocket-version", "13"), ("upgrade", "websocket")]
        );
        assert!(!wants_upgrade(Version::HTTP_11, &headers(&[("upgrade", "websocket"), ("connection", "close")])));
        assert!(!wants_upgrade(Version::HTTP_11, &headers(&[("connection", "upgrade")])));
    }

    #[test]
    fn nobody_speaks_to_backends_in_our_name() {
        let mut request = headers(&[
            ("x-session-id", "stolen"),
            ("x-session-id", "twice"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "5.6.7.8"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil"),
            ("x-real-ip", "1.2.3.4"),
        ]);
        strip_request(&mut request, Upgrading::No);
        Introduction::of("2001:db8::1".parse().unwrap()).write(&mut request, HeaderValue::from_static("00112233"));
        assert_eq!(
            lines(&request),
            [
                ("forwarded", "for=\"[2001:db8::1]\";proto=https"),
                ("x-forwarded-for", "2001:db8::1"),
                ("x-forwarded-proto", "https"),
                ("x-session-id", "00112233"),
            ]
        );
        let session = HeaderValue::from_static("44556677");
        Introduction::of("::ffff:192.0.2.1".parse().unwrap()).write(&mut request, session);
        assert_eq!(request["forwarded"], "for=192.0.2.1;proto=https");
        assert_eq!(request["x-session-id"], "44556677");
        assert_eq!(request.len(), 4);
    }

    #[test]
    fn a_proxy_in_front_is_seen_by_what_it_adds() {
        for name in ["via", "forwarded", "x-forwarded-for"] {
            assert!(is_of_proxy(&headers(&[("accept", "*/*"), (name, "x")])), "{name}");
        }
        assert!(!is_of_proxy(&headers(&[("accept", "*/*"), ("x-forwarded", "x")])));
    }
}
