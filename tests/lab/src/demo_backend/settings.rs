//! What a demo backend is called, where it listens, and how much it can do at a time.

use crate::{addresses::backend, certificates::Certificates};
use std::{
    ffi::OsString,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// The ports of HTTP behind `nat`, and of HTTP behind `dsr` (where a packet keeps the service's port).
const HTTP_PORTS: [u16; 2] = [8080, 81];
/// The port of HTTPS.
pub const HTTPS_PORT: u16 = 8443;
/// The port of HTTPS with [`Capacity`].
pub const LIMITED_PORT: u16 = 8444;
const UDP_PORT: u16 = 5353;

/// What one backend is called, and where it listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The name in its answers.
    pub name: String,
    /// Where it speaks HTTP/1.1, and HTTP/2 to those who begin with it. `[::]` serves IPv4 as well.
    pub http: Vec<SocketAddr>,
    /// Where it speaks the same over TLS.
    pub https: Vec<SocketAddr>,
    /// Where it speaks HTTPS with the capacity below.
    pub limited: Vec<SocketAddr>,
    /// Where it echoes datagrams.
    pub udp: Vec<SocketAddr>,
    /// What it shows to TLS clients; needed where it speaks HTTPS.
    pub tls: Option<Tls>,
    /// What the limited addresses can do, all together.
    pub capacity: Capacity,
}

/// Certificates of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Its certificate chain, PEM.
    pub chain: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Whose client certificates it accepts; without one it asks for none. A client may have none all the same.
    pub client_ca: Option<PathBuf>,
}

/// A server with so many workers: what comes while all are busy waits, first in, first out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Requests that are worked on at the same time.
    pub at_once: usize,
    /// What each takes, besides its body.
    pub each: Duration,
    /// Requests that may wait; one more is refused with 503.
    pub queue: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { at_once: 8, each: Duration::from_millis(10), queue: 65_536 }
    }
}

impl Settings {
    /// Backend `number` of a lab, counted from 1. With certificates it speaks HTTPS too.
    #[must_use]
    pub fn of_lab(number: u8, certificates: Option<&Certificates>) -> Self {
        let everywhere = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let secure = |port| certificates.map(|_| everywhere(port)).into_iter().collect();
        Self {
            name: format!("b{number}"),
            http: HTTP_PORTS.map(everywhere).to_vec(),
            https: secure(HTTPS_PORT),
            limited: secure(LIMITED_PORT),
            // A datagram's answer must come from the address it went to, so each address has its socket.
            udp: backend(number).map(|address| SocketAddr::new(address, UDP_PORT)).to_vec(),
            tls: certificates.map(|certificates| Tls::of_lab(number, certificates)),
            capacity: Capacity::default(),
        }
    }

    /// Everything on loopback, on ports that the system chooses: [`super::DemoBackend::addresses`] tells them.
    #[must_use]
    pub fn on_loopback(name: &str, tls: Option<Tls>) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let secure: Vec<SocketAddr> = tls.iter().map(|_| any).collect();
        let name = name.to_owned();
        Self { name, http: vec![any], https: secure.clone(), limited: secure, tls, ..Self::default() }
    }

    /// These settings as options of `cargo xtask demo-backend`.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--name".into(), self.name.clone().into()];
        for (option, addresses) in
            [("--http", &self.http), ("--https", &self.https), ("--limited", &self.limited), ("--udp", &self.udp)]
        {
            arguments.extend(addresses.iter().flat_map(|at| [option.into(), at.to_string().into()]));
        }
        if let Some(Tls { chain, key, client_ca }) = &self.tls {
            let files = [("--certificate", Some(chain)), ("--key", Some(key)), ("--client-ca", client_ca.as_ref())];
            for (option, file) in files {
                arguments.extend(file.iter().flat_map(|file| [option.into(), file.as_os_str().to_owned()]));
            }
        }
        let Capacity { at_once, each, queue } = self.capacity;
        let numbers = [("--at-once", at_once.to_string()), ("--each-ms", each.as_millis().to_string())];
        for (option, number) in numbers.into_iter().chain([("--queue", queue.to_string())]) {
            arguments.extend([option.into(), number.into()]);
        }
        arguments
    }
}

impl Tls {
    /// What backend `number` of a lab shows, and that it knows the dispatcher's certificate.
    #[must_use]
    pub fn of_lab(number: u8, certificates: &Certificates) -> Self {
        let pair = certificates.backend(number);
        Self { chain: pair.chain, key: pair.key, client_ca: Some(certificates.authority()) }
    }
}
