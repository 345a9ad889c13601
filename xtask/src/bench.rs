//! `bench`: measures the dispatcher and its peers in one run, and leaves tables and plots in target/bench.

use crate::{build, privilege, run, setup, workspace};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Measures just enough to see that everything works; takes seconds
    #[arg(long, global = true)]
    quick: bool,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Bench {
    /// Cost and rate of the packet path, and new flows; next to floors, the kernel's routing, and nftables
    Packet,
}

impl Bench {
    const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
        }
    }

    const fn groups(self) -> &'static [setup::Group] {
        match self {
            Self::Packet => &[setup::Group::Toolchain, setup::Group::Lab, setup::Group::Tests],
        }
    }
}

pub(crate) fn execute(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(arguments.bench.groups())?;
    let dispatcher = build::release()?;
    let program = program()?;
    // Made by this user, so that what root writes into it can be removed by this user.
    let folder = workspace::target_dir()?.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut command = if privilege::is_root() { Command::new(&program) } else { with_sudo(&program)? };
    command.current_dir(workspace::root()?).arg(arguments.bench.name());
    command.arg("--out").arg(folder).arg("--dispatcher").arg(dispatcher);
    if arguments.quick {
        command.arg("--quick");
    }
    let status = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    Ok(run::exit_code(status))
}

/// Builds the benches' program, optimised as what it measures is.
fn program() -> Result<PathBuf> {
    let mut cargo = workspace::cargo()?;
    cargo.args(["build", "--release", "--package", "dispatcher-bench", "--target-dir"]).arg(workspace::target_dir()?);
    workspace::must(&mut cargo)?;
    Ok(workspace::target_dir()?.join("release/dispatcher-bench"))
}

fn with_sudo(program: &PathBuf) -> Result<Command> {
    let Some((sudo, options)) = privilege::sudo() else {
        bail!("network namespaces and XDP need root, and there is no sudo: run the same command as root");
    };
    let mut command = Command::new(sudo);
    command.args(options).arg(program);
    Ok(command)
}
