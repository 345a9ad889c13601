//! A small server that says who it is: HTTP on some addresses, UDP on others.

mod body;
mod http;
mod route;
mod udp;

use crate::{LabError, Namespace, addresses::backend};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use std::{
    ffi::OsString,
    io,
    net::{Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    runtime::{self, Runtime},
    task::JoinSet,
};

/// The ports of HTTP behind `nat`, and of HTTP behind `dsr` (where a packet keeps the service's port).
const HTTP_PORTS: [u16; 2] = [8080, 81];
const UDP_PORT: u16 = 5353;

/// What one backend is called, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in its answers.
    pub name: String,
    /// Where it speaks HTTP/1.1. `[::]` serves IPv4 as well.
    pub http: Vec<SocketAddr>,
    /// Where it echoes datagrams.
    pub udp: Vec<SocketAddr>,
}

impl Settings {
    /// Backend `number` of a lab, counted from 1.
    #[must_use]
    pub fn of_lab(number: u8) -> Self {
        Self {
            name: format!("b{number}"),
            http: HTTP_PORTS.map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).to_vec(),
            // A datagram's answer must come from the address it went to, so each address has its socket.
            udp: backend(number).map(|address| SocketAddr::new(address, UDP_PORT)).to_vec(),
        }
    }

    /// These settings as options of `cargo xtask demo-backend`.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--name".into(), self.name.clone().into()];
        let listeners = self.http.iter().map(|at| ("--http", at)).chain(self.udp.iter().map(|at| ("--udp", at)));
        for (option, address) in listeners {
            arguments.extend([option.into(), address.to_string().into()]);
        }
        arguments
    }
}

/// What all connections of a backend share.
#[derive(Debug)]
struct Backend {
    name: String,
    requests: AtomicU64,
}

/// What a backend says of itself and of who asked.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    backend: &'a str,
    client: SocketAddr,
    requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo: Option<&'a str>,
}

impl Backend {
    /// Counts a request and answers it.
    fn answer(&self, client: SocketAddr, echo: Option<&str>) -> Vec<u8> {
        // A socket on [::] shows IPv4 clients as ::ffff:a.b.c.d.
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let answer = Answer { backend: &self.name, client, requests, echo };
        let mut text = serde_json::to_vec(&answer).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

/// A demo backend that serves until it is dropped.
#[derive(Debug)]
pub struct DemoBackend {
    backend: Arc<Backend>,
    listeners: JoinSet<()>,
    runtime: Runtime,
}

impl DemoBackend {
    /// Starts to serve; every address is listened on when this returns.
    ///
    /// Sockets and threads belong to the network namespace of the calling thread.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        allow_many_connections();
        let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
        let backend = Arc::new(Backend { name: settings.name.clone(), requests: AtomicU64::new(0) });
        let listeners = runtime.block_on(listen(settings, &backend))?;
        Ok(Self { backend, listeners, runtime })
    }

    /// Starts to serve in a namespace, within this process.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub fn start_in(namespace: &Namespace, settings: &Settings) -> Result<Self, LabError> {
        let subject = format!("the sockets of {}", settings.name);
        namespace.run(|| Self::start(settings))?.map_err(LabError::file(subject))
    }

    /// How many requests and datagrams it has answered.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.backend.requests.load(Ordering::Relaxed)
    }

    /// Serves for ever; returns only if a listener breaks.
    ///
    /// # Errors
    /// What broke.
    pub fn wait(mut self) -> io::Result<()> {
        while let Some(ended) = self.runtime.block_on(self.listeners.join_next()) {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

async fn listen(settings: &Settings, backend: &Arc<Backend>) -> io::Result<JoinSet<()>> {
    let mut listeners = JoinSet::new();
    // Datagrams first: whoever sees the HTTP port open may rely on all of it.
    for &address in &settings.udp {
        listeners.spawn(udp::echo(udp::bind(address).await?, Arc::clone(backend)));
    }
    for &address in &settings.http {
        listeners.spawn(http::accept(http::bind(address)?, Arc::clone(backend)));
    }
    Ok(listeners)
}

/// Each connection takes a file descriptor, and the usual soft limit of 1,024 is too few.
fn allow_many_connections() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        eprintln!("the limit of open files stays as it is: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_and_name_the_client_in_its_own_family() {
        let backend = Backend { name: "b1".to_owned(), requests: AtomicU64::new(0) };
        let client = "[::ffff:198.51.100.2]:41234".parse().unwrap();
        let expected = "{\"backend\":\"b1\",\"client\":\"198.51.100.2:41234\",\"requests\":1}\n";
        assert_eq!(String::from_utf8(backend.answer(client, None)).unwrap(), expected);
        let expected = "{\"backend\":\"b1\",\"client\":\"[2001:db8::2]:5\",\"requests\":2,\"echo\":\"a\\\"b\"}\n";
        let client = "[2001:db8::2]:5".parse().unwrap();
        assert_eq!(String::from_utf8(backend.answer(client, Some("a\"b"))).unwrap(), expected);
    }
}
