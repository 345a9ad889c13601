//! The benches, as `cargo xtask bench` starts them.
#![forbid(unsafe_code)]

use anyhow::Result;
use clap::{Parser, Subcommand};
use dispatcher_bench::packet;
use std::{path::PathBuf, process::ExitCode};

/// Measures the dispatcher and its peers in one run.
#[derive(Debug, Parser)]
struct Arguments {
    /// Measures just enough to see that everything works
    #[arg(long, global = true)]
    quick: bool,
    /// Where tables and plots are put
    #[arg(long, global = true, default_value = "target/bench")]
    out: PathBuf,
    /// The dispatcher to be measured
    #[arg(long, global = true, env = "DISPATCHER_BIN", default_value = "target/release/dispatcher")]
    dispatcher: PathBuf,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Cost and rate of the packet path, and new flows
    Packet,
}

fn main() -> ExitCode {
    match execute(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: &Arguments) -> Result<()> {
    let effort = if arguments.quick { packet::Effort::QUICK } else { packet::Effort::FULL };
    let report = match arguments.bench {
        Bench::Packet => packet::run(&effort, &arguments.dispatcher)?,
    };
    report.write(&arguments.out)?;
    println!("{}", report.markdown());
    println!("Tables and plots are in {}.", arguments.out.display());
    Ok(())
}
