//! The command line: its commands, and what holds for all of them.

mod objects;
mod requests;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

pub use self::{
    objects::{Backend, Config, Flow, Lock, Service, ServiceAdd},
    requests::{Qos, Session, Tunnel},
};
use super::values::{self, Words};
use crate::config::{AttachMode, LogLevel};

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
    /// Sessions: which backend a client's secure requests go to
    #[command(subcommand)]
    Session(Session),
    /// Tunnels: TLS connections to backends, that requests ride
    #[command(subcommand)]
    Tunnel(Tunnel),
    /// QoS classes: whose requests go first
    #[command(subcommand)]
    Qos(Qos),
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
