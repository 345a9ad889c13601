//! `lab`: a lab in the background, and programs in its namespaces.

use crate::{privilege, run, setup, workspace};
use anyhow::{Context as _, Result};
use dispatcher_lab::{LabError, Namespace, RunDirectory, Status, Suffix, namespace_names, remove};
use std::{
    env,
    ffi::OsString,
    process::{Command, ExitCode},
};

/// What to do with which lab.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Tells this lab from others; its namespaces end in -SUFFIX
    #[arg(long, global = true, default_value = "")]
    suffix: Suffix,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Builds the dispatcher and starts a lab
    Up(run::Shape),
    /// Removes the lab, whatever state it is in
    Down,
    /// Shows what there is of the lab
    Status,
    /// Runs a program in a namespace: `cargo xtask lab exec dsp-client -- curl -s http://203.0.113.10/`
    Exec {
        /// The namespace; the suffix may be left out
        namespace: String,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

pub(crate) fn execute(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { suffix, action } = arguments;
    match action {
        Action::Up(shape) => up(&suffix, &shape),
        Action::Down => down(&suffix),
        Action::Status => Ok(status(&suffix)),
        Action::Exec { namespace, program } => exec(&suffix, &namespace, &program),
    }
}

fn up(suffix: &Suffix, shape: &run::Shape) -> Result<ExitCode> {
    run::refuse_second(suffix)?;
    let lab = run::start(suffix, shape, run::prepare()?)?;
    run::introduce(&lab, suffix);
    println!("`cargo xtask lab down{}` removes all of it.", suffix.flag());
    lab.keep();
    Ok(ExitCode::SUCCESS)
}

fn down(suffix: &Suffix) -> Result<ExitCode> {
    privilege::become_root(None)?;
    let was_there = remove(suffix)?;
    println!("{}", if was_there { "the lab is gone" } else { "there was no lab" });
    Ok(ExitCode::SUCCESS)
}

fn status(suffix: &Suffix) -> ExitCode {
    let status = Status::of(suffix);
    if status.is_absent() {
        println!("no lab");
        return ExitCode::FAILURE;
    }
    let rows = [("namespaces", &status.namespaces), ("running", &status.running), ("ended", &status.ended)];
    for (what, names) in rows {
        println!("{what:<11}{}", if names.is_empty() { "none".to_owned() } else { names.join(" ") });
    }
    println!("{:<11}{}", "files", RunDirectory::of(suffix).path().display());
    if status.ended.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn exec(suffix: &Suffix, name: &str, words: &[OsString]) -> Result<ExitCode> {
    setup::ensure(&[setup::Group::Lab])?;
    privilege::become_root(None)?;
    let namespace = Namespace::open(&full_name(suffix, name)).map_err(|error| not_up(suffix, error))?;
    let (program, arguments) = words.split_first().context("there is no program to run")?;
    let mut command = Command::new(program);
    command.args(arguments).env("DISPATCHER_SOCKET", RunDirectory::of(suffix).socket());
    let own = workspace::dispatcher()?.parent().map(ToOwned::to_owned);
    let inherited = env::var_os("PATH").unwrap_or_default();
    command.env("PATH", env::join_paths(own.into_iter().chain(env::split_paths(&inherited)))?);
    let status = namespace.status(&mut command)?;
    Ok(run::exit_code(status))
}

/// A name with the lab's suffix, which may be there already.
fn full_name(suffix: &Suffix, name: &str) -> String {
    let end = suffix.apply("");
    if name.ends_with(&end) { name.to_owned() } else { suffix.apply(name) }
}

/// With no namespace at all, the lab is what is missing.
fn not_up(suffix: &Suffix, error: LabError) -> LabError {
    let any = namespace_names(suffix, 1).iter().any(|name| Namespace::open(name).is_ok());
    if any { error } else { LabError::NotUp { flag: suffix.flag() } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_of_a_namespace_may_be_left_out() {
        let suffix: Suffix = "x1".parse().unwrap();
        assert_eq!(full_name(&suffix, "dsp-b1"), "dsp-b1-x1");
        assert_eq!(full_name(&suffix, "dsp-b1-x1"), "dsp-b1-x1");
        assert_eq!(full_name(&Suffix::default(), "dsp-b1"), "dsp-b1");
    }
}
