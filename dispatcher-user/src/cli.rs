//! The command line: reads a command, does it or asks the daemon to, and gives the exit code.

pub mod args;
mod ask;
mod detach;
mod file;
mod request;
mod run;
mod show;
pub mod values;

use std::{
    env,
    ffi::OsString,
    io::{self, ErrorKind},
    path::PathBuf,
    process::ExitCode,
};

use clap::{ColorChoice, CommandFactory, FromArgMatches};

use self::args::{Cli, Command, Config};
use crate::{
    config::{self, Invalid},
    failure::{Code, Failure, exit},
    output::{self, Output, rows::Version},
};

/// How a command ends that does not end well.
enum Ending {
    /// It failed.
    Failure(Failure),
    /// A configuration is invalid.
    Invalid(Invalid),
    /// Nobody takes what it writes.
    Output(io::Error),
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Invalid> for Ending {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Does what the process's arguments say.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match parse(env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout and ends well, a mistake goes to stderr; either reader may be gone.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::FAILED));
        }
    };
    let global = &cli.global;
    let output = Output::new(global.output, global.quiet, global.verbose, global.no_color);
    ExitCode::from(match execute(&cli, &output) {
        Ok(()) => exit::OK,
        Err(ending) => told(&output, ending),
    })
}

fn parse(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    // clap asks this before it has read any argument.
    let colour = if arguments.iter().any(|it| it == "--no-color") { ColorChoice::Never } else { ColorChoice::Auto };
    Cli::from_arg_matches(&Cli::command().color(colour).try_get_matches_from(arguments)?)
}

/// Says why a command did not end well, and gives its exit code.
fn told(output: &Output, ending: Ending) -> u8 {
    match ending {
        Ending::Failure(failure) => {
            output.failure(&failure);
            failure.code.exit_code()
        }
        Ending::Invalid(invalid) => {
            for fault in &invalid.faults {
                output.failure(fault);
            }
            exit::CONFIGURATION
        }
        // Whoever read it has seen enough, as `head` does.
        Ending::Output(error) if error.kind() == ErrorKind::BrokenPipe => exit::OK,
        Ending::Output(error) => {
            output.failure(
                &Failure::new(Code::INTERNAL, "cannot write to stdout").cause(format_args!("system: {error}")),
            );
            exit::FAILED
        }
    }
}

fn execute(cli: &Cli, output: &Output) -> Result<(), Ending> {
    match &cli.command {
        Command::Run(run) => run::run(run, &cli.global, output),
        Command::Check { file } => file::check(file.as_deref(), output),
        Command::Config(Config::Dump { file: Some(file) }) => {
            show::configuration(&config::dump(&config::load(file)?), output)
        }
        Command::Detach(detach) => detach::detach(detach, &socket(cli), output),
        Command::Drops { watch: true } => ask::watch_drops(&socket(cli), output),
        Command::Version => show::version(&Version { name: "dispatcher", version: env!("CARGO_PKG_VERSION") }, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "dispatcher", &mut script);
            Ok(output::text(&String::from_utf8_lossy(&script))?)
        }
        Command::Status
        | Command::Attach { .. }
        | Command::Service(_)
        | Command::Backend(_)
        | Command::Session(_)
        | Command::Tunnel(_)
        | Command::Qos(_)
        | Command::Flow(_)
        | Command::Lock(_)
        | Command::Drops { watch: false }
        | Command::Config(Config::Dump { file: None })
        | Command::LogLevel { .. } => match request::of(&cli.command) {
            Some(request) => ask::ask(request, &socket(cli), output),
            None => Ok(()),
        },
    }
}

/// The socket that was named, or that of the configuration, or the usual one.
fn socket(cli: &Cli) -> PathBuf {
    if let Some(socket) = &cli.global.socket {
        return socket.clone();
    }
    // Not everybody may read the configuration, and a damaged one is no reason not to ask a daemon that runs.
    let configured = file::configured(None).ok().flatten();
    configured.map_or_else(|| config::DEFAULT_SOCKET.into(), |config| config.daemon.socket)
}
