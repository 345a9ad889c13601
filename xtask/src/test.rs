//! `test`: every test there is, in three tiers: host, kernel, end to end.

mod tier;

use crate::{build, privilege, setup};
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
    let has_root = privilege::is_root() || privilege::sudo().is_some();
    let mut report = Vec::new();
    for tier in Tier::ALL {
        let outcome = if tier.needs_root() && !has_root {
            Outcome::Skipped("it needs root, and there is no sudo")
        } else {
            tier::run(tier, &arguments.filter, &binary)?
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
