//! `demo-backend`: one backend of a lab, in the network namespace that the lab starts it in.

use anyhow::Result;
use dispatcher_lab::demo_backend::{DemoBackend, Settings};
use std::{net::SocketAddr, process::ExitCode};

/// Where to listen, and under which name.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The name in the answers
    #[arg(long)]
    name: String,
    /// An address to serve HTTP on
    #[arg(long)]
    http: Vec<SocketAddr>,
    /// An address to echo datagrams on
    #[arg(long)]
    udp: Vec<SocketAddr>,
}

pub(crate) fn execute(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { name, http, udp } = arguments;
    DemoBackend::start(&Settings { name, http, udp })?.wait()?;
    Ok(ExitCode::SUCCESS)
}
