//! What a client gets from a handshake, with rustls on the other side.

use std::{fs, path::Path, sync::Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, NamedGroup,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::ingress::keys::Secrets;

/// An authority, and a folder with what it issued.
struct Authority {
    place: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { place, issuer }
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("ca.pem")
    }

    /// Issues a certificate for `name`; issued again it has another key.
    fn issue(&self, name: &str) -> CertificateSpec {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let files = CertificateSpec {
            chain: self.place.path().join(format!("{name}.pem")),
            key: Some(self.place.path().join(format!("{name}.key"))),
            ocsp: None,
        };
        fs::write(&files.chain, certificate.pem()).unwrap();
        fs::write(files.key_file(), key.serialize_pem()).unwrap();
        files
    }

    fn client(&self) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        self.client_of(&[&TLS13, &TLS12])
    }

    fn client_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
    }
}

fn settings(certificates: Vec<CertificateSpec>) -> TlsSpec {
    TlsSpec { certificates, alpn: vec![Alpn::H2, Alpn::Http11], client_auth: ClientAuth::None, client_ca: None }
}

fn acceptor(settings: &TlsSpec) -> TlsAcceptor {
    TlsAcceptor::new(settings, ticket_keys()).unwrap()
}

fn ticket_keys() -> Arc<TicketKeys> {
    Arc::new(TicketKeys::new("shop", 3600, &Secrets::random(0).unwrap()).unwrap())
}

fn session(number: u8) -> SessionId {
    SessionId([number; 16])
}

/// What a handshake came to on both sides; then one byte is sent each way, so that tickets arrive.
async fn handshake(
    acceptor: &TlsAcceptor,
    fresh: SessionId,
    client: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<(TlsContext, client::TlsStream<tokio::io::DuplexStream>)> {
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::clone(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connect = async {
        let mut stream = connector.connect(name, near).await?;
        stream.write_all(b"?").await?;
        stream.read_exact(&mut [0]).await?;
        Ok::<_, io::Error>(stream)
    };
    let accept = async {
        let (mut stream, context) = acceptor.accept(far, fresh).await?;
        stream.read_exact(&mut [0]).await?;
        stream.write_all(b"!").await?;
        stream.flush().await?;
        Ok::<_, io::Error>((context, stream))
    };
    let (stream, accepted) = tokio::join!(connect, accept);
    Ok((accepted?.0, stream?))
}

fn plain(authority: &Authority) -> Arc<ClientConfig> {
    Arc::new(authority.client().with_no_client_auth())
}

fn shown(stream: &client::TlsStream<tokio::io::DuplexStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

fn leaf(chain: &Path) -> CertificateDer<'static> {
    read_chain(chain).unwrap().remove(0)
}

#[tokio::test]
async fn the_context_tells_what_was_agreed() {
    let authority = Authority::new();
    let acceptor = acceptor(&settings(vec![authority.issue("shop.example")]));
    let mut client = authority.client().with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let (context, _) = handshake(&acceptor, session(1), &Arc::new(client), "shop.example").await.unwrap();
    assert_eq!(context.version, "TLSv1_3");
    assert!(context.cipher.starts_with("TLS13_"), "{}", context.cipher);
    assert_eq!(context.group, NamedGroup::X25519MLKEM768.as_str());
    // The server's order counts.
    assert_eq!(context.protocol, Alpn::H2);
    assert_eq!(context.server_name.as_deref(), Some("shop.example"));
    assert!(!context.is_resumed && !context.has_certificate);
    assert_eq!(context.session, session(1));
}

#[tokio::test]
async fn a_client_that_resumes_keeps_its_session_for_good() {
    for version in [&TLS13, &TLS12] {
        let authority = Authority::new();
        let acceptor = acceptor(&settings(vec![authority.issue("shop.example")]));
        let client = Arc::new(authority.client_of(&[version]).with_no_client_auth());
        for round in 1..=4 {
            let (context, _) = handshake(&acceptor, session(round), &client, "shop.example").await.unwrap();
            assert_eq!(context.is_resumed, round > 1, "{version:?}");
            // Tickets of resumed connections carry it on.
            assert_eq!(context.session, session(1), "{version:?} round {round}");
        }
    }
}

/// Offers to every server the tickets of `shop.example`, as one would who read them off the wire.
#[derive(Debug)]
struct Thief(ClientSessionMemoryCache, Mutex<u32>);

impl Thief {
    fn name() -> ServerName<'static> {
        ServerName::try_from("shop.example").unwrap()
    }
}

impl ClientSessionStore for Thief {
    fn set_kx_hint(&self, _server: ServerName<'static>, _group: NamedGroup) {}
    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(Self::name(), value);
    }
    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        *self.1.lock().unwrap() += 1;
        self.0.tls12_session(&Self::name())
    }
    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::name(), value);
    }
    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self.0.take_tls13_ticket(&Self::name())?;
        *self.1.lock().unwrap() += 1;
        Some(ticket)
    }
}

