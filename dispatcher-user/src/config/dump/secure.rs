//! Writes what a service of mode `secure` has besides what every service has.

use std::path::Path;

use serde::Serialize;

use super::duration;
use crate::{
    config::{quantity::write_bytes, words::Word as _},
    core::model::{CertificateSpec, LimitsSpec, SecureRule, SecureSpec, SessionSpec, TlsSpec, TunnelSpec},
};

#[derive(Serialize)]
pub(super) struct SecureSections<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    proxy_protocol_from: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u32>,
    tls: Tls,
    session: Session<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secure: Vec<Rule<'a>>,
    tunnels: Tunnels<'a>,
    limits: Limits,
}

impl<'a> From<&'a SecureSpec> for SecureSections<'a> {
    fn from(spec: &'a SecureSpec) -> Self {
        Self {
            redirect: spec.redirect.map(|redirect| redirect.to_string()),
            proxy_protocol_from: spec.proxy_protocol_from.iter().map(ToString::to_string).collect(),
            window: spec.window,
            tls: Tls::from(&spec.tls),
            session: Session::from(&spec.session),
            secure: spec.rules.iter().map(Rule::from).collect(),
            tunnels: Tunnels::from(&spec.tunnels),
            limits: Limits::from(&spec.limits),
        }
    }
}

#[derive(Serialize)]
struct Tls {
    certificates: Vec<Certificate>,
    alpn: Vec<&'static str>,
    client_auth: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ca: Option<String>,
}

impl From<&TlsSpec> for Tls {
    fn from(tls: &TlsSpec) -> Self {
        Self {
            certificates: tls.certificates.iter().map(Certificate::from).collect(),
            alpn: tls.alpn.iter().map(|alpn| alpn.word()).collect(),
            client_auth: tls.client_auth.word(),
            client_ca: tls.client_ca.as_deref().map(path),
        }
    }
}

#[derive(Serialize)]
struct Certificate {
    chain: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ocsp: Option<String>,
}

impl From<&CertificateSpec> for Certificate {
    fn from(certificate: &CertificateSpec) -> Self {
        Self {
            chain: path(&certificate.chain),
            key: certificate.key.as_deref().map(path),
            ocsp: certificate.ocsp.as_deref().map(path),
        }
    }
}

#[derive(Serialize)]
struct Session<'a> {
    cookie: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a str>,
    idle: String,
    lifetime: String,
    max_entries: u32,
    lost: &'static str,
    pass_cookie: bool,
}

impl<'a> From<&'a SessionSpec> for Session<'a> {
    fn from(session: &'a SessionSpec) -> Self {
        Self {
            cookie: session.cookie.as_str(),
            header: session.header.as_ref().map(|header| header.as_str()),
            idle: duration(session.idle),
            lifetime: duration(session.lifetime),
            max_entries: session.max_entries,
            lost: session.lost.word(),
            pass_cookie: session.pass_cookie,
        }
    }
}

#[derive(Serialize)]
struct Rule<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a str>,
}

impl<'a> From<&'a SecureRule> for Rule<'a> {
    fn from(rule: &'a SecureRule) -> Self {
        Self {
            host: rule.host.as_ref().map(|host| host.as_str()),
            path: rule.path.as_ref().map(|path| path.as_str()),
            method: rule.method.as_ref().map(|method| method.as_str()),
            header: rule.header.as_ref().map(|header| header.as_str()),
        }
    }
}

#[derive(Serialize)]
struct Tunnels<'a> {
    per_backend: u16,
    verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    protocol: &'static str,
    max_age: String,
    proxy_protocol: bool,
}

impl<'a> From<&'a TunnelSpec> for Tunnels<'a> {
    fn from(tunnels: &'a TunnelSpec) -> Self {
        let certificate = tunnels.certificate.as_ref();
        Self {
            per_backend: tunnels.per_backend,
            verify: tunnels.verify,
            ca: tunnels.ca.as_deref().map(path),
            server_name: tunnels.server_name.as_deref(),
            certificate: certificate.map(|certificate| path(&certificate.chain)),
            key: certificate.and_then(|certificate| certificate.key.as_deref()).map(path),
            protocol: tunnels.protocol.word(),
            max_age: duration(tunnels.max_age),
            proxy_protocol: tunnels.proxy_protocol,
        }
    }
}

#[derive(Serialize)]
struct Limits {
    connections: u32,
    connections_per_source: u32,
    handshake: String,
    header_bytes: String,
    header_count: u16,
    header_time: String,
    body_pause: String,
    idle: String,
    streams: u32,
    resets: u32,
    buffer: String,
    response_time: String,
}

impl From<&LimitsSpec> for Limits {
    fn from(limits: &LimitsSpec) -> Self {
        Self {
            connections: limits.connections,
            connections_per_source: limits.connections_per_source,
            handshake: duration(limits.handshake),
            header_bytes: write_bytes(u64::from(limits.header_bytes)),
            header_count: limits.header_count,
            header_time: duration(limits.header_time),
            body_pause: duration(limits.body_pause),
            idle: duration(limits.idle),
            streams: limits.streams,
            resets: limits.resets,
            buffer: write_bytes(u64::from(limits.buffer)),
            response_time: duration(limits.response_time),
        }
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
