//! A test bed: a generator and two backends around a namespace that forwards, joined by virtual cables.
//!
//! ```text
//!  outside              middle                       outside
//!  gen0 ──────────── in0  (forwards)  out1 ──────────── b1  10.77.1.11
//!                                     out2 ──────────── b2  10.77.2.11
//! ```

use super::{
    frames::Link,
    programs::{ProgramName, Programs},
};
use anyhow::{Context as _, Result};
use dispatcher_lab::Namespace;
use nix::net::if_::if_nametoindex;
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    process::Command,
};

/// The address that clients use.
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Where the backends serve.
pub(super) const BACKENDS: [SocketAddrV4; 2] =
    [SocketAddrV4::new(Ipv4Addr::new(10, 77, 1, 11), 5353), SocketAddrV4::new(Ipv4Addr::new(10, 77, 2, 11), 5353)];
/// Generated frames go from the generator's cable to the middle.
pub(super) const INWARD: Link = Link { destination: mac(1), source: mac(2) };
/// How frames leave for each backend.
pub(super) const OUTWARD: [Link; 2] =
    [Link { destination: mac(4), source: mac(3) }, Link { destination: mac(6), source: mac(5) }];

const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

/// The namespaces of one contender. Everything is gone when it is dropped.
pub(super) struct Bed {
    /// Where generator and backends are.
    pub(super) outside: Namespace,
    /// What is measured.
    pub(super) middle: Namespace,
    /// The interface that frames are sent from.
    pub(super) generator: u32,
    /// The way in and the ways out of the middle.
    pub(super) inside: [u32; 3],
    /// The backends' interfaces.
    pub(super) backends: [u32; 2],
}

impl Bed {
    /// Builds the namespaces, named after `name`.
    pub(super) fn build(name: &str) -> Result<Self> {
        let outside = Namespace::create(&format!("{name}-o"))?;
        let middle = Namespace::create(&format!("{name}-m"))?;
        for namespace in [&outside, &middle] {
            // Before the interfaces are there, which inherit it: nothing but generated frames may move.
            namespace.sysctl(&[
                ("net/ipv6/conf/all/disable_ipv6", "1"),
                ("net/ipv6/conf/default/disable_ipv6", "1"),
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
            ])?;
        }
        cable(&outside, &middle)?;
        let index = |namespace: &Namespace, name: &'static str| -> Result<u32> {
            namespace.run(|| if_nametoindex(name))?.with_context(|| format!("there is no {name}"))
        };
        Ok(Self {
            generator: index(&outside, "gen0")?,
            inside: [index(&middle, "in0")?, index(&middle, "out1")?, index(&middle, "out2")?],
            backends: [index(&outside, "b1")?, index(&outside, "b2")?],
            outside,
            middle,
        })
    }

    /// Attaches the sink to both backends.
    pub(super) fn attach_sinks(&self, programs: &mut Programs) -> Result<()> {
        self.outside.run(|| self.backends.iter().try_for_each(|&at| programs.attach(ProgramName::Sink, at)))?
    }

    /// Attaches a program that forwards, with the ways out in slots 1 and 2.
    pub(super) fn attach_forwarder(&self, programs: &mut Programs, name: ProgramName) -> Result<()> {
        let [way_in, ways_out @ ..] = self.inside;
        self.middle.run(|| {
            for (slot, way_out) in (1..).zip(ways_out) {
                programs.open_port(slot, way_out)?;
            }
            programs.attach(name, way_in)
        })?
    }
}

fn cable(outside: &Namespace, middle: &Namespace) -> Result<()> {
    let ends = [("gen0", mac(2), "in0", mac(1)), ("b1", mac(4), "out1", mac(3)), ("b2", mac(6), "out2", mac(5))];
    for (end, its_mac, other, other_mac) in ends {
        let (its_mac, other_mac) = (written(its_mac), written(other_mac));
        outside.ip(&[format!(
            "link add name {end} address {its_mac} type veth peer name {other} address {other_mac} netns {}",
            middle.name()
        )])?;
        let both = [(outside, end), (middle, other)];
        both.iter().try_for_each(|(namespace, name)| namespace.ip(&[format!("link set {name} up")]))?;
        // A veth takes redirected frames only if its receiving end polls, which GRO or XDP makes it do. Its sending end
        // hears of that only while it is up.
        for (namespace, name) in both {
            let mut ethtool = Command::new("ethtool");
            namespace.succeed(ethtool.args(["-K", name, "gro", "on", "tx", "off", "tso", "off", "gso", "off"]))?;
        }
    }
    outside.ip(&["addr add 10.77.1.11/24 dev b1", "addr add 10.77.2.11/24 dev b2"])?;
    middle.ip(&[
        "addr add 198.19.255.254/15 dev in0",
        "addr add 10.77.1.1/24 dev out1",
        "addr add 10.77.2.1/24 dev out2",
    ])?;
    Ok(())
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