#[tokio::test]
async fn a_ticket_by_which_nothing_is_resumed_gives_no_session_away() {
    for version in [&TLS13, &TLS12] {
        let authority = Authority::new();
        let files = vec![authority.issue("shop.example"), authority.issue("other.example")];
        let acceptor = acceptor(&settings(files));
        let store = Arc::new(Thief(ClientSessionMemoryCache::new(8), Mutex::new(0)));
        let mut client = authority.client_of(&[version]).with_no_client_auth();
        client.resumption = Resumption::store(Arc::<Thief>::clone(&store));
        let client = Arc::new(client);
        handshake(&acceptor, session(1), &client, "shop.example").await.unwrap();
        let offered = *store.1.lock().unwrap();
        // The ticket opens, but was issued for another name: rustls makes the handshake in full.
        let (context, _) = handshake(&acceptor, session(2), &client, "other.example").await.unwrap();
        assert!(*store.1.lock().unwrap() > offered, "{version:?}: no ticket was offered");
        assert!(!context.is_resumed, "{version:?}");
        assert_eq!(context.session, session(2), "{version:?}");
        // And the ticket of that connection carries its own session.
        let (context, _) = handshake(&acceptor, session(3), &client, "other.example").await.unwrap();
        assert_eq!((context.is_resumed, context.session), (true, session(2)), "{version:?}");
    }
}

#[tokio::test]
async fn a_retried_hello_is_not_resumed() {
    let authority = Authority::new();
    let acceptor = acceptor(&settings(vec![authority.issue("shop.example")]));
    let provider = aws_lc_rs::default_provider();
    // The share that the client sends first is of a group that the server lacks, so it must ask again.
    let mut groups = provider.kx_groups.clone();
    groups.retain(|group| group.name() == NamedGroup::secp256r1);
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let mut unknown: Vec<&'static dyn rustls::crypto::SupportedKxGroup> = vec![&Unheard];
    unknown.extend(groups);
    let provider = CryptoProvider { kx_groups: unknown, ..provider };
    let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let store = Arc::new(Thief(ClientSessionMemoryCache::new(8), Mutex::new(0)));
    client.resumption = Resumption::store(Arc::<Thief>::clone(&store));
    let client = Arc::new(client);
    for round in 1..=2 {
        let (context, _) = handshake(&acceptor, session(round), &client, "shop.example").await.unwrap();
        assert!(!context.is_resumed);
        assert_eq!(context.session, session(round));
    }
    assert!(*store.1.lock().unwrap() > 0, "no ticket was offered");
}

/// A key exchange that no server knows.
#[derive(Debug)]
struct Unheard;

impl rustls::crypto::SupportedKxGroup for Unheard {
    fn start(&self) -> Result<Box<dyn rustls::crypto::ActiveKeyExchange>, rustls::Error> {
        Ok(Box::new(Self))
    }
    fn name(&self) -> NamedGroup {
        NamedGroup::Unknown(0x7a7a)
    }
}

impl rustls::crypto::ActiveKeyExchange for Unheard {
    fn complete(self: Box<Self>, _share: &[u8]) -> Result<rustls::crypto::SharedSecret, rustls::Error> {
        Err(rustls::Error::General("nobody chooses this group".to_owned()))
    }
    fn pub_key(&self) -> &[u8] {
        &[0; 32]
    }
    fn group(&self) -> NamedGroup {
        NamedGroup::Unknown(0x7a7a)
    }
}

