//! `build`: the release binary, and the proof that the eBPF object does not depend on the folder.

use crate::{setup, workspace};
use anyhow::{Context as _, Result, bail};
use dispatcher_ebpf_toolchain::{BuildRequest, Toolchain};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Everything the eBPF object is made of: two crates, and the manifest that one of them takes its lints from.
const SOURCES: [&str; 6] = [
    "Cargo.toml",
    "dispatcher-ebpf/Cargo.toml",
    "dispatcher-ebpf/Cargo.lock",
    "dispatcher-ebpf/src",
    "dispatcher-common/Cargo.toml",
    "dispatcher-common/src",
];

/// What to build.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Builds the eBPF object twice, in different folders, and compares
    #[arg(long)]
    check_reproducible: bool,
}

pub(crate) fn execute(arguments: &Arguments) -> Result<ExitCode> {
    let binary = release()?;
    println!("built {}", binary.display());
    if arguments.check_reproducible {
        check_reproducible()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the dispatcher as it is shipped; installs what that needs first.
pub(crate) fn release() -> Result<PathBuf> {
    setup::ensure(&[setup::Group::Toolchain])?;
    let mut cargo = workspace::cargo()?;
    // The folder is named because an outer CARGO_TARGET_DIR may be relative to somewhere else.
    cargo.args(["build", "--release", "--package", "dispatcher-user", "--target-dir"]).arg(workspace::target_dir()?);
    workspace::must(&mut cargo)?;
    workspace::dispatcher()
}

/// Builds copies of the sources in two folders of different names and depths.
pub(crate) fn check_reproducible() -> Result<()> {
    let place = workspace::target_dir()?.join("reproducible");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot empty {}", place.display()))?;
    }
    let first = build_copy(&place.join("a"))?;
    let second = build_copy(&place.join("another/place"))?;
    if first != second {
        bail!("the eBPF object depends on the folder it is built in: compare the two below {}", place.display());
    }
    println!("the eBPF object is reproducible: two folders, {} equal bytes", first.len());
    Ok(fs::remove_dir_all(place)?)
}

fn build_copy(folder: &Path) -> Result<Vec<u8>> {
    let root = workspace::root()?;
    for source in SOURCES {
        copy(&root.join(source), &folder.join(source))?;
    }
    let request = BuildRequest {
        manifest_dir: folder.join("dispatcher-ebpf"),
        workspace_root: folder.to_owned(),
        target_dir: folder.join("target/ebpf"),
        out_dir: folder.join("target/out"),
        bins: vec!["dispatcher".to_owned()],
    };
    let objects = Toolchain::find()?.build(&request)?;
    let object = objects.first().context("the build made no object")?;
    Ok(fs::read(&object.path)?)
}

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let about = || format!("cannot copy {} to {}", from.display(), to.display());
    if from.is_dir() {
        fs::create_dir_all(to).with_context(about)?;
        for entry in fs::read_dir(from).with_context(about)? {
            let entry = entry.with_context(about)?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(about)?;
    }
    fs::copy(from, to).with_context(about)?;
    Ok(())
}
