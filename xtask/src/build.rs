//! `build`: the release binary, and the proof that the eBPF object does not depend on the folder.

use crate::{privilege::BINARY_VARIABLE, setup, workspace};
use anyhow::{Context as _, Result, bail};
use dispatcher_ebpf_toolchain::{BuildRequest, Toolchain};
use std::{
    env, fs,
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
    /// Builds the eBPF object in another folder too, and compares
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

/// Builds the dispatcher as it is shipped; installs what that needs first. One that was built before is taken as it is.
pub(crate) fn release() -> Result<PathBuf> {
    if let Some(binary) = env::var_os(BINARY_VARIABLE) {
        return Ok(binary.into());
    }
    setup::ensure(&[setup::Group::Toolchain])?;
    let mut cargo = workspace::cargo()?;
    // The folder is named because an outer CARGO_TARGET_DIR may be relative to somewhere else.
    cargo.args(["build", "--release", "--package", "dispatcher-user", "--target-dir"]).arg(workspace::target_dir()?);
    workspace::must(&mut cargo)?;
    workspace::dispatcher()
}

/// Builds the eBPF object here and from a copy in a folder of another name and depth, and compares.
pub(crate) fn check_reproducible() -> Result<()> {
    let place = workspace::target_dir()?.join("reproducible");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot empty {}", place.display()))?;
    }
    let (root, copy_root) = (workspace::root()?, place.join("another/folder"));
    for source in SOURCES {
        copy(&root.join(source), &copy_root.join(source))?;
    }
    let here = object_of(&root, &workspace::target_dir()?.join("ebpf"), &place.join("here"))?;
    let there = object_of(&copy_root, &copy_root.join("target/ebpf"), &place.join("there"))?;
    if here != there {
        bail!("the eBPF object depends on the folder it is built in: compare the two below {}", place.display());
    }
    println!("the eBPF object is reproducible: {} equal bytes from two folders", here.len());
    Ok(fs::remove_dir_all(place)?)
}

fn object_of(root: &Path, target_dir: &Path, out_dir: &Path) -> Result<Vec<u8>> {
    let request = BuildRequest {
        manifest_dir: root.join("dispatcher-ebpf"),
        workspace_root: root.to_owned(),
        target_dir: target_dir.to_owned(),
        out_dir: out_dir.to_owned(),
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
