//! The same with a server that nobody here wrote: Debian's nginx.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use dispatcher_user::tunnel::tls::{TlsClient, TlsSettings};
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::*;
use authority::{LOOPBACK, NAME};

/// Whether it is installed. Without it the test says so and ends, but never in CI.
fn is_capable() -> bool {
    let is_installed =
        Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    assert!(is_installed || std::env::var_os("CI").is_none(), "nginx is not installed");
    if !is_installed {
        eprintln!("skipped: nginx is not installed");
    }
    is_installed
}

/// nginx in one process, on a port of loopback, with its files in the authority's folder. Killed when dropped.
struct Nginx {
    process: Child,
    address: SocketAddr,
}

impl Nginx {
    async fn start(authority: &Authority, http2: bool) -> Self {
        authority.sign(NAME);
        let files = authority.path("files");
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("small"), vec![b'.'; 1000]).unwrap();
        let large: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
        fs::write(files.join("large"), large).unwrap();
        // Another process may take a free port before nginx does; then the next one is tried.
        for _ in 0..10 {
            let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            fs::write(authority.path("nginx.conf"), configuration(authority, address, http2)).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(authority.path("")).arg("-c").arg(authority.path("nginx.conf"));
            let process = command.args(["-e", "error.log"]).stderr(Stdio::null()).spawn().unwrap();
            let mut nginx = Self { process, address };
            let mut looks = interval(Duration::from_millis(5));
            for _ in 0..2000 {
                if tokio::net::TcpStream::connect(address).await.is_ok() {
                    return nginx;
                }
                if nginx.process.try_wait().unwrap().is_some() {
                    break;
                }
                looks.tick().await;
            }
        }
        panic!("nginx does not start: {}", fs::read_to_string(authority.path("error.log")).unwrap_or_default());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// It asks for a certificate, and ends a connection after 100 requests.
fn configuration(authority: &Authority, address: SocketAddr, http2: bool) -> String {
    let folder = authority.path("");
    let folder = folder.to_str().unwrap();
    let http2 = if http2 { " http2" } else { "" };
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid;
        events {{ worker_connections 1000; }}
        http {{
            access_log off; client_max_body_size 0; keepalive_requests 100;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            server {{
                listen {address} ssl{http2} backlog=1024;
                ssl_certificate {folder}/{NAME}.pem; ssl_certificate_key {folder}/{NAME}.key;
                ssl_verify_client on; ssl_client_certificate {folder}/ca.pem;
                location / {{ root {folder}/files; dav_methods PUT; }}
                location /who {{ return 200 \"$host $server_protocol $ssl_client_s_dn\"; }}
            }}
        }}"
    )
}

fn serves(http2: bool) {
    if !is_capable() {
        return;
    }
    run(async move {
        let authority = Authority::new();
        let nginx = Nginx::start(&authority, http2).await;
        let identity = Some(authority.sign("dispatcher.shop.test"));
        let tls = TlsClient::load(&TlsSettings { identity, ..authority.trusted() }, LOOPBACK).unwrap();
        let pool = Arc::new(TestPool::start(Settings { tls, ..settings(&authority, nginx.address) }));
        open(&pool, 4).await;
        let alpn = if http2 { "h2" } else { "http/1.1" };
        assert!(tunnels(&pool).iter().all(|tunnel| tunnel.context.as_ref().unwrap().alpn.as_deref() == Some(alpn)));
        let protocol = if http2 { "HTTP/2.0" } else { "HTTP/1.1" };
        assert_eq!(fetch(&pool, get("/who")).await, format!("{NAME} {protocol} CN=dispatcher.shop.test"));
        bodies_are_whole(&pool, &authority).await;
        connections_that_end_by_count_cost_no_request(&pool).await;
        drop(nginx);
        until("the tunnels are gone", || tunnels(&pool).is_empty()).await;
    });
}

async fn bodies_are_whole(pool: &TestPool, authority: &Authority) {
    let large = Bytes::from(fs::read(authority.path("files/large")).unwrap());
    assert!(fetch(pool, get("/large")).await == large, "the answer differs");
    let chunks: Vec<_> = large.chunks(16 * 1024).map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
    let mut request = post("/copy", StreamBody::new(futures_util::stream::iter(chunks)).boxed_unsync());
    *request.method_mut() = http::Method::PUT;
    let response = send(pool, request).await.unwrap();
    assert_eq!(response.status(), 201);
    drop(response);
    assert!(fs::read(authority.path("files/copy")).unwrap() == large, "the copy differs");
}

/// What nginx does after `keepalive_requests`: GOAWAY, or `connection: close`.
async fn connections_that_end_by_count_cost_no_request(pool: &Arc<TestPool>) {
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let pool = Arc::clone(pool);
        clients.spawn(async move {
            for _ in 0..200 {
                nginx_request(&pool, client % 4).await.unwrap();
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let counters = pool.view().counters;
    assert!(counters.left >= 20, "{counters:?}");
    assert_eq!((counters.failed, counters.lost), (0, 0), "{counters:?}");
    // nginx resumes TLS sessions.
    assert!(counters.resumed >= 10, "{counters:?}");
}

async fn nginx_request(pool: &TestPool, slot: usize) -> Result<(), String> {
    for _ in 0..10 {
        let lease = pool.lease(Some(slot), Need::Any, BOUND / 4).await.map_err(|error| error.to_string())?;
        let response = match lease.send(get("/small")).await {
            Err(error) if error.progress.is_safe_to_repeat() => continue,
            other => other.map_err(|error| format!("{error} ({:?})", error.progress))?,
        };
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        return if body.len() == 1000 { Ok(()) } else { Err(format!("{} bytes", body.len())) };
    }
    Err("refused ten times".to_owned())
}

#[test]
fn nginx_serves_on_http2_tunnels() {
    serves(true);
}

#[test]
fn nginx_serves_on_http1_tunnels() {
    serves(false);
}
