//! A whole lab: namespaces, demo backends, and a dispatcher in front of them.

use crate::{
    Claim, Daemon, LabError, Namespace, Process, RunDirectory, Suffix, Topology, addresses::backend,
    certificates::Certificates, config, demo_backend, mount_bpffs, wait_until,
};
use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

const LISTENS_WITHIN: Duration = Duration::from_secs(10);

/// What a lab is made of.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// Tells this lab from others.
    pub suffix: Suffix,
    /// How many backends it has.
    pub backends: u8,
    /// How XDP is attached: `native` or `generic`.
    pub mode: String,
    /// What SIGTERM does: `detach` or `keep`.
    pub on_exit: String,
    /// Whether it has `shop`, the service where TLS ends at the dispatcher.
    pub has_shop: bool,
    /// The dispatcher.
    pub dispatcher: PathBuf,
    /// The program whose subcommand `demo-backend` is a backend.
    pub backend_program: PathBuf,
}

/// A lab that is gone when it is dropped: programs first, then namespaces, then files.
#[derive(Debug)]
pub struct Lab {
    daemon: Daemon,
    dispatcher: PathBuf,
    config: String,
    backends: Vec<Process>,
    topology: Topology,
    certificates: Certificates,
    files: Claim,
}

impl Lab {
    /// Starts everything, and returns when the dispatcher answers.
    ///
    /// # Errors
    /// When a part cannot be had. What was started until then is removed.
    pub fn start(options: &LabOptions) -> Result<Self, LabError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        crate::process::require(&options.dispatcher)?;
        mount_bpffs()?;
        let files = RunDirectory::of(&options.suffix).claim(&options.suffix)?;
        let topology = Topology::build(&options.suffix, options.backends)?;
        let certificates = Certificates::create(&files.directory().certificates(), options.backends)?;
        let backends = (1_u8..)
            .zip(&topology.backends)
            .map(|(number, at)| start_backend(number, at, options, &certificates, files.directory()))
            .collect::<Result<Vec<_>, _>>()?;
        let LabOptions { mode, on_exit, backends: count, has_shop, .. } = options;
        let shop = has_shop.then_some(&certificates);
        let config = config::demo_config(files.directory(), mode, on_exit, *count, shop);
        let dispatcher = options.dispatcher.clone();
        let daemon = Daemon::start(&topology.dispatcher, &dispatcher, files.directory(), &config)?;
        Ok(Self { daemon, dispatcher, config, backends, topology, certificates, files })
    }

    /// The namespaces.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The dispatcher.
    pub const fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Starts the dispatcher again with its configuration; one that still runs is ended first, as by SIGTERM.
    ///
    /// # Errors
    /// As [`Daemon::start`], and when the one that runs does not end.
    pub fn start_dispatcher(&mut self) -> Result<(), LabError> {
        self.daemon.process().end()?;
        self.daemon = Daemon::start(&self.topology.dispatcher, &self.dispatcher, self.files.directory(), &self.config)?;
        Ok(())
    }

    /// Adds sections to the configuration that the dispatcher has from its next start on.
    pub fn configure(&mut self, sections: &str) {
        self.config.push_str(sections);
    }

    /// The programs of the backends, b1 first.
    pub fn backends(&mut self) -> &mut [Process] {
        &mut self.backends
    }

    /// The certificates of shop, backends and dispatcher.
    #[must_use]
    pub const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The lab's files.
    #[must_use]
    pub const fn directory(&self) -> &RunDirectory {
        self.files.directory()
    }

    /// Lets the lab live on in the background, until [`crate::remove`].
    pub fn keep(mut self) {
        self.daemon.process().keep();
        self.backends.iter_mut().for_each(Process::keep);
        self.topology.keep();
        self.files.keep();
    }
}

/// Starts a demo backend and waits until it listens on every port.
fn start_backend(
    number: u8,
    namespace: &Namespace,
    options: &LabOptions,
    certificates: &Certificates,
    directory: &RunDirectory,
) -> Result<Process, LabError> {
    let name = format!("b{number}");
    let settings = demo_backend::Settings::of_lab(number, Some(certificates));
    let mut command = Command::new(&options.backend_program);
    command.arg("demo-backend").args(settings.arguments());
    let process = Process::start(namespace, &mut command, directory, &name)?;
    let listeners = settings.http.iter().chain(&settings.https).chain(&settings.limited);
    let ports: Vec<u16> = listeners.map(SocketAddr::port).collect();
    let listens = || {
        let connect = || {
            ports.iter().all(|&port| {
                backend(number)
                    .iter()
                    .all(|&address| TcpStream::connect_timeout(&SocketAddr::new(address, port), LISTENS_WITHIN).is_ok())
            })
        };
        namespace.run(connect).unwrap_or(false)
    };
    wait_until(&format!("backend {name} listening"), LISTENS_WITHIN, listens)?;
    Ok(process)
}
