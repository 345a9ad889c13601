//! Writes a forwarded packet's new headers; in the kernel for mapped packets, in the daemon for held ones.

use crate::{
    address::{Family, V4},
    checksum,
    packet::PacketMut,
    parse::Headers,
    service::TCP,
    verdict::{Endpoint, Forward, Hop, Translation},
};

/// What taking one from a TTL adds to the IPv4 header's sum: the TTL is the high byte of its word.
const TTL_DELTA: u16 = 0xfeff;

/// Rewrites `packet` as `forward` says: MAC addresses, TTL or hop limit, addresses, ports and checksums.
///
/// `headers` are those that [`crate::parse::parse`] read from the same packet, with a TTL above 1.
///
/// Gives nothing if the packet ends before its headers do, which a parsed one never does.
#[inline(always)]
pub fn apply<A: Family, P: PacketMut + ?Sized>(
    packet: &mut P,
    headers: &Headers<A>,
    forward: &Forward<A>,
) -> Option<()> {
    ethernet(packet, &forward.hop)?;
    match forward.translation {
        Translation::None => network(packet, headers, 0),
        Translation::Destination(endpoint) => {
            network(packet, headers, endpoint.delta)?;
            write_address(packet, usize::from(headers.l3) + destination_offset::<A>(), endpoint.address)?;
            packet.write(usize::from(headers.l4) + 2, endpoint.port.to_be_bytes())?;
            transport(packet, headers, &endpoint, headers.key.dport)
        }
        Translation::Source(endpoint) => {
            network(packet, headers, endpoint.delta)?;
            write_address(packet, usize::from(headers.l3) + source_offset::<A>(), endpoint.address)?;
            packet.write(usize::from(headers.l4), endpoint.port.to_be_bytes())?;
            transport(packet, headers, &endpoint, headers.key.sport)
        }
    }
}

#[inline(always)]
fn ethernet<P: PacketMut + ?Sized>(packet: &mut P, hop: &Hop) -> Option<()> {
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (hop.mac, hop.source_mac);
    packet.write(0, [a, b, c, d, e, f, g, h, i, j, k, l])
}

/// Takes one from TTL or hop limit; for IPv4 also updates the header checksum, by that and by `delta`.
#[inline(always)]
fn network<A: Family, P: PacketMut + ?Sized>(packet: &mut P, headers: &Headers<A>, delta: u16) -> Option<()> {
    let ttl = headers.ttl.wrapping_sub(1);
    if !A::IS_V4 {
        return packet.write(usize::from(headers.l3) + 7, [ttl]);
    }
    let sum = u16::from_be_bytes(packet.read(usize::from(headers.l3) + 10)?);
    let both = checksum::fold(u32::from(TTL_DELTA) + u32::from(delta));
    packet.write(usize::from(headers.l3) + 8, [ttl])?;
    packet.write(usize::from(headers.l3) + 10, checksum::update(sum, both).to_be_bytes())
}

#[inline(always)]
const fn source_offset<A: Family>() -> usize {
    if A::IS_V4 { 12 } else { 8 }
}

#[inline(always)]
const fn destination_offset<A: Family>() -> usize {
    if A::IS_V4 { 16 } else { 24 }
}

#[inline(always)]
fn write_address<A: Family, P: PacketMut + ?Sized>(packet: &mut P, offset: usize, address: A) -> Option<()> {
    if A::IS_V4 {
        packet.write(offset, V4::from_mapped(&address.mapped()))
    } else {
        packet.write(offset, address.mapped())
    }
}

/// Updates the TCP or UDP checksum for a changed address and port.
///
/// A UDP checksum of zero means "none" and stays zero; one that comes out as zero is sent as 0xffff (RFC 768).
#[inline(always)]
fn transport<A: Family, P: PacketMut + ?Sized>(
    packet: &mut P,
    headers: &Headers<A>,
    endpoint: &Endpoint<A>,
    old_port: u16,
) -> Option<()> {
    let tcp = headers.key.proto == TCP;
    let offset = usize::from(headers.l4) + if tcp { 16 } else { 6 };
    let old = u16::from_be_bytes(packet.read(offset)?);
    if !tcp && old == 0 {
        return Some(());
    }
    let port_delta = checksum::delta(u32::from(old_port), u32::from(endpoint.port));
    let new = checksum::update(old, checksum::fold(u32::from(endpoint.delta) + u32::from(port_delta)));
    packet.write(offset, if !tcp && new == 0 { [0xff; 2] } else { new.to_be_bytes() })
}
