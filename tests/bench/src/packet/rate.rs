//! packet/rate: how many packets one core forwards, next to the kernel and to programs that do less.
//!
//! Frames are generated, forwarded and counted on one core: live frames of test_run leave by a virtual cable, whoever
//! forwards gets them at its other end, and a sink at the backends counts and drops them.

use super::{
    Effort,
    contender::{Contender, Slice},
    layout::Course,
    programs::Programs,
};
use crate::{
    report::{Better, Row, Section, Target},
    statistics::Samples,
};
use anyhow::{Context as _, Result, ensure};

/// Flows that the packets belong to; the two backends have half of them each.
pub(super) const FLOWS: u32 = 1024;

/// The contenders' names, as the report has them.
pub(super) const GENERATOR: &str = "generator alone";
pub(super) const REDIRECT: &str = "bare XDP redirect";
pub(super) const FLOOR: &str = "lean DNAT (floor)";
pub(super) const OURS: &str = "dispatcher";
pub(super) const ROUTING: &str = "kernel routing";
pub(super) const NFTABLES: &str = "nftables DNAT";

/// Measures all contenders in turn, round by round.
pub(super) fn measure(contenders: &[Contender], generator: &mut Programs, effort: &Effort) -> Result<Section> {
    let mut slices: Vec<Vec<Slice>> = contenders.iter().map(|_| Vec::new()).collect();
    let course = Course { mask: u64::from(FLOWS - 1), ..Course::default() };
    for contender in contenders {
        let every_flow = Course { in_turn: 1, ..course };
        let first = contender.forward(generator, FLOWS, &every_flow)?;
        ensure!(
            first.arrived == first.sent,
            "{}: {} of {} first packets arrived",
            contender.name,
            first.arrived,
            first.sent
        );
    }
    for _ in 0..effort.rounds {
        for (contender, slices) in contenders.iter().zip(&mut slices) {
            slices.push(contender.forward(generator, effort.frames, &course)?);
        }
    }
    let mut section = Section::new("packet/rate", "packets per second on one core", Better::Higher);
    for (contender, slices) in contenders.iter().zip(&slices) {
        section.rows.push(Row::new(
            "64-byte frames, 1K flows",
            contender.name,
            slices.iter().map(Slice::rate).collect(),
        ));
        section.notes.push(note(contender, slices)?);
    }
    judge(&mut section, contenders, &slices)?;
    Ok(section)
}

/// What became of the frames of a contender.
fn note(contender: &Contender, slices: &[Slice]) -> Result<String> {
    let (sent, arrived) =
        slices.iter().fold((0, 0), |(sent, arrived), slice| (sent + slice.sent, arrived + slice.arrived));
    let shares: Vec<String> = contender.shares()?.iter().map(u64::to_string).collect();
    Ok(format!("{}: {arrived} of {sent} frames arrived; counted: {}.", contender.name, shares.join(" and ")))
}

fn judge(section: &mut Section, contenders: &[Contender], slices: &[Vec<Slice>]) -> Result<()> {
    let cost = |name: &str| -> Result<Samples> {
        let found = contenders.iter().zip(slices).find(|(contender, _)| contender.name == name);
        let (_, slices) = found.with_context(|| format!("{name} was not measured"))?;
        Ok(slices.iter().map(Slice::cost_ns).collect())
    };
    let (alone, ours) = (cost(GENERATOR)?, cost(OURS)?);
    let net = |name: &str| -> Result<Samples> { Ok(cost(name)?.less(&alone)) };
    let dearer = |name: &str| -> Result<Samples> { Ok(net(name)?.over(&ours.less(&alone))) };
    section.targets = vec![
        Target::at_least("nftables DNAT / dispatcher, cost net of the generator", 4.0, dearer(NFTABLES)?),
        Target::at_least("bare XDP redirect / dispatcher, cost with the generator", 0.9, cost(REDIRECT)?.over(&ours)),
        Target::at_least("bare XDP redirect / dispatcher, cost net of the generator", 0.9, dearer(REDIRECT)?),
    ];
    for (name, samples) in [(ROUTING, dearer(ROUTING)?), (FLOOR, dearer(FLOOR)?)] {
        if let Some(found) = samples.summary() {
            section.notes.push(format!("{name} / dispatcher, cost net of the generator: {:.2}.", found.median));
        }
    }
    Ok(())
}
