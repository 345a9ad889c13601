//! Looks into certificate, key and authority files, and says what is wrong with them.

use std::{
    fs::File,
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use rustls::{
    InconsistentKeys, RootCertStore,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::document::Placed;

/// Bytes of a file: a bundle of all public authorities has a fifth of it.
const MAX_FILE: u64 = 1024 * 1024;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::config) enum FileProblem {
    #[error("cannot read {}", .path.display())]
    Unreadable { path: PathBuf, error: String },
    #[error("{} has more than {MAX_FILE} bytes", .0.display())]
    TooLong(PathBuf),
    #[error("{} holds no {what} in PEM form", .path.display())]
    NotPem { path: PathBuf, what: &'static str },
    #[error("{} holds a damaged {what}", .path.display())]
    Damaged { path: PathBuf, what: &'static str, error: String },
    #[error("the private key in {} is encrypted", .0.display())]
    Encrypted(PathBuf),
    #[error("the private key in {} cannot be used", .path.display())]
    Key { path: PathBuf, error: String },
    #[error("the private key in {} is not that of the certificate in {}", .key.display(), .chain.display())]
    Mismatch { chain: PathBuf, key: PathBuf },
    #[error("the certificate of {subject} in {} has expired, on {at}", .path.display())]
    Expired { path: PathBuf, subject: String, at: String },
    #[error("the certificate of {subject} in {} is not valid before {at}", .path.display())]
    Early { path: PathBuf, subject: String, at: String },
    #[error("{} holds no OCSP response in DER form", .0.display())]
    NotOcsp(PathBuf),
}

impl FileProblem {
    /// True if the dispatcher cannot start with it. Clients alone judge how old a certificate may be.
    pub(in crate::config) fn is_fatal(&self) -> bool {
        match self {
            Self::Expired { .. } | Self::Early { .. } => false,
            Self::Unreadable { .. }
            | Self::TooLong(_)
            | Self::NotPem { .. }
            | Self::Damaged { .. }
            | Self::Encrypted(_)
            | Self::Key { .. }
            | Self::Mismatch { .. }
            | Self::NotOcsp(_) => true,
        }
    }

    /// What the system or the library said, with who said it in front.
    pub(in crate::config) fn cause(&self) -> Option<String> {
        match self {
            Self::Unreadable { error, .. } => Some(format!("system: {error}")),
            Self::Damaged { error, .. } => Some(format!("reader: {error}")),
            Self::Key { error, .. } => Some(format!("rustls: {error}")),
            Self::TooLong(_)
            | Self::NotPem { .. }
            | Self::Encrypted(_)
            | Self::Mismatch { .. }
            | Self::Expired { .. }
            | Self::Early { .. }
            | Self::NotOcsp(_) => None,
        }
    }

    /// What mends it.
    pub(in crate::config) fn fix(&self) -> Option<&'static str> {
        match self {
            Self::Encrypted(_) => Some("take its passphrase off: openssl pkey -in KEY -out NEW-KEY"),
            Self::Mismatch { .. } => {
                Some("name the key that the certificate was asked for with; the chain starts with the server's own")
            }
            Self::Expired { .. } => Some("renew it"),
            Self::Early { .. } => Some("look at the host's clock"),
            Self::NotOcsp(_) => Some("openssl ocsp -respout writes one"),
            Self::Unreadable { .. }
            | Self::TooLong(_)
            | Self::NotPem { .. }
            | Self::Damaged { .. }
            | Self::Key { .. } => None,
        }
    }
}

type Found = (Range<usize>, FileProblem);

/// Looks at a certificate with its chain, and at its key.
pub(super) fn pair(chain: &Placed<PathBuf>, key: &Placed<PathBuf>, now_s: i64) -> Vec<Found> {
    let mut found = Vec::new();
    let certificates = certificates(&chain.value).map_err(|problem| found.push((chain.span.clone(), problem))).ok();
    let private_key = private_key(&key.value).map_err(|problem| found.push((key.span.clone(), problem))).ok();
    found.extend(times(certificates.as_deref().unwrap_or_default(), &chain.value, now_s).map(at(&chain.span)));
    if let (Some(certificates), Some(private_key)) = (certificates, private_key) {
        found.extend(unusable(certificates, &private_key, &chain.value, &key.value).map(at(&key.span)));
    }
    found
}

/// Looks at certificates of those who sign others.
pub(super) fn authorities(path: &Placed<PathBuf>, now_s: i64) -> Vec<Found> {
    let looked = certificates(&path.value).and_then(|certificates| {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let (path, what) = (path.value.clone(), "certificate");
            roots.add(certificate.clone()).map_err(|error| FileProblem::Damaged {
                path,
                what,
                error: error.to_string(),
            })?;
        }
        Ok(certificates)
    });
    match looked {
        Ok(certificates) => times(&certificates, &path.value, now_s).map(at(&path.span)).collect(),
        Err(problem) => vec![(path.span.clone(), problem)],
    }
}

/// Looks at an OCSP response: the TLS library takes it as it is, and clients read it.
pub(super) fn ocsp(path: &Placed<PathBuf>) -> Vec<Found> {
    const SEQUENCE: u8 = 0x30;
    let problem = match bytes(&path.value) {
        Ok(bytes) if bytes.first() == Some(&SEQUENCE) => return Vec::new(),
        Ok(_) => FileProblem::NotOcsp(path.value.clone()),
        Err(problem) => problem,
    };
    vec![(path.span.clone(), problem)]
}

fn at(span: &Range<usize>) -> impl Fn(FileProblem) -> Found + '_ {
    |problem| (span.clone(), problem)
}

