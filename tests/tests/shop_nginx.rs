//! nginx as the shop's backend: HTTP/2 and HTTP/1.1 over TLS that both sides verify.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{Namespace, Process, addresses::VIP4, wait_until};
use dispatcher_tests::{
    Stage,
    customer::{self, Customer, Memory, Version},
    shop,
    stage::SOON,
};
use std::{collections::BTreeSet, fs, net::TcpStream, process::Command};

/// Where nginx speaks HTTP/2 over TLS 1.3.
const HTTP2: u16 = 8445;
/// Where it speaks HTTP/1.1 over TLS 1.2.
const HTTP1: u16 = 8446;
const LARGE: usize = 16 << 20;

/// Starts nginx in a backend's namespace. It serves nobody who shows no certificate of the lab's authority.
fn start(stage: &Stage, namespace: &Namespace, number: u8) -> Process {
    let (directory, certificates) = (stage.lab.directory(), stage.lab.certificates());
    let name = format!("nginx-b{number}");
    let prefix = directory.path().join(&name);
    fs::create_dir(&prefix).unwrap();
    let (pair, root, authority) = (certificates.backend(number), directory.path().display(), certificates.authority());
    let who = format!("location = / {{ return 200 \"b{number} $server_protocol $ssl_client_verify\"; }}");
    let config = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n  \
         keepalive_timeout 60;\n  ssl_certificate {};\n  ssl_certificate_key {};\n  ssl_client_certificate {};\n  \
         ssl_verify_client on;\n  root {root};\n  server {{\n    listen {HTTP2} ssl http2;\n    ssl_protocols TLSv1.3;\n    \
         {who}\n  }}\n  server {{\n    listen {HTTP1} ssl;\n    ssl_protocols TLSv1.2;\n    {who}\n  }}\n}}\n",
        pair.chain.display(),
        pair.key.display(),
        authority.display(),
    );
    fs::write(prefix.join("nginx.conf"), config).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(&prefix).args(["-c", "nginx.conf", "-e", "stderr"]);
    let process = Process::start(namespace, &mut nginx, directory, &name).unwrap();
    let listens = || namespace.run(|| TcpStream::connect(("127.0.0.1", HTTP2)).is_ok()).unwrap();
    wait_until("nginx listening", SOON, listens)
        .unwrap_or_else(|error| panic!("{error}: {}", fs::read_to_string(directory.log(&name)).unwrap()));
    process
}

#[test]
fn nginx_serves_the_shop_s_customers_over_either_protocol() {
    let Some(mut stage) = Stage::start_with_shop("sng") else { return };
    // Every eight bytes differ, so that nothing lost, doubled or swapped goes unseen.
    let file: Vec<u8> = (0..LARGE as u64 / 8).flat_map(u64::to_be_bytes).collect();
    fs::write(stage.lab.directory().path().join("large"), &file).unwrap();
    let _servers: Vec<Process> =
        (1..).zip(&stage.lab.topology().backends).map(|(number, at)| start(&stage, at, number)).collect();
    let services = [
        ("files", 9443, HTTP2, ("h2", "TLSv1_3"), "HTTP/2.0"),
        ("files1", 9444, HTTP1, ("http/1.1", "TLSv1_2"), "HTTP/1.1"),
    ];
    for (name, port, backend_port, ..) in services {
        let section = shop::section(stage.lab.certificates(), name, port, backend_port, "");
        // Each in its turn, and not who is quickest.
        stage.lab.configure(&section.replace("\"least-load\"", "\"rr\""));
    }
    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    let place = customer::place(stage.client());
    for (name, port, _, (alpn, tls), protocol) in services {
        for tunnel in stage.items(&["tunnel", "list", name]) {
            let context = &tunnel["context"];
            assert_eq!((&context["alpn"], &context["tls"]), (&alpn.into(), &tls.into()), "{tunnel}");
        }
        for version in [Version::Http1, Version::Http2] {
            let mut customer = Customer::new(stage.lab.certificates(), (VIP4, port).into(), version, Memory::Cookie);
            let mut get = |path: &str| customer.get_in(&place, path);
            let said: BTreeSet<String> = (0..12).map(|_| String::from_utf8(get("/").body.to_vec()).unwrap()).collect();
            let all = [1, 2, 3].map(|number| format!("b{number} {protocol} SUCCESS"));
            assert_eq!(said, BTreeSet::from(all), "{name} {version:?}");
            assert!(get("/large").body == file, "{name} {version:?}: the download differs from the file");
            assert_eq!(get("/nothing-here").status, 404);
        }
    }
}

#[test]
fn backend_that_is_not_who_it_should_be_gets_nothing() {
    let Some(mut stage) = Stage::start_with_shop("snv") else { return };
    let _servers: Vec<Process> =
        (1..).zip(&stage.lab.topology().backends).map(|(number, at)| start(&stage, at, number)).collect();
    let section = shop::section(stage.lab.certificates(), "files", 9443, HTTP2, "");
    stage.lab.configure(&section.replace("farm.example", "elsewhere.example"));
    stage.lab.start_dispatcher().unwrap();
    wait_until("the tunnels' failure", SOON, || {
        let tunnels = stage.items(&["tunnel", "list", "files"]);
        tunnels.iter().all(|tunnel| tunnel["failures"].as_u64() > Some(0))
    })
    .unwrap();
    for tunnel in stage.items(&["tunnel", "list", "files"]) {
        let why = tunnel["last_error"].as_str().unwrap();
        assert!(tunnel["context"].is_null() && why.contains("elsewhere.example"), "{tunnel}");
    }
    let place = customer::place(stage.client());
    let to = (VIP4, 9443).into();
    let mut customer = Customer::new(stage.lab.certificates(), to, Version::Http2, Memory::Cookie);
    let answer = customer.get_in(&place, "/");
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    let health: Vec<_> = stage.items(&["backend", "list", "files"]).iter().map(|row| row["health"].clone()).collect();
    assert_eq!(health, ["down"; 3]);
    assert_eq!(stage.items(&["backend", "list", "shop"])[0]["health"], "up", "the others are as they were");
}
