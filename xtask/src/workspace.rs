//! Where the repository's things are, and how cargo is called on them.

use anyhow::{Context as _, Result, bail};
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder of the workspace's manifest.
pub(crate) fn root() -> Result<PathBuf> {
    // Cargo says it when it starts us; the compiled-in folder serves a binary that is started by hand.
    let here =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(Path::to_owned).with_context(|| format!("{} is not in a workspace", here.display()))
}

/// The folder that cargo builds into: the one this program was built into.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe().context("the system does not say which program this is")?;
    // Cargo puts programs into a folder of the profile's name. It marks the top with CACHEDIR.TAG only if it made it.
    let top = program.parent().and_then(Path::parent);
    top.map(Path::to_owned).with_context(|| format!("{} is in no target folder of cargo", program.display()))
}

/// The dispatcher that `cargo xtask build` makes.
pub(crate) fn dispatcher() -> Result<PathBuf> {
    Ok(target_dir()?.join("release/dispatcher"))
}

/// Cargo, in the workspace's folder.
pub(crate) fn cargo() -> Result<Command> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()?);
    command.arg("--color").arg(if env::var_os("CI").is_some() { "never" } else { "auto" });
    Ok(command)
}

/// Runs a command that must succeed, on this program's terminal.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("`{}` ended with {status}", describe(command));
    }
    Ok(())
}

/// A command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// What a command that must succeed prints.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", describe(command), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
