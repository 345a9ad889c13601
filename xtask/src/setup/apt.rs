//! Installs Debian packages, and says which and why.

use crate::{privilege, programs, workspace};
use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

/// Debian asks this program whether a freshly installed service may start (policy-rc.d; "Init Scripts" in the
/// Debian Policy Manual). A web server that is installed for tests must not take a port of the host.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether packages can be installed at all.
pub(crate) fn is_available() -> bool {
    programs::find("apt-get").is_some()
}

/// Whether there is a package of that name, after the lists were brought up to date.
pub(crate) fn offers(package: &str) -> Result<bool> {
    let Some(apt_cache) = programs::find("apt-cache") else {
        return Ok(false);
    };
    update()?;
    let output = Command::new(apt_cache).args(["policy", package]).output().context("cannot start apt-cache")?;
    let policy = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(policy.lines().any(|line| line.trim().strip_prefix("Candidate: ").is_some_and(|version| version != "(none)")))
}

/// Installs packages, for a reason that is shown.
pub(crate) fn install(packages: &[&str], reason: &str) -> Result<()> {
    let names = packages.join(" ");
    if !is_available() {
        bail!("this machine has no apt-get to install {names} with ({reason}): install them by hand");
    }
    eprintln!("setup: installing the Debian packages {names} ({reason})");
    update()?;
    let _guard = NoServices::begin()?;
    // Nothing that is there already may be removed for these: rustc-web conflicts with Debian's rustc.
    let mut command = as_root("apt-get")?;
    command.args(["-y", "-q", "--no-install-recommends", "--no-remove", "install"]).args(packages);
    run(&mut command)
}

/// Brings the package lists up to date, once. A source that does not answer may be none of those needed.
fn update() -> Result<()> {
    static UPDATED: AtomicBool = AtomicBool::new(false);
    if !UPDATED.swap(true, Ordering::Relaxed)
        && let Err(error) = run(as_root("apt-get")?.args(["-q", "update"]))
    {
        eprintln!("setup: {error}; going on with the package lists that are there");
    }
    Ok(())
}

/// Runs apt-get with its words on stderr: stdout belongs to the command that set-up serves.
fn run(command: &mut Command) -> Result<()> {
    workspace::must(command.stdin(Stdio::null()).stdout(std::io::stderr()))
}

/// A command as root, which asks nothing.
fn as_root(program: &str) -> Result<Command> {
    const UNATTENDED: &str = "DEBIAN_FRONTEND=noninteractive";
    let program = programs::find(program).with_context(|| format!("there is no {program}"))?;
    if privilege::is_root() {
        let mut command = Command::new("env");
        command.arg(UNATTENDED).arg(program);
        return Ok(command);
    }
    let Some((sudo, options)) = privilege::sudo() else {
        bail!("installing packages needs root, and there is no sudo: run `cargo xtask setup` as root once");
    };
    let mut command = Command::new(sudo);
    command.args(options).arg("env").arg(UNATTENDED).arg(program);
    Ok(command)
}

/// Keeps new services from starting while it lives. A policy that the machine has already is left alone.
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    fn begin() -> Result<Self> {
        if Path::new(POLICY).exists() || !privilege::is_root() {
            return Ok(Self { is_ours: false });
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY)
            .with_context(|| format!("cannot write {POLICY}"))?;
        // 101: action forbidden by policy.
        file.write_all(b"#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
        Ok(Self { is_ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("cannot remove {POLICY}: {error}");
        }
    }
}
