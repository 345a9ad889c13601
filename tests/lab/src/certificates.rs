//! A certification authority, and certificates of it for the shop, the backends and the dispatcher.

use crate::{LabError, addresses};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::{
    fs::{self, File},
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The name by which clients know the shop.
pub const SHOP: &str = "shop.example";
/// A name that the certificates of all backends share.
pub const FARM: &str = "farm.example";

/// A certification authority that nobody trusts but who is given its certificate.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate; its authority's is what whoever verifies it has.
    pub chain: String,
    /// The private key.
    pub key: String,
}

/// What a certificate is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To serve under its names.
    Server,
    /// To tell a server who is calling.
    Client,
}

impl Authority {
    /// Makes an authority with a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(name: &str) -> Result<Self, LabError> {
        let mut params = described(name, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for host names and addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue(&self, subject: &str, names: &[String], purpose: Use) -> Result<Issued, LabError> {
        let mut params = described(subject, names.to_vec())?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Use::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Use::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { chain: certificate.pem(), key: key.serialize_pem() })
    }
}

fn described(subject: &str, names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2044, 1, 1));
    Ok(params)
}

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub chain: PathBuf,
    /// The private key, for its owner alone.
    pub key: PathBuf,
}

/// The certificates of a lab, as files.
#[derive(Debug, Clone)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Those that are in a folder already.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Makes an authority and what it issues, in a new folder `directory`.
    ///
    /// # Errors
    /// When the folder is there already or cannot be written.
    pub fn create(directory: &Path, backends: u8) -> Result<Self, LabError> {
        fs::create_dir(directory).map_err(LabError::file(directory))?;
        let (authority, this) = (Authority::new("Lab authority")?, Self::at(directory));
        fs::write(this.authority(), authority.certificate()).map_err(LabError::file(this.authority()))?;
        let shop = [SHOP.to_owned(), addresses::VIP4.to_string(), addresses::VIP6.to_string()];
        this.shop().write(&authority.issue(SHOP, &shop, Use::Server)?)?;
        this.dispatcher().write(&authority.issue("dispatcher", &[], Use::Client)?)?;
        for number in 1..=backends {
            let issued = authority.issue(&format!("b{number}"), &backend_names(number), Use::Server)?;
            this.backend(number).write(&issued)?;
        }
        Ok(this)
    }

    /// The authority's certificate, by which all others are verified.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// What the shop shows to clients: [`SHOP`] and the VIPs.
    #[must_use]
    pub fn shop(&self) -> Pair {
        self.pair("shop")
    }

    /// What the dispatcher shows to backends.
    #[must_use]
    pub fn dispatcher(&self) -> Pair {
        self.pair("dispatcher")
    }

    /// What backend `number` shows, counted from 1: [`FARM`], its own name below that, its addresses, and loopback.
    #[must_use]
    pub fn backend(&self, number: u8) -> Pair {
        self.pair(&format!("b{number}"))
    }

    fn pair(&self, name: &str) -> Pair {
        let file = |end: &str| self.directory.join(format!("{name}.{end}"));
        Pair { chain: file("pem"), key: file("key") }
    }
}

fn backend_names(number: u8) -> Vec<String> {
    let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    let names = [FARM.to_owned(), format!("b{number}.{FARM}"), "localhost".to_owned()];
    let addresses = addresses::backend(number).into_iter().chain(loopback).map(|address| address.to_string());
    names.into_iter().chain(addresses).collect()
}

impl Pair {
    fn write(&self, issued: &Issued) -> Result<(), LabError> {
        fs::write(&self.chain, &issued.chain).map_err(LabError::file(&self.chain))?;
        let key = File::options().write(true).create_new(true).mode(0o600).open(&self.key);
        key.and_then(|mut file| file.write_all(issued.key.as_bytes())).map_err(LabError::file(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn every_part_of_a_lab_has_its_files_and_keys_are_private() {
        let directory = std::env::temp_dir().join(format!("dispatcher-certificates-{}", std::process::id()));
        let certificates = Certificates::create(&directory, 2).unwrap();
        for pair in [certificates.shop(), certificates.dispatcher(), certificates.backend(1), certificates.backend(2)] {
            let mode = fs::metadata(&pair.key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", pair.key.display());
            assert!(fs::read_to_string(&pair.chain).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        }
        assert!(Certificates::create(&directory, 2).is_err(), "another lab's are not written over");
        fs::remove_dir_all(&directory).unwrap();
    }
}
