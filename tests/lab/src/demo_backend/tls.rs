//! The server's side of TLS: certificates from files, ALPN, client certificates, and what came of a handshake.

use super::settings::Tls;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde::Serialize;
use std::{
    io::{self, Error},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// What a handshake agreed on.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Agreed {
    /// `TLSv1_3` and the like.
    protocol: String,
    /// The cipher suite.
    cipher: String,
    /// `h2` or `http/1.1`, if the client asked for any.
    alpn: Option<String>,
    /// The name that the client called.
    server_name: Option<String>,
    /// Whether the client showed a certificate, which was verified then.
    client_certificate: bool,
    /// Whether an earlier session was resumed.
    resumed: bool,
}

/// Reads certificates and key.
pub(super) fn acceptor(files: &Tls) -> io::Result<TlsAcceptor> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(Error::other)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in chain(path)? {
                roots.add(certificate).map_err(about(path))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().map_err(about(path))?)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(about(&files.key))?;
    let mut config = builder.with_single_cert(chain(&files.chain)?, key).map_err(about(&files.chain))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn chain(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(about(path))
}

fn about<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Error {
    move |error| Error::other(format!("{}: {error}", path.display()))
}

/// Shakes hands; nothing if the client does not in time, or in vain.
pub(super) async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> Option<(TlsStream<TcpStream>, Agreed)> {
    let stream = timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await.ok()?.ok()?;
    let agreed = Agreed::of(stream.get_ref().1);
    Some((stream, agreed))
}

impl Agreed {
    fn of(connection: &ServerConnection) -> Self {
        let name = |known: Option<String>| known.unwrap_or_else(|| "unknown".to_owned());
        Self {
            protocol: name(connection.protocol_version().map(|version| format!("{version:?}"))),
            cipher: name(connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()))),
            alpn: connection.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
            server_name: connection.server_name().map(str::to_owned),
            client_certificate: connection.peer_certificates().is_some(),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }
}
