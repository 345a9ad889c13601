//! The packet benches: what a packet costs, how many a core forwards, and how many new flows it takes.

mod bed;
mod contender;
mod cost;
mod daemon;
mod frames;
mod layout;
mod lean;
mod new_flows;
mod programs;
mod rate;
mod real;

use crate::{
    affinity,
    machine::Machine,
    report::{Report, Section},
};
use anyhow::{Context as _, Result};
use contender::{Contender, Kind};
use dispatcher_lab::Namespace;
use nix::net::if_::if_nametoindex;
use programs::{ProgramName, Programs};
use std::{path::Path, process};

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
    /// Frames in one measurement of a rate.
    pub frames: u32,
    /// Flows in one measurement of new flows in the kernel.
    pub new_flows: u32,
    /// Whether the numbers say little.
    pub quick: bool,
}

impl Effort {
    /// Enough for numbers to quote.
    pub const FULL: Self = Self {
        rounds: 15,
        runs: 400_000,
        warm_up: 20_000,
        most_flows: u32::MAX,
        frames: 400_000,
        new_flows: 100_000,
        quick: false,
    };
    /// Enough to see that everything works.
    pub const QUICK: Self = Self {
        rounds: 3,
        runs: 50_000,
        warm_up: 2_000,
        most_flows: 1 << 16,
        frames: 50_000,
        new_flows: 20_000,
        quick: true,
    };
}

/// Runs the packet benches with the dispatcher of that path.
///
/// # Errors
/// Without root, or if a part of them cannot be had.
pub fn run(effort: &Effort, dispatcher: &Path) -> Result<Report> {
    dispatcher_lab::mount_bpffs()?;
    let mut machine = Machine::look();
    machine.add_program("nft", &["--version"]);
    let name = format!("dspb{}", process::id() % 1_000_000);
    let namespace = Namespace::create(&name)?;
    // It stays down: a frame that came by it would be one more run.
    namespace.ip(&["link add idle0 type veth peer name idle1"])?;
    let core = *affinity::processors()?.first().context("there is no processor")?;
    let sections = namespace.run(|| -> Result<_> {
        affinity::pin_thread(core)?;
        affinity::go_first()?;
        let idle = if_nametoindex("idle0").context("there is no idle0")?;
        let mut sections = vec![cost::measure(&name, idle, effort)?];
        sections.extend(forwarding(&name, idle, effort, dispatcher)?);
        Ok(sections)
    })??;
    machine.look_again();
    Ok(Report { bench: "packet", quick: effort.quick, machine, sections })
}

/// What is measured with frames that travel: rate, and new flows.
fn forwarding(name: &str, idle: u32, effort: &Effort, dispatcher: &Path) -> Result<Vec<Section>> {
    const INSERT: &str = "bare XDP redirect after one LRU insert";
    let mut generator = Programs::load(1)?;
    generator.attach(ProgramName::Generate, idle)?;
    let kinds = [
        (rate::GENERATOR, Kind::Nobody),
        (rate::REDIRECT, Kind::Program(ProgramName::Redirect)),
        (rate::FLOOR, Kind::Program(ProgramName::LeanDnat)),
        (rate::OURS, Kind::Dispatcher(dispatcher)),
        (rate::ROUTING, Kind::Routing),
        (rate::NFTABLES, Kind::Nftables),
        (INSERT, Kind::Program(ProgramName::LeanInsert)),
    ];
    let mut contenders = (0..)
        .zip(kinds)
        .map(|(slot, kind)| Contender::build(kind, name, rate::FLOWS, &mut generator, slot))
        .collect::<Result<Vec<_>>>()?;
    let insert = contenders.pop().context("nobody inserts")?;
    let rate = rate::measure(&contenders, &mut generator, effort)?;
    let (ours, others): (Vec<_>, Vec<_>) = contenders.into_iter().partition(|contender| contender.name == rate::OURS);
    let mut ours = ours.into_iter().next().context("there is no dispatcher")?;
    let redirect = others.iter().find(|contender| contender.name == rate::REDIRECT).context("nobody redirects")?;
    let new_flows = new_flows::measure(&mut ours, &[&insert, redirect], &mut generator, effort)?;
    Ok(vec![rate, new_flows])
}
