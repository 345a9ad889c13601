//! packet/cost: what one packet of a known flow costs a core, next to programs that do less.
//!
//! Everything runs in the kernel's test_run, on one core. A harness writes the packet anew before every run and then
//! continues with the program, so that a program which rewrites its packet always sees a fresh one. What the harness
//! itself costs is measured with a program that does nothing, in the same round, and taken off.

use super::{
    Effort,
    frames::{self, Link, Protocol},
    layout::Course,
    lean,
    programs::{ProgramName, Programs},
    real::Real,
};
use crate::{
    report::{Better, Row, Section, Target},
    statistics::Samples,
};
use anyhow::{Context as _, Result, ensure};
use dispatcher_common::flow::Arrival;
use std::net::{Ipv4Addr, SocketAddrV4};

const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 80);
const BACKEND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 1, 11), 8080);
const BACKEND_ID: u16 = 1;
const CLIENT_SIDE: Link = Link { destination: [2, 0, 0, 0, 1, 1], source: [2, 0, 0, 0, 1, 2] };
const FARM_SIDE: Link = Link { destination: [2, 0, 0, 0, 2, 1], source: [2, 0, 0, 0, 2, 2] };
/// test_run's packets come by the loopback interface, unless it is told otherwise.
const LOOPBACK: u32 = 1;
/// The capacity that the dispatcher's tables have by default.
const DEFAULT_CAPACITY: u32 = 262_144;

/// How many flows the packets belong to, each a power of two.
const FLOWS: [u32; 4] = [1, 1 << 10, 1 << 16, 1 << 19];
/// Those that the target is about.
const JUDGED: [u32; 2] = [1, 1 << 16];
/// The dispatcher may cost so many times the floor.
const MOST_OVER_FLOOR: f64 = 1.3;

/// The programs, in the slots that the harness continues with.
const SUBJECTS: [&str; 4] = ["XDP_PASS", "XDP_TX", "lean DNAT (floor)", "dispatcher"];
const FLOOR: usize = 2;
const OURS: usize = 3;

/// Measures all cases. The calling thread is tied to a core and in a namespace with an interface of that index.
pub(super) fn measure(name: &str, ifindex: u32, effort: &Effort) -> Result<Section> {
    let mut section = Section::new("packet/cost", "ns per packet", Better::Lower);
    for flows in FLOWS.into_iter().filter(|&flows| flows <= effort.most_flows) {
        let case = case(flows);
        let [harness, programs @ ..] =
            measure_case(name, ifindex, flows, effort).with_context(|| format!("packet/cost, {case}"))?;
        let net = programs.map(|samples| samples.less(&harness));
        let over_floor = net[OURS - 1].over(&net[FLOOR - 1]);
        section.rows.push(Row::new(&case, "harness with XDP_PASS", harness));
        for (subject, samples) in SUBJECTS.iter().skip(1).zip(net) {
            section.rows.push(Row::new(&case, subject, samples));
        }
        if JUDGED.contains(&flows) {
            let what = format!("{case}: dispatcher / lean DNAT");
            section.targets.push(Target::at_most(&what, MOST_OVER_FLOOR, over_floor));
        }
    }
    Ok(section)
}

fn case(flows: u32) -> String {
    match flows {
        1 => "one hot flow".to_owned(),
        flows => format!("{}K flows at random", flows / 1024),
    }
}

fn measure_case(name: &str, ifindex: u32, flows: u32, effort: &Effort) -> Result<[Samples; 4]> {
    // Both directions of every flow, and room: an LRU table that is nearly full evicts before it has to.
    let capacity = DEFAULT_CAPACITY.max(flows * 4);
    let mut real = Real::load(name, capacity)?;
    let mut programs = Programs::load(capacity)?;
    programs.attach(ProgramName::Restore, ifindex)?;
    for (slot, own) in [(0, ProgramName::Pass), (1, ProgramName::Tx), (2, ProgramName::LeanDnat)] {
        programs.choose(slot, own)?;
    }
    programs.choose_foreign(3, &real.program()?)?;
    programs.open_port(1, ifindex)?;
    programs.write_templates([frames::template(CLIENT_SIDE, VIP, Protocol::Tcp); 2])?;
    write_flows(&mut real, &mut programs, ifindex, flows)?;

    let mut samples = [const { Samples::new() }; 4];
    for _ in 0..effort.rounds {
        for (slot, samples) in (0..).zip(&mut samples) {
            samples.push(one_sample(&mut programs, slot, flows, effort)?);
        }
    }
    check(&real, &mut programs, flows, effort)?;
    Ok(samples)
}

/// Nanoseconds per run, the harness's own included.
fn one_sample(programs: &mut Programs, slot: u32, flows: u32, effort: &Effort) -> Result<f64> {
    let course = Course { mask: u64::from(flows - 1), slot, random: 1, ..Course::default() };
    // Every flow once, so that caches hold what they can hold.
    programs.run(flows.max(effort.warm_up), &Course { in_turn: 1, ..course })?;
    let done = programs.run(effort.runs, &course)?;
    ensure!(done.measured * 2 > done.runs, "{} of {} runs were disturbed", done.runs - done.measured, done.runs);
    Ok(done.elapsed_ns as f64 / done.measured as f64)
}

fn write_flows(real: &mut Real, programs: &mut Programs, ifindex: u32, flows: u32) -> Result<()> {
    let backend = real.write_backend(BACKEND_ID, BACKEND, FARM_SIDE, ifindex)?;
    let arrival = Arrival { peer_mac: CLIENT_SIDE.source, local_mac: CLIENT_SIDE.destination, ifindex: LOOPBACK };
    let lean = lean::flow(VIP, BACKEND, FARM_SIDE, 1);
    let mut table = programs.lean_flows()?;
    for flow in 0..u64::from(flows) {
        let key = frames::key(flow, VIP, Protocol::Tcp);
        real.write_flow(&key, (BACKEND_ID, &backend), &arrival)?;
        table.insert(frames::lean_key(&key), lean, 0)?;
        // As many entries as the dispatcher's table has.
        table.insert(frames::lean_key(&key.answered_by(&backend)), lean, 0)?;
    }
    Ok(())
}

/// Both translating programs were measured at their work: every one of their runs counted a packet at its flow.
fn check(real: &Real, programs: &mut Programs, flows: u32, effort: &Effort) -> Result<()> {
    let runs = u64::from(effort.rounds) * u64::from(effort.runs + flows.max(effort.warm_up));
    let table = programs.lean_flows()?;
    let (mut ours, mut lean) = (0, 0);
    for flow in 0..u64::from(flows) {
        let key = frames::key(flow, VIP, Protocol::Tcp);
        ours += real.counted(&key).map_or(0, |(packets, _)| packets);
        lean += table.get(&frames::lean_key(&key), 0).map_or(0, |flow| flow.packets);
    }
    ensure!(ours == runs, "the dispatcher forwarded {ours} of {runs} packets");
    ensure!(lean == runs, "the floor program forwarded {lean} of {runs} packets");
    Ok(())
}
