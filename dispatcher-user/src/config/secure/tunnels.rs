//! Reads `[service.tunnels]`: TLS with backends.

use crate::{
    config::{
        document::{Faults, Schema, Section},
        files::{FileUse, Files},
        problem::Problem,
        rules::secure::{PER_BACKEND, TUNNEL_AGE, check_verified, server_name},
    },
    core::model::{CertificateSpec, TunnelSpec},
};

const TUNNELS: Schema = Schema {
    name: "[service.tunnels]",
    keys: &[
        "per_backend",
        "verify",
        "ca",
        "server_name",
        "certificate",
        "key",
        "protocol",
        "max_age",
        "proxy_protocol",
    ],
    not_built: &[],
};
const EXAMPLE: &str = "\"farm-ca.pem\"";

pub(super) fn read(service: &Section<'_, '_>, files: &mut Files, faults: &mut Faults) -> Option<TunnelSpec> {
    let Some(section) = service.section("tunnels", &TUNNELS, faults) else {
        if service.key_span("tunnels").is_none() {
            faults.add(&service.span, Problem::MissingSection { section: TUNNELS.name, key: "ca", example: EXAMPLE });
        }
        return None;
    };
    let usual = TunnelSpec::default();
    let tunnels = TunnelSpec {
        per_backend: section.count("per_backend", &PER_BACKEND, faults).unwrap_or(usual.per_backend),
        verify: section.flag("verify", faults).unwrap_or(usual.verify),
        ca: files.read(&section, "ca", FileUse::Authorities, faults).map(|path| path.value),
        server_name: section.parsed("server_name", faults, server_name).map(|name| name.value),
        certificate: read_certificate(&section, files, faults),
        protocol: section.word("protocol", faults).unwrap_or(usual.protocol),
        max_age: section.duration("max_age", TUNNEL_AGE, faults).unwrap_or(usual.max_age),
        proxy_protocol: section.flag("proxy_protocol", faults).unwrap_or(usual.proxy_protocol),
    };
    if section.key_span("ca").is_none() {
        faults.check(&section.span, check_verified(&tunnels));
    }
    Some(tunnels)
}

fn read_certificate(section: &Section<'_, '_>, files: &mut Files, faults: &mut Faults) -> Option<CertificateSpec> {
    let (chain, key) = files.read_pair(section, "certificate", "key", faults)?;
    Some(CertificateSpec { chain, key, ocsp: None })
}
