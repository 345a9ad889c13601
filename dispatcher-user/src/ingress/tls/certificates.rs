//! Holds a service's certificates: reads and checks them, finds one by the name that a client asks for, swaps them all.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::core::model::CertificateSpec;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file holds no certificate or key, or is not PEM.
    #[error("{path} holds no usable {what}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is not that of the certificate.
    #[error("{key} is not the key of the certificate in {chain}: {reason}")]
    Mismatch {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// The library's reason.
        reason: String,
    },
    /// No certificate at all.
    #[error("a service in mode `secure` needs a certificate")]
    None,
}

/// The certificates that a service shows now.
#[derive(Debug)]
pub struct Certificates {
    table: ArcSwap<Table>,
}

/// Certificates as they were read at one time.
#[derive(Debug)]
pub struct Table {
    /// Shown to a client that asks for no name, or for one that no certificate has: the first in the configuration.
    first: Arc<CertifiedKey>,
    /// By name in lower case, without wildcards. More than one for a name if their keys are of different kinds.
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the wildcard's dot.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Begins with `table`.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table: ArcSwap::from_pointee(table) }
    }

    /// Shows other certificates from the next handshake on; connections that stand are not touched.
    pub fn swap(&self, table: Table) {
        self.table.store(Arc::new(table));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        Some(Arc::clone(
            table.find(hello.server_name(), |certified| {
                certified.key.choose_scheme(hello.signature_schemes()).is_some()
            }),
        ))
    }
}

impl Table {
    /// Reads and checks certificates.
    ///
    /// # Errors
    /// If a file is missing or unusable, or a key belongs to another certificate.
    pub fn read(files: &[CertificateSpec], provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let mut table: Option<Self> = None;
        for one in files {
            let certified = Arc::new(read_one(one, provider)?);
            let table = table.get_or_insert_with(|| Self {
                first: Arc::clone(&certified),
                exact: HashMap::new(),
                wildcard: HashMap::new(),
            });
            for name in names(&one.chain, &certified)? {
                let holders = match name.strip_prefix("*.") {
                    Some(parent) => table.wildcard.entry(parent.to_owned()),
                    None => table.exact.entry(name),
                };
                holders.or_default().push(Arc::clone(&certified));
            }
        }
        table.ok_or(CertificateError::None)
    }

    /// The certificate for a name: that of the name, else the wildcard's, else the first; among those of one name the
    /// first that the client can check.
    fn find(&self, name: Option<&str>, is_usable: impl Fn(&CertifiedKey) -> bool) -> &Arc<CertifiedKey> {
        let named = name.and_then(|name| {
            // The library hands names over in lower case.
            let parent = name.split_once('.').map(|(_, parent)| parent);
            self.exact.get(name).or_else(|| self.wildcard.get(parent?))
        });
        let Some(holders) = named else { return &self.first };
        holders.iter().find(|certified| is_usable(certified)).or(holders.first()).unwrap_or(&self.first)
    }
}

fn read_one(files: &CertificateSpec, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let chain = read_chain(&files.chain)?;
    let key = PrivateKeyDer::from_pem_slice(&read(files.key_file())?).map_err(|error| CertificateError::Content {
        path: files.key_file().clone(),
        what: "private key",
        reason: error.to_string(),
    })?;
    let mut certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| CertificateError::Mismatch {
        chain: files.chain.clone(),
        key: files.key_file().clone(),
        reason: error.to_string(),
    })?;
    if let Some(ocsp) = &files.ocsp {
        certified.ocsp = Some(read(ocsp)?);
    }
    Ok(certified)
}

/// Reads all certificates of a PEM file; there is at least one.
///
/// # Errors
/// If the file cannot be read or holds none.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let unusable = |reason: String| CertificateError::Content { path: path.to_owned(), what: "certificate", reason };
    let chain = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if chain.is_empty() { Err(unusable("there is none".to_owned())) } else { Ok(chain) }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

