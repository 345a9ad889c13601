//! What a build script that embeds an eBPF object does: compile it, and hand its path to the crate.

use crate::{BuildRequest, Missing, Toolchain};
use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// An object that a crate of this workspace embeds.
#[derive(Debug, Clone, Copy)]
pub struct Embedded<'a> {
    /// The folder of the eBPF crate, below the workspace's.
    pub crate_folder: &'a str,
    /// The binary of that crate.
    pub bin: &'a str,
    /// The variable that tells the embedding crate the object's path.
    pub variable: &'a str,
    /// Everything that the object is made of, below the workspace's folder; a change of any of it compiles it again.
    pub inputs: &'a [&'a str],
}

impl Embedded<'_> {
    /// Compiles the object, and tells cargo about it or about what went wrong.
    #[must_use]
    pub fn build(&self) -> ExitCode {
        match self.compile() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("cargo::error={error}");
                // Cargo stops after `cargo::error` as well. Ending in success then keeps its dump of this
                // program's whole output away from a sentence that says everything.
                if error.is::<Missing>() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
        }
    }

    fn compile(&self) -> Result<(), Box<dyn Error>> {
        let workspace_root = workspace_root()?;
        for input in self.inputs {
            println!("cargo::rerun-if-changed={}", workspace_root.join(input).display());
        }
        let out_dir = PathBuf::from(env::var("OUT_DIR")?);
        let request = BuildRequest {
            manifest_dir: workspace_root.join(self.crate_folder),
            workspace_root,
            target_dir: shared_target_dir(&out_dir),
            out_dir,
            bins: vec![self.bin.to_owned()],
        };
        for object in Toolchain::find()?.build(&request)? {
            println!("cargo::rustc-env={}={}", self.variable, object.path.display());
        }
        Ok(())
    }
}

/// The nearest folder above the crate's own with a lock file.
fn workspace_root() -> Result<PathBuf, Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = here.ancestors().skip(1).find(|folder| folder.join("Cargo.lock").is_file());
    Ok(root.ok_or("the crate is in no workspace")?.to_owned())
}

/// A folder beside the profiles of the outer cargo: all profiles share one eBPF build, and the inner
/// cargo never waits for a lock that the outer one holds.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    // Cargo marks the top of its target folder with this file.
    let top = out_dir.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    top.unwrap_or(out_dir).join("ebpf")
}