#[tokio::test]
async fn certificates_are_swapped_without_touching_connections_that_stand() {
    let authority = Authority::new();
    let files = authority.issue("shop.example");
    let acceptor = acceptor(&settings(vec![files.clone()]));
    let client = || Arc::new(authority.client().with_no_client_auth());
    let before = leaf(&files.chain);
    let (_, standing) = handshake(&acceptor, session(1), &client(), "shop.example").await.unwrap();
    assert_eq!(shown(&standing), before);

    fs::write(files.key_file(), "broken").unwrap();
    acceptor.swap(std::slice::from_ref(&files)).unwrap_err();
    let (_, stream) = handshake(&acceptor, session(2), &client(), "shop.example").await.unwrap();
    assert_eq!(shown(&stream), before, "what cannot be used changes nothing");

    let renewed = authority.issue("shop.example");
    acceptor.swap(std::slice::from_ref(&renewed)).unwrap();
    let (_, stream) = handshake(&acceptor, session(3), &client(), "shop.example").await.unwrap();
    assert_eq!(shown(&stream), leaf(&renewed.chain));
    assert_ne!(shown(&stream), before);
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_configured() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let files = authority.issue("shop.example");
    let with_certificate = |issuer: &Authority| {
        let files = issuer.issue("client.example");
        let key = PrivateKeyDer::from_pem_file(files.key_file()).unwrap();
        Arc::new(authority.client().with_client_auth_cert(read_chain(&files.chain).unwrap(), key).unwrap())
    };
    let spec = |client_auth, client_ca| TlsSpec { client_auth, client_ca, ..settings(vec![files.clone()]) };
    let optional = acceptor(&spec(ClientAuth::Optional, Some(authority.path())));
    let required = acceptor(&spec(ClientAuth::Required, Some(authority.path())));
    for (acceptor, client, wanted) in [
        (&optional, plain(&authority), Some(false)),
        (&optional, with_certificate(&authority), Some(true)),
        (&optional, with_certificate(&stranger), None),
        (&required, plain(&authority), None),
        (&required, with_certificate(&authority), Some(true)),
        (&required, with_certificate(&stranger), None),
    ] {
        let context = handshake(acceptor, session(1), &client, "shop.example").await.ok().map(|(context, _)| context);
        assert_eq!(context.map(|context| context.has_certificate), wanted);
    }
    let refused =
        |client_ca| TlsAcceptor::new(&spec(ClientAuth::Required, client_ca), ticket_keys()).unwrap_err().to_string();
    let error = refused(files.key.clone());
    assert!(error.contains("shop.example.key holds no usable certificate"), "{error}");
    assert!(refused(None).contains("client_ca"));
}

/// Believes every server, and keeps what was stapled.
#[derive(Debug, Default)]
struct Staples(Mutex<Vec<u8>>);

impl rustls::client::danger::ServerCertVerifier for Staples {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = ocsp.to_vec();
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn the_ocsp_response_is_stapled() {
    let authority = Authority::new();
    let ocsp = authority.place.path().join("shop.ocsp");
    fs::write(&ocsp, b"signed elsewhere").unwrap();
    let files = CertificateSpec { ocsp: Some(ocsp), ..authority.issue("shop.example") };
    let acceptor = acceptor(&settings(vec![files]));
    let staples = Arc::new(Staples::default());
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Staples>::clone(&staples))
        .with_no_client_auth();
    handshake(&acceptor, session(1), &Arc::new(client), "shop.example").await.unwrap();
    assert_eq!(*staples.0.lock().unwrap(), b"signed elsewhere");
}

#[tokio::test]
async fn what_is_not_tls_is_refused() {
    let authority = Authority::new();
    let acceptor = acceptor(&settings(vec![authority.issue("shop.example")]));
    for garbage in [&b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3], b""] {
        let (mut near, far) = duplex(4096);
        near.write_all(garbage).await.unwrap();
        near.shutdown().await.unwrap();
        acceptor.accept(far, session(1)).await.map(|(_, context)| context).unwrap_err();
    }
}
