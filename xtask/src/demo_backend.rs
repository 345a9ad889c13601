//! `demo-backend`: one backend of a lab, in the network namespace that the lab starts it in.

use anyhow::{Context as _, Result};
use dispatcher_lab::demo_backend::{Capacity, DemoBackend, Settings, Tls};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

/// Where to listen, and under which name.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The name in the answers
    #[arg(long)]
    name: String,
    /// An address to serve HTTP on
    #[arg(long)]
    http: Vec<SocketAddr>,
    /// An address to serve HTTPS on
    #[arg(long, requires = "certificate")]
    https: Vec<SocketAddr>,
    /// An address to serve HTTPS on with limited capacity
    #[arg(long, requires = "certificate")]
    limited: Vec<SocketAddr>,
    /// An address to echo datagrams on
    #[arg(long)]
    udp: Vec<SocketAddr>,
    /// The certificate chain, PEM
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
    /// Verifies client certificates by this authority's, PEM
    #[arg(long, requires = "certificate")]
    client_ca: Option<PathBuf>,
    /// Requests that the limited addresses work on at the same time
    #[arg(long, default_value_t = Capacity::default().at_once)]
    at_once: usize,
    /// Milliseconds that each of those takes
    #[arg(long, default_value_t = 10)]
    each_ms: u64,
    /// Requests that may wait there
    #[arg(long, default_value_t = Capacity::default().queue)]
    queue: usize,
}

pub(crate) fn execute(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { name, http, https, limited, udp, certificate, key, client_ca, at_once, each_ms, queue } = arguments;
    let tls = certificate.zip(key).map(|(chain, key)| Tls { chain, key, client_ca });
    let capacity = Capacity { at_once, each: Duration::from_millis(each_ms), queue };
    let settings = Settings { name, http, https, limited, udp, tls, capacity };
    let backend = DemoBackend::start(&settings).with_context(|| format!("cannot serve as {}", settings.name))?;
    backend.wait()?;
    Ok(ExitCode::SUCCESS)
}
