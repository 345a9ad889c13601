//! What the configuration says, as the parts of the request path want to hear it.

use std::net::IpAddr;

use crate::{
    core::model::{CertificateSpec, QosClassSpec, QueueSpec, Rate, SecureSpec, TunnelProtocol, TunnelSpec},
    failure::{Code, Failure},
    qos::settings::{ClassSettings, QueueBound, WindowSettings},
    tunnel::{
        settings::{Protocol, Settings},
        tls::{Identity, TlsClient, TlsSettings},
    },
};

/// The QoS classes, in their order.
pub(super) fn classes(specs: &[QosClassSpec]) -> Vec<ClassSettings> {
    specs.iter().map(class).collect()
}

fn class(spec: &QosClassSpec) -> ClassSettings {
    let QueueSpec { entries, bytes } = spec.queue;
    let rate = |rate: u64| u32::try_from(rate).unwrap_or(u32::MAX);
    ClassSettings {
        weight: spec.weight,
        share_percent: spec.share_percent,
        queue: QueueBound { entries, bytes },
        timeout: spec.timeout,
        // `config` refuses rates of bits.
        rate: spec.rate.and_then(|each| if let Rate::Requests(count) = each { Some(rate(count)) } else { None }),
        client_rate: spec.client_rate.map(rate),
        ..ClassSettings::new(&spec.name, spec.priority)
    }
}

/// How many requests a backend is given at a time. With one class, and no window that is wanted, nothing would be gained by
/// letting requests wait here instead of there.
pub(super) fn window(secure: &SecureSpec, classes: usize) -> WindowSettings {
    match secure.window {
        Some(slots) => WindowSettings::Fixed(slots),
        None if classes > 1 => WindowSettings::FOUND,
        None => WindowSettings::Open,
    }
}

/// TLS to a backend.
///
/// # Errors
/// Says which file is not what it should be.
pub(super) fn tls(tunnels: &TunnelSpec, backend: IpAddr) -> Result<TlsClient, Failure> {
    let identity = tunnels.certificate.as_ref().map(identity);
    let TunnelSpec { ca, server_name, verify, .. } = tunnels.clone();
    TlsClient::load(&TlsSettings { ca, server_name, verify, identity }, backend)
        .map_err(|error| Failure::new(Code::BAD_FILE, "the tunnels' TLS cannot be set up").cause(error))
}

fn identity(certificate: &CertificateSpec) -> Identity {
    Identity { certificate: certificate.chain.clone(), key: certificate.key_file().clone() }
}

/// A pool of tunnels to `backend`, as `service/name`.
pub(super) fn tunnels(
    tunnels: &TunnelSpec,
    backend: String,
    address: std::net::SocketAddr,
    tls: TlsClient,
) -> Settings {
    Settings {
        kept: usize::from(tunnels.per_backend),
        max_age: tunnels.max_age,
        proxy_protocol: tunnels.proxy_protocol,
        protocol: match tunnels.protocol {
            TunnelProtocol::Auto => Protocol::Auto,
            TunnelProtocol::H2 => Protocol::Http2,
            TunnelProtocol::H1 => Protocol::Http1,
        },
        ..Settings::new(backend, address, tls)
    }
}
