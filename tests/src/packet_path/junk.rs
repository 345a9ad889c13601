//! Frames that nobody should send, and what must hold for every frame whatever it is.

use std::net::IpAddr;

use dispatcher_common::{
    address::{Family, V4, V6},
    counter::{Counter, Stats},
    flow::state,
    service::{Service, ServiceKey, TCP, UDP, flags, forward, mode, scheduler},
};
use fastrand::Rng;

use super::{
    host::{Action, Outcome},
    oracle::{self, Destination, Tuple, Whole},
    packet::Packet,
    scene::{BACKENDS, FARM, PORT, RING, SECOND, SERVICE, Scene, WAN, backend, from_backend, from_client, map_nat},
    world::{Flows, World},
};

/// Ports of the services beside [`PORT`], which the daemon schedules: hashed, `dsr`, with affinity, and where TLS ends
/// here.
const HASHED: u16 = 81;
const DSR: u16 = 82;
const AFFINE: u16 = 83;
const SECURE: u16 = 84;
const PORTS: [u16; 5] = [PORT, HASHED, DSR, AFFINE, SECURE];

/// Names another seed than the usual one.
pub const SEED_VARIABLE: &str = "DISPATCHER_SEED";

/// The seed of mutated frames: always the same, so that a change is to blame for what fails, unless another is named.
#[must_use]
pub fn seed() -> u64 {
    std::env::var(SEED_VARIABLE).map_or(1, |seed| seed.parse().unwrap())
}

/// Tables with services of every kind in both families, and flows in both directions.
#[must_use]
pub fn world(now_ns: u64, position: u64) -> World {
    let mut world = World::new(now_ns, position);
    world.config.upcall_until_ns = u64::MAX;
    world.ports.extend([WAN, FARM]);
    for proto in [TCP, UDP] {
        of_family::<V4>(&mut world, proto, 0);
        of_family::<V6>(&mut world, proto, 2);
    }
    world
}

fn of_family<A: Scene>(world: &mut World, proto: u8, first_backend: u16) {
    let ids = BACKENDS.map(|id| id + first_backend);
    for (index, id) in ids.into_iter().enumerate() {
        world.backends.insert(id, backend::<A>(index));
    }
    let ring = RING + first_backend;
    world.fill_ring(ring, |slot| ids[slot % 2]);
    for (number, port) in (0..).zip(PORTS) {
        let service = Service {
            id: SERVICE + number + 8 * first_backend + 32 * u16::from(proto == UDP),
            ring,
            mode: if port == SECURE { mode::SECURE } else { mode::PACKET },
            scheduler: if port == PORT { scheduler::RR } else { scheduler::MH },
            forward: if port == DSR { forward::DSR } else { forward::NAT },
            flags: if port == AFFINE { flags::AFFINITY_CLIENT_IP } else { 0 },
            affinity_ns: 300 * SECOND,
        };
        world.services.insert(ServiceKey { addr: A::VIP.mapped(), port, proto, pad: 0 }, service);
    }
    map_nat::<A>(world, proto, state::ESTABLISHED, state::ESTABLISHED);
    for flow in A::flows(world).values_mut().filter(|flow| flow.backend == BACKENDS[0]) {
        flow.backend = ids[0];
    }
}

/// Valid frames of every kind, each with the interface it comes in by.
#[must_use]
pub fn templates() -> Vec<(u32, Vec<u8>)> {
    let mut frames = Vec::new();
    for proto in [TCP, UDP] {
        templates_of::<V4>(&mut frames, proto);
        templates_of::<V6>(&mut frames, proto);
    }
    frames
}

fn templates_of<A: Scene>(frames: &mut Vec<(u32, Vec<u8>)>, proto: u8) {
    let client = from_client::<A>(proto);
    for port in PORTS {
        let packet = client.clone().to(A::VIP, port);
        frames.push((WAN, packet.clone().flags("S").frame()));
        frames.push((WAN, packet.from(A::CLIENT, 1024 + port).payload(vec![0xa5; 200]).frame()));
    }
    frames.push((WAN, client.clone().flags("FA").frame()));
    frames.push((WAN, client.clone().without_checksum().frame()));
    frames.push((WAN, client.clone().from(A::CLIENT, 7).flags("R").frame()));
    frames.push((WAN, client.clone().from(A::CLIENT, 8).ttl(1).frame()));
    frames.push((WAN, client.clone().from(A::default(), 9).frame()));
    frames.push((FARM, from_backend::<A>(proto, 0).frame()));
    frames.push((FARM, from_backend::<A>(proto, 1).frame()));
    frames.push((WAN, client.clone().to(A::STRANGER, PORT).frame()));
    frames.push((WAN, Packet { tags: vec![7], ..client.clone() }.frame()));
    frames.push((WAN, Packet { tags: vec![7, 8], ..client.clone() }.frame()));
    frames.push((WAN, Packet { trailer: vec![0; 12], ..client.clone().payload([]) }.frame()));
    if A::IS_V4 {
        frames.push((WAN, Packet { options: vec![1; 40], ..client.clone() }.frame()));
        frames.push((WAN, Packet { fragment: (0, true), ..client.clone() }.frame()));
        frames.push((WAN, Packet { fragment: (9, false), ..client }.frame()));
    } else {
        let chain = |numbers: &[u8]| numbers.iter().map(|&number| (number, vec![0; 7])).collect();
        for numbers in [&[0][..], &[60], &[43], &[44], &[0, 60, 43, 44, 60], &[51]] {
            frames.push((WAN, Packet { extensions: chain(numbers), ..client.clone() }.frame()));
        }
    }
}

