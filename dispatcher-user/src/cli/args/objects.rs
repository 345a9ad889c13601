//! The commands on services, backends, flows, locks and the configuration.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Subcommand};

use crate::{
    cli::values::{self, BackendName, BackendSetting, ServiceSetting, Vip, Words, name},
    config::rules,
    control::tuple::FlowTuple,
    core::model::{Affinity, Forward, Net, Scheduler},
};

/// `service`
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Lists all services
    List,
    /// Shows a service and its backends
    Show {
        /// Its name
        #[arg(value_name = "SERVICE", value_parser = name)]
        service: String,
    },
    /// Adds a service
    Add(ServiceAdd),
    /// Changes a service's rules
    Set {
        /// Its name
        #[arg(value_name = "SERVICE", value_parser = name)]
        service: String,
        /// scheduler=…, affinity=… or affinity_timeout=…
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<ServiceSetting>,
    },
    /// Removes a service and its backends
    Remove {
        /// Its name
        #[arg(value_name = "SERVICE", value_parser = name)]
        service: String,
    },
}

/// Rustdoc would take the brackets for a link.
const VIP_HELP: &str = "What clients use, such as 203.0.113.10:80/tcp or [2001:db8::10]:53/udp";

/// `service add`
#[derive(Debug, Args)]
pub struct ServiceAdd {
    /// Its name
    #[arg(value_name = "SERVICE", value_parser = name)]
    pub service: String,
    /// What clients use.
    #[arg(long, value_name = "ADDRESS:PORT/PROTOCOL", help = VIP_HELP)]
    pub vip: Vip,
    /// Chooses a backend for each new flow
    #[arg(long, default_value = "rr", value_parser = Words::<Scheduler>::new())]
    pub scheduler: Scheduler,
    /// How packets reach the backend
    #[arg(long, default_value = "nat", value_parser = Words::<Forward>::new())]
    pub forward: Forward,
    /// Whether new flows of a client return to its backend
    #[arg(long, default_value = "none", value_parser = Words::<Affinity>::new())]
    pub affinity: Affinity,
    /// How long a client is remembered after its last new flow
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = rules::parse_affinity_timeout)]
    pub affinity_timeout: Duration,
}

/// `backend`
#[derive(Debug, Subcommand)]
pub enum Backend {
    /// Lists the backends of a service, or of all
    List {
        /// The service's name
        #[arg(value_name = "SERVICE", value_parser = name)]
        service: Option<String>,
    },
    /// Adds a backend to a service
    Add {
        /// The service's name
        #[arg(value_name = "SERVICE", value_parser = name)]
        service: String,
        /// The backend's name
        #[arg(value_name = "BACKEND", value_parser = name)]
        backend: String,
        /// Where it serves
        #[arg(value_name = "ADDRESS:PORT", value_parser = rules::parse_address)]
        address: SocketAddr,
        /// Its share of new flows; 0 takes none
        #[arg(long, value_name = "0-1000", default_value = "100", value_parser = values::weight)]
        weight: u16,
    },
    /// Changes a backend: its state, its weight, or both
    Set {
        /// Which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
        /// ready, drain, maint or weight=N
        #[arg(value_name = "SETTING", required = true)]
        settings: Vec<BackendSetting>,
    },
    /// Lets a backend take new flows
    Ready {
        /// Which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
    },
    /// Lets a backend keep its flows and sessions, and take no new ones
    Drain {
        /// Which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
        /// Gives its sessions to other backends at once
        #[arg(long = "move")]
        moves: bool,
    },
    /// Takes a backend out of service; its flows go to other backends
    Maint {
        /// Which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
    },
    /// Changes a backend's share of new flows
    Weight {
        /// Which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
        /// The share; 0 takes none
        #[arg(value_name = "0-1000", value_parser = values::weight)]
        weight: u16,
    },
    /// Removes a backend; refused while it has live flows
    Remove {
        /// Which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
        /// Removes it although it has live flows; they go to other backends
        #[arg(long)]
        force: bool,
    },
}

/// `flow`
#[derive(Debug, Subcommand)]
pub enum Flow {
    /// Lists flows, each direction for itself
    List {
        /// Those of this service
        #[arg(long, value_name = "SERVICE", value_parser = name)]
        service: Option<String>,
        /// Those of this client, or of the clients in this network
        #[arg(long, value_name = "ADDRESS[/LENGTH]")]
        client: Option<Net>,
        /// At most so many
        #[arg(long, value_name = "1-100000", default_value = "1000", value_parser = values::limit)]
        limit: u32,
    },
    /// Removes a flow, both its directions; its next packet is a first packet again
    Remove {
        /// The client's direction, as `flow list` shows it; quote it for the shell:
        /// '198.51.100.2:40000>203.0.113.10:80/tcp'
        #[arg(value_name = "FLOW")]
        flow: FlowTuple,
    },
}

/// `lock`
#[derive(Debug, Subcommand)]
pub enum Lock {
    /// Lists the client locks that stand
    List,
    /// Removes a client's locks
    Release {
        /// The client's address
        client: IpAddr,
        /// Its lock at this service alone
        #[arg(long, value_name = "SERVICE", value_parser = name)]
        service: Option<String>,
    },
}

/// `config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Writes the daemon's configuration, what the command line changed included, as a file; or that of FILE
    Dump {
        /// A configuration file, read without a daemon
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}
