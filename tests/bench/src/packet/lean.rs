//! Works out what the floor program writes: the same as the dispatcher does.

use super::{frames::Link, layout::LeanFlow};
use dispatcher_common::checksum;
use std::net::{Ipv4Addr, SocketAddrV4};

/// What taking one from a TTL adds to the header's sum.
const TTL_DELTA: u16 = 0xfeff;

/// The entry of a flow whose packets to `from` go to `to` through slot `slot`.
pub(super) fn flow(from: SocketAddrV4, to: SocketAddrV4, link: Link, slot: u16) -> LeanFlow {
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (link.destination, link.source);
    let address = u32::from(checksum::delta(sum(*from.ip()), sum(*to.ip())));
    let port = u32::from(checksum::delta(u32::from(from.port()), u32::from(to.port())));
    LeanFlow {
        ethernet_head: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        ethernet_tail: u32::from_ne_bytes([i, j, k, l]),
        address: u32::from_ne_bytes(to.ip().octets()),
        port: to.port().to_be(),
        ip_delta: checksum::fold(address + u32::from(TTL_DELTA)).to_be(),
        transport_delta: checksum::fold(address + port).to_be(),
        slot,
        ..LeanFlow::default()
    }
}

fn sum(address: Ipv4Addr) -> u32 {
    let [a, b, c, d] = address.octets();
    u32::from(u16::from_be_bytes([a, b])) + u32::from(u16::from_be_bytes([c, d]))
}
