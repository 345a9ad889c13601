//! The commands of the repository, as `cargo xtask COMMAND`.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod check;
mod demo_backend;
mod lab;
mod privilege;
mod programs;
mod run;
mod setup;
mod test;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Builds, runs, tests and checks the dispatcher.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Finds or installs what the other commands need; they call it themselves
    Setup(setup::Arguments),
    /// Builds the dispatcher, with the eBPF program in it
    Build(build::Arguments),
    /// Runs the dispatcher in a lab of network namespaces, or on a network interface
    Run(run::Arguments),
    /// Keeps a lab in the background
    Lab(lab::Arguments),
    /// Runs all tests: host, kernel, end to end
    Test(test::Arguments),
    /// Checks format, lints, documentation, dependencies and the architecture's invariants
    Check(check::Arguments),
    /// Measures the dispatcher and its peers, and leaves tables and plots in target/bench
    Bench(bench::Arguments),
    /// Serves as one backend of a lab
    #[command(hide = true)]
    DemoBackend(demo_backend::Arguments),
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup(arguments) => setup::execute(&arguments),
        Command::Build(arguments) => build::execute(&arguments),
        Command::Run(arguments) => run::execute(&arguments),
        Command::Lab(arguments) => lab::execute(arguments),
        Command::Test(arguments) => test::execute(&arguments),
        Command::Check(arguments) => check::execute(&arguments),
        Command::Bench(arguments) => bench::execute(&arguments),
        Command::DemoBackend(arguments) => demo_backend::execute(arguments),
    }
}