fn bytes(path: &Path) -> Result<Vec<u8>, FileProblem> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(FileProblem::Unreadable { path: path.to_owned(), error: error.to_string() }),
        Ok(count) if count as u64 > MAX_FILE => Err(FileProblem::TooLong(path.to_owned())),
        Ok(_) => Ok(bytes),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    const WHAT: &str = "certificate";
    let bytes = bytes(path)?;
    let damaged = |error: String| FileProblem::Damaged { path: path.to_owned(), what: WHAT, error };
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| damaged(error.to_string()))?;
    if certificates.is_empty() {
        return Err(FileProblem::NotPem { path: path.to_owned(), what: WHAT });
    }
    for certificate in &certificates {
        X509Certificate::from_der(certificate).map_err(|error| damaged(error.to_string()))?;
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileProblem> {
    const WHAT: &str = "private key";
    let bytes = bytes(path)?;
    // PKCS #8 says so in the label (RFC 7468, 11), older forms in a field of the PEM header (RFC 1421, 4.6.1.1), which the
    // library takes for damage.
    let is_encrypted = |line: &[u8]| line.starts_with(b"-----BEGIN ENCRYPTED") || line.starts_with(b"Proc-Type: 4,ENC");
    if bytes.split(|&byte| byte == b'\n').any(is_encrypted) {
        return Err(FileProblem::Encrypted(path.to_owned()));
    }
    match PrivateKeyDer::pem_slice_iter(&bytes).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(FileProblem::Damaged { path: path.to_owned(), what: WHAT, error: error.to_string() }),
        None => Err(FileProblem::NotPem { path: path.to_owned(), what: WHAT }),
    }
}

/// Why a key cannot be used with a certificate, if it cannot.
fn unusable(
    certificates: Vec<CertificateDer<'static>>,
    private_key: &PrivateKeyDer<'static>,
    chain: &Path,
    key: &Path,
) -> Option<FileProblem> {
    let unusable = |error: rustls::Error| FileProblem::Key { path: key.to_owned(), error: error.to_string() };
    let signing = match any_supported_type(private_key) {
        Ok(signing) => signing,
        Err(error) => return Some(unusable(error)),
    };
    match CertifiedKey::new(certificates, signing).keys_match() {
        // Some kinds of keys do not give their public half away.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => None,
        Err(rustls::Error::InconsistentKeys(_)) => {
            Some(FileProblem::Mismatch { chain: chain.to_owned(), key: key.to_owned() })
        }
        Err(error) => Some(unusable(error)),
    }
}

/// What of certificates is over, or has not begun.
fn times<'a>(
    certificates: &'a [CertificateDer<'static>],
    path: &'a Path,
    now_s: i64,
) -> impl Iterator<Item = FileProblem> + 'a {
    certificates.iter().filter_map(move |certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let validity = certificate.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let (path, subject) = (path.to_owned(), certificate.subject().to_string());
        if now_s > to {
            return Some(FileProblem::Expired { path, subject, at: calendar(to) });
        }
        (now_s < from).then(|| FileProblem::Early { path, subject, at: calendar(from) })
    })
}

/// A time of the calendar as RFC 3339 writes it; what is before 1970 is shown as its beginning.
fn calendar(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).map_or_else(String::new, |time| humantime::format_rfc3339_seconds(time).to_string())
}

#[cfg(test)]
mod tests;
