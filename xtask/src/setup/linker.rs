//! Installs bpf-linker, linked to the LLVM of the compiler.

use super::apt;
use crate::workspace;
use anyhow::{Result, bail};
use std::{path::PathBuf, process::Stdio};

/// The LLVM of the compilers that set-up installs.
const LLVM: u32 = 22;
const LLVM_PACKAGES: [&str; 4] = ["llvm-22-dev", "libclang-22-dev", "libpolly-22-dev", "libzstd-dev"];
const VERSION: &str = "0.13.0";

/// Compiles the linker with cargo; takes about a minute.
pub(super) fn install() -> Result<()> {
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{LLVM}"));
    if apt::is_available() {
        apt::install(&LLVM_PACKAGES, "LLVM, which bpf-linker is linked to")?;
    } else if !prefix.join("include/llvm-c/Core.h").is_file() {
        bail!("bpf-linker needs LLVM {LLVM} with its headers in {}: install that by hand", prefix.display());
    }
    eprintln!("setup: compiling bpf-linker {VERSION} with cargo install (links the eBPF program)");
    let mut cargo = workspace::cargo()?;
    cargo.args(["install", "bpf-linker", "--version", VERSION, "--force", "--no-default-features", "--features"]);
    cargo.arg(format!("llvm-{LLVM}"));
    // Without this it links whichever LLVM it finds first.
    cargo.env("LLVM_PREFIX", prefix);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    workspace::must(cargo.stdin(Stdio::null()).stdout(std::io::stderr()))
}
