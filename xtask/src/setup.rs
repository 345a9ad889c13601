//! `setup`: finds or installs what the other commands need. They call it, each for what it needs itself.

mod apt;
mod linker;
mod toolchain;

use crate::programs;
use anyhow::Result;
use std::process::ExitCode;

/// There is nothing to choose: everything that any command needs is seen to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// A group of things that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// The compiler and linker of the eBPF program.
    Toolchain,
    /// The programs that a lab is made with.
    Lab,
    /// The programs that tests send traffic with, and look at it.
    Tests,
}

/// A program that is called by name.
#[derive(Debug, Clone, Copy)]
struct Program {
    name: &'static str,
    /// Debian's package of it.
    package: &'static str,
    purpose: &'static str,
    group: Group,
}

const PROGRAMS: [Program; 7] = [
    Program { name: "ip", package: "iproute2", purpose: "makes network namespaces", group: Group::Lab },
    Program { name: "ethtool", package: "ethtool", purpose: "sets offloads of virtual cables", group: Group::Lab },
    Program { name: "curl", package: "curl", purpose: "is the lab's client", group: Group::Lab },
    Program { name: "nginx", package: "nginx", purpose: "is a real backend in tests", group: Group::Tests },
    Program {
        name: "hypercorn",
        package: "python3-hypercorn",
        purpose: "is a real backend that speaks WebSocket",
        group: Group::Tests,
    },
    Program { name: "bpftool", package: "bpftool", purpose: "shows pinned maps", group: Group::Tests },
    Program {
        name: "nft",
        package: "nftables",
        purpose: "is the kernel's own forwarding, to compare with",
        group: Group::Tests,
    },
];

pub(crate) fn execute(_: &Arguments) -> Result<ExitCode> {
    ensure(&[Group::Toolchain, Group::Lab, Group::Tests])?;
    println!("everything is there");
    Ok(ExitCode::SUCCESS)
}

/// Sees to it that some groups are there; fast and silent when they are.
pub(crate) fn ensure(groups: &[Group]) -> Result<()> {
    let missing: Vec<Program> = PROGRAMS
        .into_iter()
        .filter(|program| groups.contains(&program.group) && programs::find(program.name).is_none())
        .collect();
    if !missing.is_empty() {
        let reasons: Vec<String> =
            missing.iter().map(|program| format!("{} {}", program.name, program.purpose)).collect();
        let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
        apt::install(&packages, &reasons.join("; "))?;
    }
    if groups.contains(&Group::Toolchain) {
        toolchain::ensure()?;
    }
    Ok(())
}
