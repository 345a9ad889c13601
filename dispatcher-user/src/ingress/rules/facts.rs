//! What of a request its rules look at, found once for all of them.

use std::net::IpAddr;

use http::{HeaderMap, Method, header::HOST, request::Parts};

use crate::core::model::{RequestPath, without_port};

/// What of a request its rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub(super) method: &'a Method,
    pub(super) host: Option<&'a str>,
    pub(super) path: Option<RequestPath<'a>>,
    pub(super) headers: &'a HeaderMap,
    pub(super) source: IpAddr,
    pub(super) server_name: Option<&'a str>,
}

impl<'a> Facts<'a> {
    /// Those of a request that `source` sent over a connection for `server_name`.
    ///
    /// An authority in the request's target goes before the field `Host` (RFC 9112, 3.2.2); it is all that HTTP/2 has.
    #[must_use]
    pub fn of(request: &'a Parts, source: IpAddr, server_name: Option<&'a str>) -> Self {
        let authority = request.uri.authority().map(http::uri::Authority::as_str);
        let host = authority.or_else(|| request.headers.get(HOST)?.to_str().ok());
        // Somebody who logs in by `user@` is not a host of that name.
        let host = host.map(|host| without_port(host.rsplit_once('@').map_or(host, |(_, host)| host)));
        Self {
            method: &request.method,
            host,
            path: RequestPath::new(request.uri.path()),
            headers: &request.headers,
            // A socket for both families shows IPv4 clients in the mapped form.
            source: source.to_canonical(),
            server_name,
        }
    }
}
