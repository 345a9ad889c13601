//! The command line: every command, argument and help text.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use super::{
    values,
    values::{BackendName, BackendSetting, ServiceSetting, Vip, Words, name},
};
use crate::{
    config::{AttachMode, LogLevel, rules},
    control::tuple::{ClientNet, FlowTuple},
    core::model::{Affinity, Forward, Scheduler},
};

/// An XDP load balancer: sends each flow to one backend, at line rate once it knows which
#[derive(Debug, Parser)]
#[command(name = "dispatcher", version, max_term_width = 100, subcommand_required = true)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 daemon unreachable, 4 configuration invalid, \
                        5 host or interface unfit.")]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// How data is written to stdout: table, wide (more columns) or json (raw numbers)
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table", hide_possible_values = true)]
    pub output: Format,
    /// The daemon's control socket [default: daemon.socket of /etc/dispatcher/dispatcher.toml, or
    /// /run/dispatcher/control.sock]
    #[arg(long, global = true, value_name = "PATH", env = "DISPATCHER_SOCKET", hide_env_values = true)]
    pub socket: Option<PathBuf>,
    /// Writes errors without colours
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Says nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Says more on stderr
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    Table,
    /// More columns for people
    Wide,
    /// {"version":1,"items":[…]} with raw numbers
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the daemon in the foreground, until SIGINT or SIGTERM
    Run(Run),
    /// Checks a configuration file
    Check {
        /// The file [default: /etc/dispatcher/dispatcher.toml]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Shows how the daemon is
    Status,
    /// Attaches the program to an interface
    Attach {
        /// Its name
        #[arg(value_name = "IF", value_parser = values::interface)]
        interface: String,
        /// In the driver (native), or in the network stack (generic: works everywhere, slower)
        #[arg(long, default_value = "native", value_parser = Words::<AttachMode>::new())]
        mode: AttachMode,
    },
    /// Detaches the program from an interface; works without a daemon too
    Detach(Detach),
    /// Services: addresses and ports that clients use
    #[command(subcommand)]
    Service(Service),
    /// Backends: machines that serve
    #[command(subcommand)]
    Backend(Backend),
    /// Flows: what the packet path knows of each client's connection
    #[command(subcommand)]
    Flow(Flow),
    /// Client locks: clients whose backend is being chosen
    #[command(subcommand)]
    Lock(Lock),
    /// Counts packets that were passed, dropped or sent up, by reason
    Drops {
        /// Shows every second what was added
        #[arg(short, long)]
        watch: bool,
    },
    /// The configuration in force
    #[command(subcommand)]
    Config(Config),
    /// Changes what the daemon logs
    LogLevel {
        /// This level and the graver ones
        #[arg(value_parser = Words::<LogLevel>::new())]
        level: LogLevel,
    },
    /// Shows the version of this program
    Version,
    /// Writes a completion script for a shell to stdout
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// The configuration file [default: /etc/dispatcher/dispatcher.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Attaches to this interface, and not to those of the configuration
    #[arg(long, value_name = "IF", value_parser = values::interface)]
    pub iface: Vec<String>,
    /// Attaches in this mode to every interface, whatever the configuration says
    #[arg(long, value_parser = Words::<AttachMode>::new())]
    pub mode: Option<AttachMode>,
}

/// `detach`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["interface", "all"])))]
pub struct Detach {
    /// The interface's name
    #[arg(value_name = "IF", value_parser = values::interface)]
    pub interface: Option<String>,
    /// Detaches from all interfaces; without a daemon, removes all pins too
    #[arg(long)]
    pub all: bool,
    /// Where the pins are if no daemon runs: the daemon.pins of this file
    /// [default: /etc/dispatcher/dispatcher.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

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

/// `service add`
#[derive(Debug, Args)]
pub struct ServiceAdd {
    /// Its name
    #[arg(value_name = "SERVICE", value_parser = name)]
    pub service: String,
    /// What clients use, such as 203.0.113.10:80/tcp or [2001:db8::10]:53/udp
    #[arg(long, value_name = "ADDRESS:PORT/PROTOCOL")]
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
        address: std::net::SocketAddr,
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
    /// Lets a backend keep its flows and take no new ones
    Drain {
        /// Which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
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
        client: Option<ClientNet>,
        /// At most so many
        #[arg(long, value_name = "1-100000", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
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