/// Changes a frame in one to four ways.
pub fn mutate(rng: &mut Rng, frame: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..=4) {
        mutate_once(rng, frame);
    }
    // Half of the time with a right checksum, so that more than that is looked at.
    if rng.bool() {
        mend_ipv4_checksum(frame);
    }
}

fn mutate_once(rng: &mut Rng, frame: &mut Vec<u8>) {
    // Headers are where the meaning is.
    let at = if frame.is_empty() { return } else { rng.usize(..frame.len().min(90)) };
    match rng.u8(..9) {
        0 => frame[at] ^= 1 << rng.u8(..8),
        1 => frame[at] = *rng.choice(&[0, 1, 4, 5, 6, 0x0f, 0x40, 0x7f, 0x80, 0xf0, 0xff]).unwrap_or(&0),
        2 => frame[at] = rng.u8(..),
        3 => frame.truncate(rng.usize(..=frame.len())),
        4 => frame.extend((0..rng.usize(..64)).map(|_| rng.u8(..)).collect::<Vec<_>>()),
        5 => {
            let inserted: Vec<u8> = (0..rng.usize(1..=8)).map(|_| rng.u8(..)).collect();
            frame.splice(at..at, inserted);
        }
        6 => drop(frame.drain(at..(at + rng.usize(1..=8)).min(frame.len()))),
        7 if frame.len() >= 14 => {
            let tag = *rng.choice(&[[0x81, 0], [0x88, 0xa8], [8, 0], [0x86, 0xdd]]).unwrap_or(&[0, 0]);
            frame.splice(12..12, [tag[0], tag[1], 0, rng.u8(..)]);
        }
        // A field of two bytes at a likely place.
        _ => {
            let at = *rng.choice(&[12, 16, 18, 20, 24, 34, 36, 38, 46, 54, 56, 58, 66]).unwrap_or(&0);
            if let Some(field) = frame.get_mut(at..at + 2) {
                let value = *rng.choice(&[0, 1, 7, 8, 19, 20, 40, 80, 0x2000, 0x7fff, 0xffff]).unwrap_or(&0);
                field.copy_from_slice(&u16::to_be_bytes(value));
            }
        }
    }
}

fn mend_ipv4_checksum(frame: &mut [u8]) {
    let Some(header) = frame.get_mut(14..) else { return };
    let length = usize::from(header.first().map_or(0, |byte| byte & 0xf)) * 4;
    let Some(header) = header.get_mut(..length).filter(|header| header.len() >= 20) else { return };
    header[10..12].copy_from_slice(&[0, 0]);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let checksum = u16::try_from(0xffff - sum % 0xffff).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// What the properties are about: a frame, and what came of it.
pub struct Case<'a> {
    /// The frame, as received.
    pub frame: &'a [u8],
    /// What became of it.
    pub outcome: &'a Outcome,
    /// What was counted for it.
    pub stats: &'a Stats,
    /// Whether it was sent up.
    pub is_up: bool,
    /// Whether flows, client entries or locks were made.
    pub made_entries: bool,
    /// Whether a flow of its 5-tuple was in the tables before.
    pub has_flow: bool,
}

