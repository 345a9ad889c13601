//! Reads `[service.tls]`: certificates, and what clients are offered and asked for.

use crate::{
    config::{
        document::{Faults, Placed, Schema, Section},
        files::{FileUse, Files},
        problem::Problem,
        rules::{
            RuleError,
            secure::{check_client_auth, check_list},
        },
        words::Word,
    },
    core::model::{Alpn, CertificateSpec, ClientAuth, TlsSpec},
};

const TLS: Schema =
    Schema { name: "[service.tls]", keys: &["certificates", "alpn", "client_auth", "client_ca"], not_built: &[] };
const CERTIFICATE: Schema = Schema { name: "a certificate", keys: &["chain", "key", "ocsp"], not_built: &[] };
const EXAMPLE: &str = "[{ chain = \"shop.pem\", key = \"shop.key\" }]";

pub(super) fn read(service: &Section<'_, '_>, files: &mut Files, faults: &mut Faults) -> Option<TlsSpec> {
    let Some(section) = service.section("tls", &TLS, faults) else {
        if service.key_span("tls").is_none() {
            let missing = Problem::MissingSection { section: TLS.name, key: "certificates", example: EXAMPLE };
            faults.add(&service.span, missing);
        }
        return None;
    };
    let certificates = read_certificates(&section, files, faults);
    let alpn = read_alpn(&section, faults);
    let client_auth = section.word("client_auth", faults);
    let client_ca = files.read(&section, "client_ca", FileUse::Authorities, faults);
    let tls = TlsSpec {
        certificates: certificates?,
        alpn,
        client_auth: client_auth.unwrap_or(ClientAuth::None),
        client_ca: client_ca.map(|path| path.value),
    };
    if section.key_span("client_ca").is_none() {
        let span = section.key_span("client_auth").unwrap_or_else(|| section.span.clone());
        faults.check(&span, check_client_auth(&tls));
    }
    Some(tls)
}

fn read_certificates(
    section: &Section<'_, '_>,
    files: &mut Files,
    faults: &mut Faults,
) -> Option<Vec<CertificateSpec>> {
    let Some(span) = section.key_span("certificates") else {
        let missing = Problem::MissingKey { section: TLS.name, key: "certificates", example: EXAMPLE };
        faults.add(&section.span, missing);
        return None;
    };
    let before = faults.0.len();
    let sections = section.sections("certificates", &CERTIFICATE, faults);
    faults.check(&span, check_list("certificates", sections.len()));
    if sections.is_empty() && faults.0.len() == before {
        faults.add(&span, RuleError::Empty("certificates"));
    }
    sections.iter().map(|section| read_certificate(section, files, faults)).collect()
}

fn read_certificate(section: &Section<'_, '_>, files: &mut Files, faults: &mut Faults) -> Option<CertificateSpec> {
    let pair = files.read_pair(section, "chain", "key", faults);
    let ocsp = files.read(section, "ocsp", FileUse::Ocsp, faults);
    let Some((chain, key)) = pair else {
        if section.key_span("chain").is_none() {
            let missing = Problem::MissingKey { section: CERTIFICATE.name, key: "chain", example: "\"shop.pem\"" };
            faults.add(&section.span, missing);
        }
        return None;
    };
    Some(CertificateSpec { chain, key, ocsp: ocsp.map(|path| path.value) })
}

fn read_alpn(section: &Section<'_, '_>, faults: &mut Faults) -> Vec<Alpn> {
    let before = faults.0.len();
    let Some(Placed { value, span }) = section.list("alpn", faults, Alpn::named) else {
        return vec![Alpn::H2, Alpn::Http11];
    };
    if value.is_empty() && faults.0.len() == before {
        faults.add(&span, RuleError::Empty("alpn"));
    }
    value
}
