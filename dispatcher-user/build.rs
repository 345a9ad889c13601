//! Compiles the eBPF program and hands its path to the code that embeds it.

use dispatcher_ebpf_toolchain::{BuildRequest, Missing, Toolchain};
use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Everything the object is made of; a change of any of it compiles the object again.
const INPUTS: [&str; 6] = [
    "Cargo.toml",
    "dispatcher-ebpf/Cargo.toml",
    "dispatcher-ebpf/Cargo.lock",
    "dispatcher-ebpf/src",
    "dispatcher-common/Cargo.toml",
    "dispatcher-common/src",
];

fn main() -> ExitCode {
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            // Cargo stops after `cargo::error` as well. Ending in success then keeps its dump of this
            // program's whole output away from a sentence that says everything.
            if error.is::<Missing>() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn compile() -> Result<(), Box<dyn Error>> {
    let workspace_root = workspace_root()?;
    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", workspace_root.join(input).display());
    }
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let request = BuildRequest {
        manifest_dir: workspace_root.join("dispatcher-ebpf"),
        workspace_root,
        target_dir: shared_target_dir(&out_dir),
        out_dir,
        bins: vec!["dispatcher".to_owned()],
    };
    for object in Toolchain::find()?.build(&request)? {
        println!("cargo::rustc-env=DISPATCHER_OBJECT={}", object.path.display());
    }
    Ok(())
}

fn workspace_root() -> Result<PathBuf, Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    Ok(here.parent().ok_or("the crate has no folder above it")?.to_owned())
}

/// A folder beside the profiles of the outer cargo: all profiles share one eBPF build, and the inner
/// cargo never waits for a lock that the outer one holds.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    // Cargo marks the top of its target folder with this file.
    let top = out_dir.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    top.unwrap_or(out_dir).join("ebpf")
}
