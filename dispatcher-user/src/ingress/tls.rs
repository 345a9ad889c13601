//! Ends TLS: makes the handshake by a service's rules, and tells what the client's connection came to.

pub mod certificates;
pub mod tickets;

use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{Acceptor, NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use self::{
    certificates::{CertificateError, Certificates, Table, read_chain},
    tickets::{ConnectionTickets, TicketKeys},
};
use crate::core::{
    model::{Alpn, CertificateSpec, ClientAuth, TlsSpec},
    sessions::SessionId,
};

/// A service's TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The authorities of client certificates.
    #[error("{path} holds no usable authority for client certificates: {reason}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The library's reason.
        reason: String,
    },
    /// Clients are asked for certificates, and nothing says whose are good.
    #[error("client certificates are asked for, and no `client_ca` says who signs them")]
    NoAuthorities,
    /// The library refuses the settings as a whole.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// Accepts the TLS connections of a service.
#[derive(Debug)]
pub struct TlsAcceptor {
    config: ServerConfig,
    provider: Arc<CryptoProvider>,
    certificates: Arc<Certificates>,
    tickets: Arc<TicketKeys>,
}

/// What a client's TLS connection came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsContext {
    /// `TLSv1_2` or `TLSv1_3`.
    pub version: &'static str,
    /// The cipher suite, by its name in the registry.
    pub cipher: &'static str,
    /// The group of the key exchange; none where TLS 1.2 resumed.
    pub group: Option<&'static str>,
    /// What ALPN chose.
    pub protocol: Alpn,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// True if the client resumed an earlier connection.
    pub is_resumed: bool,
    /// True if the client showed a certificate that an authority vouches for.
    pub has_certificate: bool,
    /// The session that the client's tickets carry.
    pub session: SessionId,
}

impl TlsAcceptor {
    /// Reads the files that `spec` name and sets up TLS.
    ///
    /// # Errors
    /// If a file is missing or unusable.
    pub fn new(spec: &TlsSpec, tickets: Arc<TicketKeys>) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificates = Arc::new(Certificates::new(Table::read(&spec.certificates, &provider)?));
        let resolver = Arc::clone(&certificates);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier(spec, &provider)?)
            .with_cert_resolver(resolver);
        config.alpn_protocols = spec.alpn.iter().map(|protocol| alpn_name(*protocol).to_vec()).collect();
        // A session is in the ticket alone: no memory is held for clients that may never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config, provider, certificates, tickets })
    }

    /// Reads the certificates anew and shows them from the next handshake on.
    ///
    /// # Errors
    /// If a file is missing or unusable; the certificates of before stay.
    pub fn swap(&self, files: &[CertificateSpec]) -> Result<(), CertificateError> {
        self.certificates.swap(Table::read(files, &self.provider)?);
        Ok(())
    }

    /// Makes the handshake; a client that does not resume gets `fresh` as its session.
    ///
    /// # Errors
    /// If the client does not speak TLS, agrees to nothing, or fails to prove what it claims.
    pub async fn accept<IO>(&self, stream: IO, fresh: SessionId) -> io::Result<(TlsStream<IO>, TlsContext)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let tickets = Arc::new(ConnectionTickets::new(Arc::clone(&self.tickets), fresh));
        // A copy for each connection, because its tickets carry its session. A dozen reference counts, against a
        // handshake's hundreds of microseconds.
        let mut config = self.config.clone();
        config.ticketer = Arc::<ConnectionTickets>::clone(&tickets);
        let stream = hello.into_stream_with(Arc::new(config), |tls| tickets.hello_done(tls.handshake_kind())).await?;
        let context = TlsContext::of(stream.get_ref().1, &tickets);
        Ok((stream, context))
    }
}

impl TlsContext {
    fn of(tls: &ServerConnection, tickets: &ConnectionTickets) -> Self {
        let (session, _) = tickets.session();
        Self {
            version: tls.protocol_version().and_then(|version| version.as_str()).unwrap_or("unknown"),
            cipher: tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown"),
            group: tls.negotiated_key_exchange_group().and_then(|group| group.name().as_str()),
            // A client without ALPN speaks what there was before it.
            protocol: if tls.alpn_protocol() == Some(alpn_name(Alpn::H2)) { Alpn::H2 } else { Alpn::Http11 },
            server_name: tls.server_name().map(Into::into),
            is_resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            has_certificate: tls.peer_certificates().is_some(),
            session,
        }
    }
}

/// A protocol's name in ALPN (RFC 7301, RFC 9113 section 3.1).
fn alpn_name(protocol: Alpn) -> &'static [u8] {
    match protocol {
        Alpn::H2 => b"h2",
        Alpn::Http11 => b"http/1.1",
    }
}

fn verifier(spec: &TlsSpec, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let is_required = match spec.client_auth {
        ClientAuth::None => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuth::Optional => false,
        ClientAuth::Required => true,
    };
    let authorities = spec.client_ca.as_ref().ok_or(TlsError::NoAuthorities)?;
    let unusable = |reason: String| TlsError::Authorities { path: authorities.clone(), reason };
    let mut roots = RootCertStore::empty();
    for authority in read_chain(authorities)? {
        roots.add(authority).map_err(|error| unusable(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests;
