//! Files as they come from operators, good and bad, and what is told of each.

use std::fs;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::{
    config::{Checked, load_with_files},
    failure::{Code, Failure},
};

/// 2026-05-15, within the validity of good certificates.
const NOW_S: i64 = 1_778_803_200;

/// A configuration in a directory of its own, with good files.
struct Place {
    directory: TempDir,
    key: KeyPair,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap(), key: KeyPair::generate().unwrap() };
        place.write("shop.pem", certificate(&place.key, 2025, 2030));
        place.write("shop.key", place.key.serialize_pem());
        place.write("ca.pem", certificate(&KeyPair::generate().unwrap(), 2025, 2030));
        let text = "[[service]]\nname = 'shop'\nvip = '203.0.113.10:443'\nprotocol = 'tcp'\nmode = 'secure'\n\
            [service.tls]\ncertificates = [{ chain = 'shop.pem', key = 'shop.key' }]\n[service.tunnels]\nca = 'ca.pem'\n";
        place.write("f.toml", text);
        place
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.directory.path().join(name), contents).unwrap();
    }

    fn replace(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.directory.path().join("f.toml")).unwrap();
        assert!(text.contains(old));
        self.write("f.toml", text.replace(old, new));
    }

    fn checked(&self) -> Result<Checked, Vec<Failure>> {
        load_with_files(&self.directory.path().join("f.toml"), NOW_S).map_err(|invalid| invalid.faults)
    }

    /// What is told, with the directory left out.
    fn told(&self, faults: &[Failure]) -> String {
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        told.join("\n").replace(&format!("{}/", self.directory.path().display()), "")
    }

    fn fatal(&self) -> String {
        self.told(&self.checked().unwrap_err())
    }
}

fn certificate(key: &KeyPair, from: i32, to: i32) -> String {
    let mut params = CertificateParams::new(vec!["shop.example.org".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "shop");
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params.self_signed(key).unwrap().pem()
}

#[test]
fn good_files_are_good() {
    let place = Place::new();
    assert_eq!(place.checked().unwrap().warnings, []);
    // A key may be in its certificate's file, and other blocks may stand there too.
    let both = [certificate(&place.key, 2025, 2030), place.key.serialize_pem()].concat();
    place.write("shop.pem", format!("Bag Attributes\n{both}"));
    place.replace(", key = 'shop.key'", ", ocsp = 'shop.ocsp'");
    place.write("shop.ocsp", [0x30, 0x03, 0x0a, 0x01, 0x00]);
    assert_eq!(place.checked().unwrap().warnings, []);
}

#[test]
fn every_missing_file_is_told_with_its_place() {
    let place = Place::new();
    for name in ["shop.pem", "shop.key", "ca.pem"] {
        fs::remove_file(place.directory.path().join(name)).unwrap();
    }
    let system = "system: No such file or directory (os error 2)";
    assert_eq!(
        place.fatal(),
        format!(
            "error[E223]: cannot read shop.pem  f.toml:7:27\n  {system}\n\
             error[E223]: cannot read shop.key  f.toml:7:45\n  {system}\n\
             error[E223]: cannot read ca.pem  f.toml:9:6\n  {system}"
        )
    );
}

#[test]
fn a_directory_and_a_giant_are_no_files() {
    let place = Place::new();
    fs::remove_file(place.directory.path().join("ca.pem")).unwrap();
    fs::create_dir(place.directory.path().join("ca.pem")).unwrap();
    place.write("shop.key", vec![b'\n'; 1024 * 1024 + 1]);
    assert_eq!(
        place.fatal(),
        "error[E223]: shop.key has more than 1048576 bytes  f.toml:7:45\n\
         error[E223]: cannot read ca.pem  f.toml:9:6\n  system: Is a directory (os error 21)"
    );
}

#[test]
fn what_is_not_pem_is_told() {
    let place = Place::new();
    place.write("shop.pem", "0\u{82}");
    place.write("shop.key", certificate(&place.key, 2025, 2030));
    place.write("ca.pem", "");
    assert_eq!(
        place.fatal(),
        "error[E223]: shop.pem holds no certificate in PEM form  f.toml:7:27\n\
         error[E223]: shop.key holds no private key in PEM form  f.toml:7:45\n\
         error[E223]: ca.pem holds no certificate in PEM form  f.toml:9:6"
    );
}

#[test]
fn damaged_pem_is_told() {
    let place = Place::new();
    let good = certificate(&place.key, 2025, 2030);
    place.write("shop.pem", &good[..good.len() / 2]);
    place.write("ca.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    place.write("shop.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
    let faults = place.checked().unwrap_err();
    let told: Vec<(Code, &str)> =
        faults.iter().map(|fault| (fault.code, fault.message.split('/').next_back().unwrap())).collect();
    assert_eq!(
        told,
        [
            (Code::BAD_FILE, "shop.pem holds a damaged certificate"),
            (Code::BAD_FILE, "ca.pem holds a damaged certificate"),
        ]
    );
    assert!(faults.iter().all(|fault| fault.cause.is_some()));
    place.write("shop.pem", good);
    let faults = place.checked().unwrap_err();
    assert!(faults[0].message.ends_with("shop.key cannot be used"), "{faults:?}");
}

#[test]
fn an_encrypted_key_is_told() {
    let place = Place::new();
    for text in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n",
    ] {
        place.write("shop.key", text);
        let told = place.fatal();
        assert!(
            told.starts_with("error[E223]: the private key in shop.key is encrypted  f.toml:7:45\n  fix: "),
            "{told}"
        );
    }
}

#[test]
fn a_key_of_another_certificate_is_told() {
    let place = Place::new();
    place.write("shop.key", KeyPair::generate().unwrap().serialize_pem());
    assert_eq!(
        place.fatal(),
        "error[E223]: the private key in shop.key is not that of the certificate in shop.pem  f.toml:7:45\n  \
         fix: name the key that the certificate was asked for with; the chain starts with the server's own"
    );
}

#[test]
fn certificates_out_of_their_time_are_told_and_keep_nobody_from_starting() {
    let place = Place::new();
    place.write("shop.pem", certificate(&place.key, 2020, 2024));
    place.write("ca.pem", certificate(&place.key, 2028, 2030));
    let warnings = place.checked().unwrap().warnings;
    assert_eq!(
        place.told(&warnings),
        "error[E223]: the certificate of CN=shop in shop.pem has expired, on 2024-01-01T00:00:00Z  f.toml:7:27\n  \
         fix: renew it\n\
         error[E223]: the certificate of CN=shop in ca.pem is not valid before 2028-01-01T00:00:00Z  f.toml:9:6\n  \
         fix: look at the host's clock"
    );
}

#[test]
fn an_ocsp_response_that_is_none_is_told() {
    let place = Place::new();
    place.replace("key = 'shop.key'", "key = 'shop.key', ocsp = 'shop.pem'");
    assert_eq!(
        place.fatal(),
        "error[E223]: shop.pem holds no OCSP response in DER form  f.toml:7:64\n  fix: openssl ocsp -respout writes one"
    );
}

#[test]
fn what_is_wrong_with_files_stands_beside_what_is_wrong_with_the_text() {
    let place = Place::new();
    place.replace("ca = 'ca.pem'", "ca = 'gone.pem'\nper_backend = 0");
    let codes: Vec<Code> = place.checked().unwrap_err().iter().map(|fault| fault.code).collect();
    assert_eq!(codes, [Code::BAD_FILE, Code::OUT_OF_RANGE]);
}
