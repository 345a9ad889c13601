//! TLS towards backends: who they must prove to be, and who we are to them.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use super::settings::Protocol;

mod unverified;

const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What a configuration says about TLS to backends; paths are read by [`TlsClient::load`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates of authorities, PEM. Without it the system's are trusted.
    pub ca: Option<PathBuf>,
    /// The name that a backend's certificate must hold. Without it, the backend's address.
    pub server_name: Option<String>,
    /// False: whoever answers is taken for the backend.
    pub verify: bool,
    /// Our certificate and its key, PEM, for backends that ask for one.
    pub identity: Option<Identity>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { ca: None, server_name: None, verify: true, identity: None }
    }
}

/// Files that prove who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those that lead to an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is wrong with the TLS settings.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or does not hold PEM of that kind.
    #[error("{path}: {what}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What was found instead.
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("{0}: holds no certificate")]
    Empty(PathBuf),
    /// The system has no authorities.
    #[error("the system trusts no authorities: {0}; name some in `ca`")]
    NoSystemRoots(String),
    /// A name is neither a DNS name nor an address.
    #[error("`{0}` is not a name that a certificate can hold")]
    Name(String),
    /// rustls does not take what the files hold.
    #[error("{path}: {source}")]
    Refused {
        /// The file that holds it.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// rustls does not take the settings as a whole.
    #[error("TLS to backends cannot be set up: {0}")]
    SetUp(String),
}

/// TLS to one backend, ready to dial. Its sessions are resumed by all tunnels of the backend.
#[derive(Clone)]
pub struct TlsClient {
    name: ServerName<'static>,
    verifies: bool,
    /// One configuration for each list of protocols that is offered.
    both: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("name", &self.name).field("verifies", &self.verifies).finish_non_exhaustive()
    }
}

impl TlsClient {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// Says which file is not what it should be.
    pub fn load(settings: &TlsSettings, backend: IpAddr) -> Result<Self, TlsError> {
        let name = match &settings.server_name {
            Some(name) => ServerName::try_from(name.clone()).map_err(|_invalid| TlsError::Name(name.clone()))?,
            None => ServerName::from(backend),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::SetUp(error.to_string()))?;
        let builder = if settings.verify {
            builder.with_webpki_verifier(verifier(settings.ca.as_deref(), provider)?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(unverified::Anybody::new(provider)))
        };
        let config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_file(&identity.key)
                    .map_err(|source| file_error(&identity.key, "a private key", source))?;
                builder
                    .with_client_auth_cert(read_certificates(&identity.certificate)?, key)
                    .map_err(|source| TlsError::Refused { path: identity.certificate.clone(), source })?
            }
        };
        let offering = |protocols: &[&[u8]]| {
            // The copies share the store of sessions: a tunnel resumes what another one agreed on.
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Self {
            name,
            verifies: settings.verify,
            both: offering(&[H2, HTTP1]),
            http2: offering(&[H2]),
            http1: offering(&[HTTP1]),
        })
    }

    /// Whether a backend must prove who it is.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.verifies
    }

    pub(super) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    pub(super) fn config(&self, protocol: Protocol) -> Arc<ClientConfig> {
        Arc::clone(match protocol {
            Protocol::Auto => &self.both,
            Protocol::Http2 => &self.http2,
            Protocol::Http1 => &self.http1,
        })
    }
}

/// Whether a handshake agreed on HTTP/2.
pub(super) fn is_http2(alpn: Option<&[u8]>) -> bool {
    alpn == Some(H2)
}

/// Trusts the authorities of a file, or the system's.
fn verifier(ca: Option<&Path>, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in read_certificates(path)? {
                roots.add(certificate).map_err(|source| TlsError::Refused { path: path.to_owned(), source })?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _ignored) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
                return Err(TlsError::NoSystemRoots(reasons.join("; ")));
            }
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| TlsError::SetUp(error.to_string()))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| file_error(path, "certificates", source);
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(certificates)
}

fn file_error(path: &Path, what: &'static str, source: rustls::pki_types::pem::Error) -> TlsError {
    TlsError::File { path: path.to_owned(), what, source }
}
