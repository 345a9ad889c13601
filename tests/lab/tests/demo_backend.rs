//! The demo backend over TLS: both protocols, carts, uploads, and a capacity that is kept.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{
    certificates::{Certificates, FARM},
    demo_backend::{DemoBackend, Settings, Tls},
    wait_until,
};
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};

/// A backend on loopback, with certificates that are removed with it.
struct Server {
    backend: DemoBackend,
    certificates: Certificates,
    directory: PathBuf,
}

impl Server {
    fn start(mark: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("dispatcher-{mark}-{}", std::process::id()));
        let certificates = Certificates::create(&directory, 1).unwrap();
        let settings = Settings::on_loopback("b1", Some(Tls::of_lab(1, &certificates)));
        let backend = DemoBackend::start(&settings).unwrap();
        Self { backend, certificates, directory }
    }

    fn https(&self) -> SocketAddr {
        self.backend.addresses().https[0]
    }

    fn call(&self, arguments: &[&str], url: &str) -> Output {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "30", "--cacert"]).arg(self.certificates.authority());
        curl.args(arguments).arg(url).output().unwrap()
    }

    /// What is answered to a request for `path`, which must succeed.
    fn ask(&self, arguments: &[&str], path: &str) -> Value {
        let output = self.call(&[&["--fail"], arguments].concat(), &format!("https://{}{path}", self.https()));
        assert!(output.status.success(), "{path}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn status(&self, arguments: &[&str], path: &str) -> String {
        let arguments = [&["--output", "/dev/null", "--write-out", "%{http_code}"], arguments].concat();
        String::from_utf8(self.call(&arguments, &format!("https://{}{path}", self.https())).stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

#[test]
fn both_protocols_are_spoken_over_tls_and_told_apart() {
    let server = Server::start("tls");
    for (option, protocol, alpn) in [("--http2", "HTTP/2.0", "h2"), ("--http1.1", "HTTP/1.1", "http/1.1")] {
        let seen = server.ask(&[option, "--header", "X-Tier: gold"], "/whoami?x=1");
        assert_eq!((&seen["protocol"], &seen["tls"]["alpn"]), (&protocol.into(), &alpn.into()), "{seen}");
        assert_eq!((&seen["tls"]["protocol"], &seen["tls"]["client_certificate"]), (&"TLSv1_3".into(), &false.into()));
        let headers = seen["headers"].as_array().unwrap();
        assert!(headers.contains(&serde_json::json!(["x-tier", "gold"])), "{seen}");
    }
    let plain = format!("http://{}/whoami", server.backend.addresses().http[0]);
    for (option, protocol) in [("--http2-prior-knowledge", "HTTP/2.0"), ("--http1.1", "HTTP/1.1")] {
        let seen: Value = serde_json::from_slice(&server.call(&[option], &plain).stdout).unwrap();
        assert_eq!((&seen["protocol"], &seen["tls"]), (&protocol.into(), &Value::Null));
    }
}

#[test]
fn certificates_name_the_farm_and_client_certificates_are_verified() {
    let server = Server::start("mtls");
    let port = server.https().port();
    let resolve = format!("{FARM}:{port}:127.0.0.1");
    let url = format!("https://{FARM}:{port}/whoami");
    let client = server.certificates.dispatcher();
    let with_client = |chain: &PathBuf, key: &PathBuf| {
        let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
        server.call(&["--resolve", &resolve, "--cert", chain, "--key", key], &url)
    };
    let seen: Value = serde_json::from_slice(&with_client(&client.chain, &client.key).stdout).unwrap();
    assert_eq!((&seen["tls"]["client_certificate"], &seen["tls"]["server_name"]), (&true.into(), &FARM.into()));
    // One that is no client's is refused, and so is the backend under a name that is not its own.
    let backend = server.certificates.backend(1);
    assert!(!with_client(&backend.chain, &backend.key).status.success());
    let elsewhere = format!("shop.example:{port}:127.0.0.1");
    let output = server.call(&["--resolve", &elsewhere], &format!("https://shop.example:{port}/"));
    assert_eq!(output.status.code(), Some(60), "{output:?}");
}

#[test]
fn carts_belong_to_sessions() {
    let server = Server::start("cart");
    let (one, other) = (["--header", "x-session-id: 4f1d"], ["--header", "x-session-id: 9a02"]);
    server.ask(&[&["--request", "POST"], one.as_slice()].concat(), "/cart/add/book");
    server.ask(&one, "/cart/add/pen");
    let cart = server.ask(&one, "/cart");
    assert_eq!(cart, serde_json::json!({"backend": "b1", "session": "4f1d", "items": ["book", "pen"]}));
    assert_eq!(server.ask(&other, "/cart")["items"], serde_json::json!([]));
    assert_eq!(server.status(&[], "/cart"), "400");
    assert_eq!(server.status(&["--request", "DELETE"], "/cart/add/book"), "405");
}

#[test]
fn uploads_are_counted_and_slow_answers_are_slow() {
    let server = Server::start("up");
    let file = server.directory.join("upload");
    fs::write(&file, vec![b'u'; 10_000_000]).unwrap();
    let data = format!("@{}", file.display());
    for option in ["--http2", "--http1.1"] {
        let uploaded = server.ask(&[option, "--data-binary", &data], "/upload");
        assert_eq!(uploaded, serde_json::json!({"backend": "b1", "bytes": 10_000_000}));
    }
    let chunked = ["--http1.1", "--header", "Transfer-Encoding: chunked", "--data-binary", &data];
    assert_eq!(server.ask(&chunked, "/upload")["bytes"], 10_000_000);
    assert_eq!(server.status(&[], "/upload"), "405");
    let report = server.call(&["--write-out", "%{time_total}"], &format!("https://{}/slow/300", server.https()));
    let report = String::from_utf8(report.stdout).unwrap();
    let seconds: f64 = report.lines().last().unwrap().parse().unwrap();
    assert!(seconds >= 0.3, "{report}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what takes real time is held against a clock")]
fn limited_address_works_on_eight_at_a_time() {
    let server = Server::start("cap");
    let limited = server.backend.addresses().limited[0];
    let start = Instant::now();
    let urls: Vec<String> = (0..160).map(|number| format!("https://{limited}/?{number}")).collect();
    let arguments = ["--fail", "--parallel", "--parallel-immediate", "--parallel-max", "100", "--http1.1"];
    let all: Vec<&str> = arguments.into_iter().chain(urls.iter().skip(1).map(String::as_str)).collect();
    let output = server.call(&all, &urls[0]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 160);
    // Twenty turns of ten milliseconds.
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    wait_until("all work done", Duration::from_secs(10), || server.backend.load().done == 160).unwrap();
    let load = server.backend.load();
    assert_eq!((load.most_working, load.working, load.waiting, load.refused), (8, 0, 0, 0));
    assert_eq!(server.ask(&[], "/load")["done"], 160, "the other addresses are not limited");
}

#[test]
fn https_without_a_certificate_is_refused_at_the_start() {
    let settings = Settings { https: vec![([127, 0, 0, 1], 0).into()], ..Settings::on_loopback("b1", None) };
    assert_eq!(DemoBackend::start(&settings).unwrap_err().to_string(), "HTTPS needs a certificate and a key");
    let missing = Tls { chain: "/nonexistent.pem".into(), key: "/nonexistent.key".into(), client_ca: None };
    let error = DemoBackend::start(&Settings::on_loopback("b1", Some(missing))).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent."), "{error}");
}
