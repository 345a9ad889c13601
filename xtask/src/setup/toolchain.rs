//! Sees to a compiler for the eBPF program: Debian's where apt has it, else a nightly of rustup.

use super::{apt, linker};
use crate::programs;
use anyhow::{Result, bail};
use dispatcher_ebpf_toolchain::{Missing, Toolchain};
use std::process::{Command, Stdio};

/// The compiler that the tests are run with, and the source of its library. Its LLVM is the one in `linker.rs`.
const DEBIAN_COMPILER: [&str; 2] = ["rustc-web", "rust-web-src"];
/// A nightly of that same LLVM. A later one may have a later LLVM, whose bitcode the linker cannot read.
const NIGHTLY: &str = "nightly-2026-05-20";

/// Finds a toolchain, or installs what it lacks.
pub(super) fn ensure() -> Result<()> {
    let Err(missing) = Toolchain::find() else {
        return Ok(());
    };
    eprintln!("setup: the eBPF program cannot be built yet: {}", missing.reasons());
    install(&missing)?;
    match Toolchain::find() {
        Ok(_) => Ok(()),
        Err(still) => {
            bail!("everything was installed, and still the eBPF program cannot be built: {}", still.reasons())
        }
    }
}

fn install(missing: &Missing) -> Result<()> {
    if !missing.compiler.is_empty() {
        install_compiler()?;
    }
    // A linker of another LLVM than the compiler's counts as missing, too.
    if missing.linker.is_some() { linker::install() } else { Ok(()) }
}

fn install_compiler() -> Result<()> {
    if apt::is_available() && apt::offers(DEBIAN_COMPILER[0])? {
        return apt::install(&DEBIAN_COMPILER, "the eBPF program's compiler, and the source of its library");
    }
    let Some(rustup) = programs::find("rustup") else {
        bail!(
            "neither apt-get with the package rustc-web nor rustup is here: install rustup, then run `cargo xtask setup` again"
        );
    };
    eprintln!(
        "setup: installing rustup's {NIGHTLY} with rust-src (the eBPF program's compiler, and the source of its library)"
    );
    let mut command = Command::new(rustup);
    command.args([
        "toolchain",
        "install",
        NIGHTLY,
        "--profile",
        "minimal",
        "--component",
        "rust-src",
        "--no-self-update",
    ]);
    crate::workspace::must(command.stdin(Stdio::null()).stdout(std::io::stderr()))
}
