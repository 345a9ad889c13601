//! A certificate authority in a folder of its own, and what it signs.

use std::{path::PathBuf, sync::Arc};

use dispatcher_user::{
    core::model::CertificateSpec,
    tunnel::tls::{TlsClient, TlsSettings},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;

/// The name that clients ask for.
pub(crate) const SHOP: &str = "shop.test";
/// The name that backends prove to have.
pub(crate) const FARM: &str = "farm.test";

pub(crate) struct Authority {
    folder: TempDir,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "lab");
        let root = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), root.pem()).unwrap();
        Self { folder, root: root.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Signs a certificate for a name, and writes it and its key.
    pub(crate) fn sign(&self, name: &str) -> CertificateSpec {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let (chain, key_file) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&chain, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        CertificateSpec { chain, key: Some(key_file), ocsp: None }
    }

    /// What tunnels verify backends by.
    pub(crate) fn tunnels(&self) -> TlsClient {
        let settings =
            TlsSettings { ca: Some(self.path("ca.pem")), server_name: Some(FARM.to_owned()), ..TlsSettings::default() };
        TlsClient::load(&settings, [127, 0, 0, 1].into()).unwrap()
    }

    /// A backend's side.
    pub(crate) fn backend(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let files = self.sign(FARM);
        let chain = vec![CertificateDer::from_pem_file(&files.chain).unwrap()];
        let key = PrivateKeyDer::from_pem_file(files.key_file()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A client's side, which remembers its TLS sessions.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion], alpn: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Arc::new(config)
    }
}
