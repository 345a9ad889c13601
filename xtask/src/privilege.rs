//! Gets root for what needs it: network namespaces, XDP, and tests of both.

use crate::programs;
use anyhow::{Context as _, Result, bail};
use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// The variable that names a dispatcher which is built already; tests find theirs by it, too.
pub(crate) const BINARY_VARIABLE: &str = "DISPATCHER_BIN";

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// sudo with its options, where there is one. In CI nobody is there to type a password.
pub(crate) fn sudo() -> Option<(PathBuf, &'static [&'static str])> {
    let options: &[&str] = if env::var_os("CI").is_some() { &["--non-interactive"] } else { &[] };
    Some((programs::find("sudo")?, options))
}

/// Returns as root, or replaces this process by the same command under sudo.
///
/// A dispatcher that was built before is handed over, so that nothing in the target folder comes to belong to root.
pub(crate) fn become_root(built: Option<&Path>) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let Some((sudo, options)) = sudo() else {
        bail!("network namespaces and XDP need root, and there is no sudo: run the same command as root");
    };
    eprintln!("network namespaces and XDP need root: going on with sudo");
    let mut command = Command::new(sudo);
    command.args(options).arg("env").arg(assignment("PATH", env::var_os("PATH").unwrap_or_default()));
    if let Some(binary) = built {
        command.arg(assignment(BINARY_VARIABLE, binary.into()));
    }
    command.arg(env::current_exe().context("the system does not say which program this is")?);
    let error = command.args(env::args_os().skip(1)).exec();
    Err(error).context("cannot start sudo")
}

fn assignment(name: &str, value: OsString) -> OsString {
    let mut assignment = OsString::from(format!("{name}="));
    assignment.push(value);
    assignment
}
