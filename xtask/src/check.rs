//! `check`: everything about the repository that can be checked without running the dispatcher.

mod architecture;
mod dependencies;
mod licence;
mod source;

use crate::{build, setup, workspace};
use anyhow::{Result, bail};
use std::process::{Command, ExitCode};

/// Which checks to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs only these checks
    #[arg(value_parser = CHECKS.map(|(name, _)| name))]
    only: Vec<String>,
}

/// A check: its name, and what does it.
type Check = (&'static str, fn() -> Result<()>);

/// The quick ones first.
const CHECKS: [Check; 7] = [
    ("format", format),
    ("architecture", architecture::check),
    ("locks", lock_files),
    ("dependencies", dependencies::check),
    ("lints", lints),
    ("documentation", documentation),
    ("reproducible", build::check_reproducible),
];

pub(crate) fn execute(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(&[setup::Group::Toolchain])?;
    let is_wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|wanted| wanted == name);
    let wanted: Vec<Check> = CHECKS.into_iter().filter(|(name, _)| is_wanted(name)).collect();
    let mut failed = Vec::new();
    for &(name, check) in &wanted {
        eprintln!("check: {name}");
        if let Err(error) = check() {
            eprintln!("check: {name} failed: {error:#}");
            failed.push(name);
        }
    }
    let names: Vec<&str> = wanted.iter().map(|&(name, _)| name).collect();
    let total = wanted.len();
    if !failed.is_empty() {
        bail!("{} of {total} checks failed: {}", failed.len(), failed.join(", "));
    }
    println!("all {total} checks passed: {}", names.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn format() -> Result<()> {
    workspace::must(workspace::cargo()?.args(["fmt", "--all", "--check"]))?;
    EBPF_MANIFESTS.into_iter().try_for_each(|manifest| {
        let mut ebpf = workspace::cargo()?;
        ebpf.args(["fmt", "--check", "--manifest-path", manifest]);
        workspace::must(&mut ebpf)
    })
}

/// Compiled for the BPF target alone, so that they are no members of the workspace.
const EBPF_MANIFESTS: [&str; 2] = ["dispatcher-ebpf/Cargo.toml", "tests/bench/ebpf/Cargo.toml"];

/// Every manifest with a lock file of its own.
fn manifests() -> impl Iterator<Item = &'static str> {
    ["Cargo.toml"].into_iter().chain(EBPF_MANIFESTS)
}

/// A lock file that a build would have to change is not the one that was tested.
fn lock_files() -> Result<()> {
    manifests().try_for_each(|manifest| workspace::stdout_of(&mut metadata(manifest)?).map(drop))
}

/// Cargo's description of a workspace and of everything it depends on, as JSON.
fn metadata(manifest: &str) -> Result<Command> {
    let mut command = workspace::cargo()?;
    command.args(["metadata", "--locked", "--format-version", "1", "--manifest-path", manifest]);
    Ok(command)
}

fn lints() -> Result<()> {
    let mut cargo = workspace::cargo()?;
    workspace::must(cargo.args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut cargo = workspace::cargo()?;
    cargo.args(["doc", "--workspace", "--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "--deny warnings");
    workspace::must(&mut cargo)
}
