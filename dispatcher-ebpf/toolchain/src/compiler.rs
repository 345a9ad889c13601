//! Finds compilers that can build `core` for the BPF target: those that have the source of their library.

use crate::Places;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The first release whose `core` builds with the crates used here.
const OLDEST_RELEASE: (u32, u32) = (1, 87);

/// Where a compiler comes from, which decides how cargo is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A nightly of rustup with `rust-src`; it brings its own cargo.
    Nightly,
    /// Debian's `rustc-web` with `rust-web-src`; unstable options are unlocked by `RUSTC_BOOTSTRAP`.
    Debian,
}

/// A compiler with the source of its library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// Where it comes from.
    pub kind: Kind,
    /// The compiler itself, never a rustup proxy.
    pub rustc: PathBuf,
    /// Its release, as `rustc -vV` prints it.
    pub release: String,
    /// The major version of its LLVM.
    pub llvm_major: Option<u32>,
    /// The folder that holds `library/core`.
    pub library_source: PathBuf,
}

/// All compilers that will do, best first, and for each of the others why not.
pub(crate) fn find_all(places: &Places) -> (Vec<Compiler>, Vec<String>) {
    let (mut fit, mut unfit) = (Vec::new(), Vec::new());
    let nightlies = nightlies(places);
    if nightlies.is_empty() {
        unfit.push("rustup has no nightly".to_owned());
    }
    for (name, rustc) in nightlies {
        match inspect(Kind::Nightly, &rustc) {
            Ok(compiler) => fit.push(compiler),
            Err(Unfit::NoSource) => unfit.push(format!("rustup's {name} lacks the component rust-src")),
            Err(Unfit::Release(release)) => unfit.push(format!("rustup's {name} is too old: {release}")),
        }
    }
    let rustc = &places.debian_rustc;
    if !rustc.is_file() {
        unfit.push(format!("there is no {}", rustc.display()));
        return (fit, unfit);
    }
    match inspect(Kind::Debian, rustc) {
        Ok(compiler) => fit.push(compiler),
        Err(Unfit::NoSource) => unfit.push(format!("{} has no library source", rustc.display())),
        Err(Unfit::Release(release)) => unfit.push(format!("{} is too old: {release}", rustc.display())),
    }
    (fit, unfit)
}

enum Unfit {
    NoSource,
    Release(String),
}

/// Names and compilers of rustup's nightlies.
fn nightlies(places: &Places) -> Vec<(String, PathBuf)> {
    let Some(rustup) = places.program("rustup") else {
        return Vec::new();
    };
    let list = output_of(&rustup, &["toolchain", "list"]).unwrap_or_default();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| name.starts_with("nightly"))
        .filter_map(|name| {
            let rustc = output_of(&rustup, &["which", "--toolchain", name, "rustc"])?;
            Some((name.to_owned(), PathBuf::from(rustc)))
        })
        .collect()
}

fn inspect(kind: Kind, rustc: &Path) -> Result<Compiler, Unfit> {
    let version = output_of(rustc, &["-vV"]).unwrap_or_default();
    let field = |name: &str| {
        version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("unknown").to_owned()
    };
    let release = field("release");
    if parse_release(&release).is_none_or(|release| release < OLDEST_RELEASE) {
        return Err(Unfit::Release(release));
    }
    let sysroot = output_of(rustc, &["--print", "sysroot"]).ok_or(Unfit::NoSource)?;
    let library_source = Path::new(&sysroot).join("lib/rustlib/src/rust");
    if !library_source.join("library/core/src/lib.rs").is_file() {
        return Err(Unfit::NoSource);
    }
    let llvm_major = field("LLVM version").split('.').next().and_then(|major| major.parse().ok());
    Ok(Compiler { kind, rustc: rustc.to_owned(), release, llvm_major, library_source })
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What a program printed, trimmed; none when it failed.
fn output_of(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    crate::environment::scrub(&mut command);
    let output = command.args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
