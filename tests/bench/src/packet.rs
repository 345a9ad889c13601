//! The packet benches: what a packet costs, how many a core forwards, and how many new flows it takes.

mod cost;
mod frames;
mod layout;
mod programs;
mod real;

use crate::{affinity, machine::Machine, report::Report};
use anyhow::{Context as _, Result};
use dispatcher_lab::Namespace;
use nix::net::if_::if_nametoindex;
use std::process;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds; in each, every subject is measured once.
    pub rounds: u32,
    /// Runs of a program in one measurement of its cost.
    pub runs: u32,
    /// Runs before those, at least.
    pub warm_up: u32,
    /// No case has more flows.
    pub most_flows: u32,
    /// Whether the numbers say little.
    pub quick: bool,
}

impl Effort {
    /// Enough for numbers to quote.
    pub const FULL: Self = Self { rounds: 15, runs: 400_000, warm_up: 20_000, most_flows: u32::MAX, quick: false };
    /// Enough to see that everything works.
    pub const QUICK: Self = Self { rounds: 3, runs: 50_000, warm_up: 2_000, most_flows: 1 << 16, quick: true };
}

/// Runs the packet benches.
///
/// # Errors
/// Without root, or if a part of them cannot be had.
pub fn run(effort: &Effort) -> Result<Report> {
    let mut machine = Machine::look();
    let name = format!("dsp-bench-{}", process::id());
    let namespace = Namespace::create(&name)?;
    // It stays down: a frame that came by it would be one more run.
    namespace.ip(&["link add idle0 type veth peer name idle1"])?;
    let core = *affinity::processors()?.first().context("there is no processor")?;
    let sections = namespace.run(|| -> Result<_> {
        affinity::pin_thread(core)?;
        let ifindex = if_nametoindex("idle0").context("there is no idle0")?;
        Ok(vec![cost::measure(&name, ifindex, effort)?])
    })??;
    machine.look_again();
    Ok(Report { bench: "packet", quick: effort.quick, machine, sections })
}
