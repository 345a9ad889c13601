//! packet/new flows: how fast first packets find their backend, through the daemon and in the kernel.
//!
//! A burst of packets, each the first of a flow of its own client, is sent as fast as one core can; the daemon has
//! another. The time runs until the last of them has arrived at a backend.

use super::{
    Effort,
    contender::{Contender, PORT, Slice},
    daemon::HASHED_PORT,
    layout::Course,
    programs::Programs,
};
use crate::{
    report::{Better, Row, Section, Target},
    statistics::Samples,
};
use anyhow::{Context as _, Result, ensure};

/// First packets in a burst: fewer than the way up can hold, so that the daemon decides about all of them.
const BURST: u32 = 60_000;
/// A core of the daemon handles so many first packets a second.
const PER_CORE: f64 = 125_000.0;
const NEW: &str = "new flows";

/// First packets of everybody so far: no flow comes twice.
#[derive(Debug, Default)]
pub(super) struct FreshFlows(u64);

impl FreshFlows {
    fn next(&mut self, flows: u32) -> Course {
        let first_flow = self.0;
        self.0 += u64::from(flows);
        Course { first_flow, mask: u64::from(u32::MAX), in_turn: 1, ..Course::default() }
    }
}

/// Measures the daemon, and what the kernel does alone next to it.
pub(super) fn measure(
    dispatcher: &mut Contender,
    others: &[&Contender],
    generator: &mut Programs,
    effort: &Effort,
) -> Result<Section> {
    let mut section = Section::new("packet/new-flows", "first packets per second", Better::Higher);
    let mut fresh = FreshFlows::default();
    let mut found = Found::default();
    let mut hashed = Samples::new();
    let mut alone: Vec<Samples> = others.iter().map(|_| Samples::new()).collect();
    for _ in 0..effort.rounds {
        through_the_daemon(dispatcher, generator, &mut fresh, &mut found)?;
        hashed.push(by_hash(dispatcher, generator, &mut fresh, effort)?.rate());
        for (other, samples) in others.iter().zip(&mut alone) {
            let slice = other.forward(generator, effort.new_flows, &fresh.next(effort.new_flows))?;
            ensure!(slice.arrived == slice.sent, "{}: {} of {} arrived", other.name, slice.arrived, slice.sent);
            samples.push(slice.rate());
        }
    }
    section.rows.push(Row::new(NEW, "dispatcher, through the daemon", found.rate));
    section.rows.push(Row::new(NEW, "dispatcher, through the daemon, per core of it", found.per_core.clone()));
    section.rows.push(Row::new(NEW, "dispatcher, by hash in the kernel (mh)", hashed));
    for (other, samples) in others.iter().zip(alone) {
        section.rows.push(Row::new(NEW, other.name, samples));
    }
    section.targets.push(Target::at_least("first packets a second per core of the daemon", PER_CORE, found.per_core));
    section.targets.push(Target::at_most("first packets lost", 0.0, found.lost));
    section.notes.push(format!(
        "{} first packets went up; {} more were picked in the kernel because the way up was full.",
        found.went_up, found.picked_in_kernel
    ));
    Ok(section)
}

/// What the bursts through the daemon gave.
#[derive(Debug, Default)]
struct Found {
    rate: Samples,
    per_core: Samples,
    lost: Samples,
    went_up: u64,
    picked_in_kernel: u64,
}

fn through_the_daemon(
    dispatcher: &mut Contender,
    generator: &mut Programs,
    fresh: &mut FreshFlows,
    found: &mut Found,
) -> Result<()> {
    dispatcher.aim_at(PORT);
    let course = fresh.next(BURST);
    let (stats, processor_ns) = { (daemon(dispatcher)?.stats()?, daemon(dispatcher)?.processor_ns()?) };
    let slice = dispatcher.forward(generator, BURST, &course)?;
    let (stats_after, processor_after_ns) = (daemon(dispatcher)?.stats()?, daemon(dispatcher)?.processor_ns()?);
    let went_up = stats_after.upcall + stats_after.upcall_locked - stats.upcall - stats.upcall_locked;
    ensure!(went_up * 2 > u64::from(BURST), "only {went_up} of {BURST} first packets went up");
    found.went_up += went_up;
    found.picked_in_kernel += stats_after.picked_in_kernel - stats.picked_in_kernel;
    found.rate.push(slice.rate());
    found.per_core.push(went_up as f64 * 1e9 / (processor_after_ns - processor_ns) as f64);
    found.lost.push((slice.sent - slice.arrived) as f64);
    Ok(())
}

fn by_hash(
    dispatcher: &mut Contender,
    generator: &mut Programs,
    fresh: &mut FreshFlows,
    effort: &Effort,
) -> Result<Slice> {
    dispatcher.aim_at(HASHED_PORT);
    let before = daemon(dispatcher)?.stats()?.flows_by_hash;
    let slice = dispatcher.forward(generator, effort.new_flows, &fresh.next(effort.new_flows))?;
    let placed = daemon(dispatcher)?.stats()?.flows_by_hash - before;
    ensure!(slice.arrived == slice.sent, "by hash: {} of {} arrived", slice.arrived, slice.sent);
    ensure!(placed == slice.sent, "{placed} of {} flows were placed by hash", slice.sent);
    Ok(slice)
}

fn daemon(contender: &mut Contender) -> Result<&mut super::daemon::RunningDaemon> {
    contender.daemon.as_mut().context("the contender has no daemon")
}
