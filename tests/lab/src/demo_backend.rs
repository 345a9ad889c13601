//! A small server that says who it is: HTTP and HTTPS on some addresses, UDP on others.

mod body;
mod capacity;
mod cart;
mod http;
mod reply;
mod route;
mod settings;
mod tls;
mod udp;

pub use self::{
    capacity::Load,
    settings::{Capacity, HTTPS_PORT, LIMITED_PORT, Settings, Tls},
};

use self::{capacity::Workers, cart::Carts, http::Manner};
use crate::{LabError, Namespace};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    runtime::{self, Runtime},
    task::JoinSet,
};

/// What all connections of a backend share.
#[derive(Debug)]
struct Backend {
    name: String,
    requests: AtomicU64,
    carts: Carts,
    workers: Arc<Workers>,
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

/// Where a demo backend listens, port for port as the system gave them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Plain HTTP.
    pub http: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// HTTPS with limited capacity.
    pub limited: Vec<SocketAddr>,
    /// Datagrams.
    pub udp: Vec<SocketAddr>,
}

impl Backend {
    fn new(settings: &Settings) -> Self {
        Self {
            name: settings.name.clone(),
            requests: AtomicU64::new(0),
            carts: Carts::default(),
            workers: Workers::new(settings.capacity),
        }
    }

    /// Counts a request and answers it.
    fn answer(&self, client: SocketAddr, echo: Option<&str>) -> Vec<u8> {
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
    addresses: Addresses,
    listeners: JoinSet<()>,
    runtime: Runtime,
}

impl DemoBackend {
    /// Starts to serve; every address is listened on when this returns.
    ///
    /// Sockets and threads belong to the network namespace of the calling thread.
    ///
    /// # Errors
    /// When an address cannot be listened on, or a certificate or key cannot be used.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        allow_many_connections();
        let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
        let backend = Arc::new(Backend::new(settings));
        let (addresses, listeners) = runtime.block_on(listen(settings, &backend))?;
        Ok(Self { backend, addresses, listeners, runtime })
    }

    /// Starts to serve in a namespace, within this process.
    ///
    /// # Errors
    /// As [`DemoBackend::start`], and when the namespace cannot be entered.
    pub fn start_in(namespace: &Namespace, settings: &Settings) -> Result<Self, LabError> {
        let subject = format!("the sockets of {}", settings.name);
        namespace.run(|| Self::start(settings))?.map_err(LabError::file(subject))
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// How busy the workers of its limited addresses are.
    #[must_use]
    pub fn load(&self) -> Load {
        self.backend.workers.load()
    }

    /// How many requests for who it is, and datagrams, it has answered.
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

async fn listen(settings: &Settings, backend: &Arc<Backend>) -> io::Result<(Addresses, JoinSet<()>)> {
    let (mut addresses, mut listeners) = (Addresses::default(), JoinSet::new());
    // Datagrams first: whoever sees the HTTP port open may rely on all of it.
    for &address in &settings.udp {
        let socket = udp::bind(address).await?;
        addresses.udp.push(socket.local_addr()?);
        listeners.spawn(udp::echo(socket, Arc::clone(backend)));
    }
    let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
    let secure = || tls.clone().ok_or_else(|| io::Error::other("HTTPS needs a certificate and a key"));
    let mut serve = |address, tls, limited| {
        let listener = http::bind(address)?;
        let bound = listener.local_addr()?;
        listeners.spawn(http::accept(listener, Manner { backend: Arc::clone(backend), tls, limited }));
        Ok::<_, io::Error>(bound)
    };
    for &address in &settings.limited {
        addresses.limited.push(serve(address, Some(secure()?), true)?);
    }
    for &address in &settings.https {
        addresses.https.push(serve(address, Some(secure()?), false)?);
    }
    for &address in &settings.http {
        addresses.http.push(serve(address, None, false)?);
    }
    Ok((addresses, listeners))
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
    fn answers_count_and_name_the_client() {
        let backend = Backend::new(&Settings { name: "b1".to_owned(), ..Settings::default() });
        let client = "198.51.100.2:41234".parse().unwrap();
        let expected = "{\"backend\":\"b1\",\"client\":\"198.51.100.2:41234\",\"requests\":1}\n";
        assert_eq!(String::from_utf8(backend.answer(client, None)).unwrap(), expected);
        let expected = "{\"backend\":\"b1\",\"client\":\"[2001:db8::2]:5\",\"requests\":2,\"echo\":\"a\\\"b\"}\n";
        let client = "[2001:db8::2]:5".parse().unwrap();
        assert_eq!(String::from_utf8(backend.answer(client, Some("a\"b"))).unwrap(), expected);
    }
}