/// True if the flow of a frame is in the tables.
#[must_use]
pub fn has_flow(world: &World, frame: &[u8]) -> bool {
    fn holds<A: Family>(flows: &Flows<A>, tuple: &Tuple) -> bool {
        let address = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().mapped(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let is_it = |key: &dispatcher_common::flow::FlowKey<A>| {
            (key.src.mapped(), key.sport) == (address(tuple.src.0), tuple.src.1)
                && (key.dst.mapped(), key.dport) == (address(tuple.dst.0), tuple.dst.1)
                && key.proto == tuple.proto
        };
        flows.keys().any(is_it)
    }
    oracle::whole(frame).is_some_and(|whole| {
        let is_v4 = whole.tuple.dst.0.is_ipv4();
        if is_v4 { holds(&world.flows4, &whole.tuple) } else { holds(&world.flows6, &whole.tuple) }
    })
}

impl Case<'_> {
    /// Checks everything that must hold for every frame.
    ///
    /// # Errors
    /// With what does not hold.
    pub fn check(&self) -> Result<(), String> {
        let whole = oracle::whole(self.frame);
        let is_ours =
            self.has_flow || whole.as_ref().is_some_and(|whole| is_service(whole.tuple.dst, whole.tuple.proto));
        let goes_on = match self.outcome.action {
            Action::Broken(number) => return Err(format!("the program is broken: action {number}")),
            Action::Tx | Action::Redirect(_) => true,
            Action::Pass | Action::Drop => false,
        };
        if (goes_on || self.is_up || self.made_entries) && !is_ours {
            return Err("it is no whole packet of a service, and was not left alone".to_owned());
        }
        if self.outcome.action == Action::Pass && self.outcome.frame != self.frame {
            return Err("the kernel gets it changed".to_owned());
        }
        if is_foreign(self.frame) && !self.has_flow && self.outcome.action != Action::Pass {
            return Err("its destination is no service".to_owned());
        }
        self.check_counters(goes_on)?;
        match whole {
            Some(before) if goes_on => self.check_forwarded(&before),
            Some(_) | None => Ok(()),
        }
    }

    /// One reason for a packet that does not go on, none for one that does.
    fn check_counters(&self, goes_on: bool) -> Result<(), String> {
        let sum = |counters: &[Counter]| counters.iter().map(|&counter| self.stats.count(counter)).sum::<u64>();
        let passed = sum(Counter::PASSED);
        let dropped = sum(Counter::DROPPED);
        let up = sum(&[Counter::Upcall, Counter::UpcallLocked, Counter::UpcallHeld]);
        let wanted = match self.outcome.action {
            Action::Pass => (1, 0, 0),
            Action::Drop if self.is_up => (0, 0, 1),
            Action::Drop => (0, 1, 0),
            Action::Tx | Action::Redirect(_) | Action::Broken(_) => (0, 0, 0),
        };
        if (passed, dropped, up) != wanted || (goes_on && self.is_up) {
            return Err(format!("passed, dropped, up: {:?} instead of {wanted:?}", (passed, dropped, up)));
        }
        Ok(())
    }

    /// What leaves is whole, has one hop less, carries the same, and its checksum is as right as it was.
    fn check_forwarded(&self, before: &Whole) -> Result<(), String> {
        let Some(after) = oracle::whole(&self.outcome.frame) else { return Err("it left malformed".to_owned()) };
        let wanted = Whole { tuple: after.tuple, ttl: before.ttl.wrapping_sub(1), ..before.clone() };
        if before.ttl <= 1 || after != wanted {
            return Err(format!("it left as {after:?} instead of {wanted:?}"));
        }
        Ok(())
    }
}

fn is_service((address, port): (IpAddr, u16), proto: u8) -> bool {
    let vips = [IpAddr::from(V4::VIP), IpAddr::from(V6::VIP)];
    vips.contains(&address) && PORTS.contains(&port) && matches!(proto, TCP | UDP)
}

/// True if it can be said for sure that a frame's destination is no service.
fn is_foreign(frame: &[u8]) -> bool {
    let holds = |address: &[u8]| frame.windows(address.len()).any(|bytes| bytes == address);
    if !holds(&V4::VIP) && !holds(&V6::VIP) {
        return true;
    }
    match oracle::destination(frame) {
        Destination::Port(address, port, proto) => !is_service((address, port), proto),
        Destination::Address(address) => !PORTS.iter().any(|&port| is_service((address, port), TCP)),
        Destination::Unknown => false,
    }
}

/// How many frames came to which end: so that a test sees that its frames are junk of every kind, and not junk alone.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    forwarded: u64,
    stats: Stats,
}

impl Tally {
    /// Adds what became of a frame.
    pub fn add(&mut self, outcome: &Outcome, stats: &Stats) {
        self.forwarded += u64::from(matches!(outcome.action, Action::Tx | Action::Redirect(_)));
        self.stats.merge(stats);
    }

    /// Asserts that there were a hundred of everything that a frame alone can lead to.
    pub fn assert_variety(&self) {
        let wanted = [
            Counter::NotOurs,
            Counter::NotOursMalformed,
            Counter::Fragment,
            Counter::Tagged,
            Counter::TtlExpired,
            Counter::BadHeader,
            Counter::BadLength,
            Counter::BadChecksum,
            Counter::BadSource,
            Counter::ResetWithoutFlow,
            Counter::Upcall,
            Counter::UpcallLocked,
            Counter::FlowsByHash,
            Counter::FlowsByAffinity,
            Counter::Secure,
            Counter::FlowsLocal,
        ];
        let rare = wanted.iter().filter(|&&counter| self.stats.count(counter) < 100);
        let rare: Vec<&str> = rare.map(|counter| counter.name()).collect();
        assert!(rare.is_empty() && self.forwarded >= 100, "too few frames for {rare:?}: {self:?}");
    }
}
