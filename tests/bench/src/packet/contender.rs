//! Those who forward: each in a test bed of its own, so that all stand ready and are measured in turn.

use super::{
    bed::{BACKENDS, Bed, INWARD, OUTWARD, VIP},
    daemon::RunningDaemon,
    frames::{self, Protocol},
    layout::{Course, LeanFlow, Template},
    lean,
    programs::{ProgramName, Programs},
};
use anyhow::{Context as _, Result};
use dispatcher_common::backend::Backend;
use dispatcher_user::clock::monotonic_ns;
use std::{net::SocketAddrV4, process::Command, thread, time::Duration};

/// The port of the VIP whose flows are forwarded.
pub(super) const PORT: u16 = 53;
/// How long after the last frame was sent a frame may still arrive.
const SETTLES_WITHIN_NS: u64 = 200_000_000;
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Someone who forwards generated frames to two backends.
pub(super) struct Contender {
    /// Its name in the report.
    pub(super) name: &'static str,
    bed: Bed,
    programs: Programs,
    templates: [Template; 2],
    counted_on: Vec<u32>,
    /// The generator's slot of the bed's interface.
    slot: u32,
    /// The daemon, if there is one.
    pub(super) daemon: Option<RunningDaemon>,
}

/// How a slice went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// Frames that were sent.
    pub(super) sent: u64,
    /// Frames that arrived at a backend.
    pub(super) arrived: u64,
    /// From the first frame sent to the last one that arrived.
    pub(super) elapsed_ns: u64,
}

impl Slice {
    /// Frames that arrived in a second.
    pub(super) fn rate(&self) -> f64 {
        self.arrived as f64 * 1e9 / self.elapsed_ns as f64
    }

    /// Nanoseconds for each frame that arrived.
    pub(super) fn cost_ns(&self) -> f64 {
        self.elapsed_ns as f64 / self.arrived as f64
    }
}

/// What forwards.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    /// Nobody: frames are counted where they enter the middle.
    Nobody,
    /// One of the bench's programs.
    Program(ProgramName),
    /// The kernel's routing, which leaves addresses as they are.
    Routing,
    /// The kernel's translation.
    Nftables,
    /// The dispatcher: the binary of that path.
    Dispatcher(&'a std::path::Path),
}

impl Contender {
    /// Builds a contender in namespaces named after `name`, with a table for that many flows, and tells the generator.
    pub(super) fn build(
        (title, kind): (&'static str, Kind<'_>),
        name: &str,
        flows: u32,
        generator: &mut Programs,
        slot: u32,
    ) -> Result<Self> {
        let bed = Bed::build(&format!("{name}-{slot}"))?;
        bed.outside.run(|| generator.open_port(slot, bed.generator))??;
        let mut contender = Self {
            name: title,
            programs: Programs::load(flows.max(1024) * 4)?,
            templates: [frames::template(INWARD, SocketAddrV4::new(VIP, PORT), Protocol::Udp); 2],
            counted_on: bed.backends.to_vec(),
            bed,
            slot,
            daemon: None,
        };
        contender.set_up(kind, flows).with_context(|| format!("cannot set up {title}"))?;
        Ok(contender)
    }

    fn set_up(&mut self, kind: Kind<'_>, flows: u32) -> Result<()> {
        let Self { bed, programs, .. } = self;
        if let Kind::Nobody = kind {
            let [way_in, ..] = bed.inside;
            self.counted_on = vec![way_in];
            return bed.middle.run(|| programs.attach(ProgramName::Sink, way_in))?;
        }
        bed.attach_sinks(programs)?;
        match kind {
            Kind::Nobody => Ok(()),
            Kind::Program(name) => {
                write_lean_flows(programs, flows)?;
                bed.attach_forwarder(programs, name)
            }
            Kind::Routing => {
                self.templates = BACKENDS.map(|to| frames::template(INWARD, to, Protocol::Udp));
                route(bed)
            }
            Kind::Nftables => {
                route(bed)?;
                translate(bed)
            }
            Kind::Dispatcher(binary) => {
                self.daemon = Some(RunningDaemon::start(&bed.middle, binary, flows)?);
                Ok(())
            }
        }
    }

    /// Sends frames to another port of the VIP from now on.
    pub(super) fn aim_at(&mut self, port: u16) {
        self.templates = [frames::template(INWARD, SocketAddrV4::new(VIP, port), Protocol::Udp); 2];
    }

    /// Sends frames of the flows that `course` says, and waits until all have arrived or none comes any more.
    pub(super) fn forward(&self, generator: &mut Programs, frames: u32, course: &Course) -> Result<Slice> {
        generator.write_templates(self.templates)?;
        let before = self.arrived()?;
        let start_ns = monotonic_ns();
        generator.generate(frames, &Course { slot: self.slot, random: start_ns, ..*course })?;
        let (mut end_ns, mut arrived, sent) = (monotonic_ns(), self.arrived()? - before, u64::from(frames));
        while arrived < sent && monotonic_ns() - end_ns < SETTLES_WITHIN_NS {
            thread::sleep(LOOK_EVERY);
            let now = self.arrived()? - before;
            if now != arrived {
                (arrived, end_ns) = (now, monotonic_ns());
            }
        }
        Ok(Slice { sent, arrived, elapsed_ns: end_ns - start_ns })
    }

    /// Frames that each backend has had.
    pub(super) fn shares(&self) -> Result<Vec<u64>> {
        self.counted_on.iter().map(|&ifindex| Ok(self.programs.arrivals(ifindex)?.packets)).collect()
    }

    fn arrived(&self) -> Result<u64> {
        Ok(self.shares()?.iter().sum())
    }
}

/// Lets the kernel forward, to neighbours that need not be asked for.
fn route(bed: &Bed) -> Result<()> {
    bed.middle.sysctl(&[("net/ipv4/ip_forward", "1")])?;
    let lines: Vec<String> = [("out1", BACKENDS[0], OUTWARD[0]), ("out2", BACKENDS[1], OUTWARD[1])]
        .into_iter()
        .map(|(device, to, link)| {
            let mac = link.destination.map(|byte| format!("{byte:02x}")).join(":");
            format!("neigh replace {} lladdr {mac} dev {device} nud permanent", to.ip())
        })
        .collect();
    Ok(bed.middle.ip(&lines)?)
}

/// Lets the kernel translate: flows to the two backends in turn.
fn translate(bed: &Bed) -> Result<()> {
    let [one, other] = BACKENDS.map(|to| format!("{} . {}", to.ip(), to.port()));
    let rules = format!(
        "table ip bench {{ chain prerouting {{ type nat hook prerouting priority dstnat; \
         ip daddr {VIP} udp dport {PORT} dnat ip to numgen inc mod 2 map {{ 0 : {one}, 1 : {other} }}; }}; }}"
    );
    bed.middle.succeed(Command::new("nft").arg(rules))?;
    Ok(())
}

fn write_lean_flows(programs: &mut Programs, flows: u32) -> Result<()> {
    let vip = SocketAddrV4::new(VIP, PORT);
    let mut table = programs.lean_flows()?;
    let sides = BACKENDS.into_iter().zip(OUTWARD).zip(1..).cycle();
    for (flow, ((to, link), slot)) in (0..u64::from(flows)).zip(sides) {
        let key = frames::key(flow, vip, Protocol::Udp);
        table.insert(frames::lean_key(&key), lean::flow(vip, to, link, slot), 0)?;
        let backend = Backend { port: to.port(), ..Backend::default() };
        table.insert(frames::lean_key(&key.answered_by(&backend)), LeanFlow::default(), 0)?;
    }
    Ok(())
}