/// The DNS names of a chain's first certificate, in lower case.
fn names(path: &Path, certified: &CertifiedKey) -> Result<Vec<String>, CertificateError> {
    let unusable = |reason: String| CertificateError::Content { path: path.to_owned(), what: "certificate", reason };
    let end_entity = certified.end_entity_cert().map_err(|error| unusable(error.to_string()))?;
    let (_, parsed) = parse_x509_certificate(end_entity).map_err(|error| unusable(error.to_string()))?;
    let names = parsed.subject_alternative_name().map_err(|error| unusable(error.to_string()))?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let dns = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
    };
    Ok(names.filter_map(dns).collect())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
    use rustls::SignatureScheme;
    use tempfile::TempDir;

    use super::*;

    fn provider() -> CryptoProvider {
        rustls::crypto::aws_lc_rs::default_provider()
    }

    /// Writes a self-signed certificate for `names`.
    fn certificate(
        place: &TempDir,
        file: &str,
        names: &[&str],
        kind: &'static rcgen::SignatureAlgorithm,
    ) -> CertificateSpec {
        let key = KeyPair::generate_for(kind).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let files = CertificateSpec {
            chain: place.path().join(format!("{file}.pem")),
            key: Some(place.path().join(format!("{file}.key"))),
            ocsp: None,
        };
        fs::write(&files.chain, certificate.pem()).unwrap();
        fs::write(files.key_file(), key.serialize_pem()).unwrap();
        files
    }

    /// Which of `files` is found for a name.
    fn found(table: &Table, name: Option<&str>, files: &[CertificateSpec], scheme: SignatureScheme) -> usize {
        let found = table.find(name, |certified| certified.key.choose_scheme(&[scheme]).is_some());
        files.iter().position(|one| read_chain(&one.chain).unwrap() == found.cert).unwrap()
    }

    #[test]
    fn a_name_finds_its_certificate() {
        let place = tempfile::tempdir().unwrap();
        let files = [
            certificate(&place, "first", &["shop.example"], &PKCS_ECDSA_P256_SHA256),
            certificate(&place, "wild", &["*.farm.example", "Other.Example"], &PKCS_ECDSA_P256_SHA256),
            certificate(&place, "deep", &["a.b.farm.example"], &PKCS_ECDSA_P256_SHA256),
            certificate(&place, "deep-p384", &["a.b.farm.example"], &PKCS_ECDSA_P384_SHA384),
        ];
        let table = Table::read(&files, &provider()).unwrap();
        let p256 = SignatureScheme::ECDSA_NISTP256_SHA256;
        for (name, wanted) in [
            (None, 0),
            (Some("shop.example"), 0),
            (Some("other.example"), 1),
            (Some("anything.farm.example"), 1),
            // A wildcard stands for one label.
            (Some("a.c.farm.example"), 0),
            (Some("farm.example"), 0),
            (Some("a.b.farm.example"), 2),
        ] {
            assert_eq!(found(&table, name, &files, p256), wanted, "{name:?}");
        }
        // Of two for one name the client gets the one that it can check.
        assert_eq!(found(&table, Some("a.b.farm.example"), &files, SignatureScheme::ECDSA_NISTP384_SHA384), 3);
        assert_eq!(found(&table, Some("a.b.farm.example"), &files, SignatureScheme::ED25519), 2);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file() {
        let place = tempfile::tempdir().unwrap();
        let one = certificate(&place, "one", &["one.example"], &PKCS_ECDSA_P256_SHA256);
        let two = certificate(&place, "two", &["two.example"], &PKCS_ECDSA_P256_SHA256);
        let said = |files: CertificateSpec| Table::read(&[files], &provider()).unwrap_err().to_string();
        let empty = place.path().join("empty.pem");
        fs::write(&empty, "nothing\n").unwrap();
        assert!(said(CertificateSpec { key: two.key.clone(), ..one.clone() }).contains("is not the key of"));
        assert!(
            said(CertificateSpec { chain: empty.clone(), ..one.clone() })
                .contains("empty.pem holds no usable certificate")
        );
        assert!(
            said(CertificateSpec { key: Some(empty), ..one.clone() }).contains("empty.pem holds no usable private key")
        );
        let gone = place.path().join("gone.pem");
        assert!(said(CertificateSpec { chain: gone.clone(), ..one.clone() }).contains("gone.pem cannot be read"));
        assert!(said(CertificateSpec { ocsp: Some(gone), ..one }).contains("gone.pem cannot be read"));
        assert!(matches!(Table::read(&[], &provider()), Err(CertificateError::None)));
    }
}
