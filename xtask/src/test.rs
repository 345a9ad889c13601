//! `test`: every test there is, in three tiers: host, kernel, end to end.

mod tier;

use crate::{build, setup};
use anyhow::{Result, bail};
use std::{env, process::ExitCode};
use tier::{Outcome, Tier};

/// Which tests to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs only tests whose name holds this
    #[arg(long, default_value = "")]
    filter: String,
}

pub(crate) fn execute(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(&[setup::Group::Toolchain, setup::Group::Lab, setup::Group::Tests])?;
    let binary = build::release()?;
    let is_root = nix::unistd::geteuid().is_root();
    let mut report = Vec::new();
    for tier in Tier::ALL {
        let outcome = match tier.needs_root() && !is_root {
            true => Outcome::Skipped("it needs root; run the same command with sudo"),
            false => tier::run(tier, &arguments.filter, &binary)?,
        };
        report.push((tier, outcome));
    }
    println!();
    for (tier, outcome) in &report {
        println!("{tier}: {outcome}");
    }
    let in_ci = env::var_os("CI").is_some_and(|value| !value.is_empty());
    let bad = report.iter().filter(|(_, outcome)| outcome.is_failure(in_ci)).count();
    if bad > 0 {
        bail!("{bad} of {} tiers did not pass", report.len());
    }
    println!("all tests passed");
    Ok(ExitCode::SUCCESS)
}
