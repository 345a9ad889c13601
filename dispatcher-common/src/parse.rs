//! Reads a frame's headers: Ethernet, VLAN tags, IPv4 or IPv6, TCP or UDP.
//!
//! Parsing never judges. A fault is noted beside the key, because a malformed packet is dropped only if it is for a
//! service and otherwise is none of our business.

use crate::{
    address::{Family, V4, V6},
    checksum,
    counter::Counter,
    flow::{Arrival, FlowKey},
    packet::Packet,
    service::{TCP, UDP},
};

/// Bytes of an untagged Ethernet header.
pub const ETHERNET_BYTES: usize = 14;
/// TCP flag FIN.
pub const FIN: u8 = 0x01;
/// TCP flag SYN.
pub const SYN: u8 = 0x02;
/// TCP flag RST.
pub const RST: u8 = 0x04;
/// TCP flag ACK.
pub const ACK: u8 = 0x10;

/// IPv6 extension headers that are followed; a longer chain is no service's packet.
const MAX_EXTENSIONS: usize = 6;

/// A frame with TCP or UDP ports, or anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// TCP or UDP over IPv4.
    V4(Headers<V4>),
    /// TCP or UDP over IPv6.
    V6(Headers<V6>),
    /// Not for a service, whatever it is.
    Other,
}

/// What the headers of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<A: Family> {
    /// The 5-tuple. The ports are zero in a fragment.
    pub key: FlowKey<A>,
    /// Who sent the frame, and to which of our MAC addresses. The caller adds the interface.
    pub arrival: Arrival,
    /// Bytes of the frame.
    pub length: u32,
    /// Offset of the IP header.
    pub l3: u16,
    /// Offset of the TCP or UDP header.
    pub l4: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TCP flags; zero for UDP.
    pub tcp_flags: u8,
    /// Why the packet cannot be dispatched, if it cannot.
    pub fault: Option<Counter>,
}

impl<A: Family> Headers<A> {
    /// True if the packet is TCP and has all bits of `flags` set.
    #[inline(always)]
    pub fn has(&self, flags: u8) -> bool {
        self.tcp_flags & flags == flags
    }

    /// True if the packet opens a TCP connection.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.tcp_flags & (SYN | ACK | RST) == SYN
    }
}

/// What a frame carries, as far as its type field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4.
    V4(Link),
    /// IPv6.
    V6(Link),
    /// Anything else, and frames for or from groups of hosts.
    Other,
}

/// What the link layer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    arrival: Arrival,
    l3: usize,
    fault: Option<Counter>,
}

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const C_TAG: [u8; 2] = [0x81, 0x00];
const S_TAG: [u8; 2] = [0x88, 0xa8];

/// Reads the headers of `packet`, received on interface `ifindex`.
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P, ifindex: u32) -> Parsed {
    match link(packet, ifindex) {
        Network::V4(link) => ipv4(packet, link).map_or(Parsed::Other, Parsed::V4),
        Network::V6(link) => ipv6(packet, link).map_or(Parsed::Other, Parsed::V6),
        Network::Other => Parsed::Other,
    }
}

/// Reads the Ethernet header with up to two VLAN tags (IEEE 802.1Q, 802.1ad).
#[inline(always)]
pub fn link<P: Packet + ?Sized>(packet: &P, ifindex: u32) -> Network {
    let Some(ethernet) = packet.read::<ETHERNET_BYTES>(0) else { return Network::Other };
    let [a, b, c, d, e, f, g, h, i, j, k, l, type_high, type_low] = ethernet;
    if (a | g) & 1 != 0 {
        // A frame for a group of hosts is not sent on by any router (RFC 1812, 5.3.4). None comes from a group (IEEE
        // 802.3, 3.2.3): answers would go there.
        return Network::Other;
    }
    let (mut l3, mut ether_type, mut fault) = (ETHERNET_BYTES, [type_high, type_low], None);
    for _ in 0..2 {
        if matches!(ether_type, C_TAG | S_TAG) {
            let Some(inner) = packet.read(l3 + 2) else { return Network::Other };
            (l3, ether_type, fault) = (l3 + 4, inner, Some(Counter::Tagged));
        }
    }
    let arrival = Arrival { local_mac: [a, b, c, d, e, f], peer_mac: [g, h, i, j, k, l], ifindex };
    match ether_type {
        IPV4 => Network::V4(Link { arrival, l3, fault }),
        IPV6 => Network::V6(Link { arrival, l3, fault }),
        _ => Network::Other,
    }
}

/// Reads an IPv4 header (RFC 791) and what follows; nothing if it is no TCP or UDP.
#[inline(always)]
pub fn ipv4<P: Packet + ?Sized>(packet: &P, link: Link) -> Option<Headers<V4>> {
    let Link { arrival, l3, mut fault } = link;
    let header = packet.read::<20>(l3)?;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let header_bytes = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || header_bytes < 20 {
        fault = fault.or(Some(Counter::BadHeader));
    } else if !is_ipv4_sum_valid(packet, l3, &header, header_bytes) {
        fault = fault.or(Some(Counter::BadChecksum));
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let key = FlowKey {
        src: [header[12], header[13], header[14], header[15]],
        dst: [header[16], header[17], header[18], header[19]],
        sport: 0,
        dport: 0,
        proto: header[9],
        pad: [0; 3],
    };
    let layers = Layers { l3, l4: l3 + header_bytes, end: l3 + total, ttl: header[8], fragment, fault };
    transport(packet, key, arrival, layers)
}

/// Sums an IPv4 header with its options.
#[inline(always)]
fn is_ipv4_sum_valid<P: Packet + ?Sized>(packet: &P, l3: usize, header: &[u8; 20], header_bytes: usize) -> bool {
    let sum = u32::from(checksum::ipv4_header_sum(header));
    options_sum(packet, l3 + 20, header_bytes - 20).is_some_and(|options| checksum::fold(sum + options) == 0xffff)
}

/// Sums `length` bytes of options: a multiple of four, 40 at most.
///
/// It reads by the bits of `length` and not word by word: from a loop the compiler makes arithmetic on the frame's end,
/// which the verifier refuses.
#[inline(always)]
fn options_sum<P: Packet + ?Sized>(packet: &P, mut offset: usize, length: usize) -> Option<u32> {
    let mut sum = 0;
    if length & 32 != 0 {
        sum += checksum::sum(&packet.read::<32>(offset)?);
        offset += 32;
    }
    if length & 16 != 0 {
        sum += checksum::sum(&packet.read::<16>(offset)?);
        offset += 16;
    }
    if length & 8 != 0 {
        sum += checksum::sum(&packet.read::<8>(offset)?);
        offset += 8;
    }
    if length & 4 != 0 {
        sum += checksum::sum(&packet.read::<4>(offset)?);
    }
    Some(sum)
}

/// Reads an IPv6 header (RFC 8200) with its extension headers, and what follows; nothing if it is no TCP or UDP.
#[inline(always)]
pub fn ipv6<P: Packet + ?Sized>(packet: &P, link: Link) -> Option<Headers<V6>> {
    let Link { arrival, l3, mut fault } = link;
    let header = packet.read::<40>(l3)?;
    if header[0] >> 4 != 6 {
        fault = fault.or(Some(Counter::BadHeader));
    }
    let mut addresses = [0; 32];
    addresses.copy_from_slice(header.split_at(8).1);
    let (proto, l4, fragment) = skip_extensions(packet, header[6], l3 + 40)?;
    let key =
        FlowKey { src: first_half(&addresses), dst: second_half(&addresses), sport: 0, dport: 0, proto, pad: [0; 3] };
    let end = l3 + 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let layers = Layers { l3, l4, end, ttl: header[7], fragment, fault };
    transport(packet, key, arrival, layers)
}

#[inline(always)]
fn first_half(addresses: &[u8; 32]) -> V6 {
    let mut half = [0; 16];
    half.copy_from_slice(addresses.split_at(16).0);
    half
}

#[inline(always)]
fn second_half(addresses: &[u8; 32]) -> V6 {
    let mut half = [0; 16];
    half.copy_from_slice(addresses.split_at(16).1);
    half
}

/// Walks the extension headers; gives the transport protocol, its offset, and whether the packet is a fragment.
#[inline(always)]
fn skip_extensions<P: Packet + ?Sized>(packet: &P, first: u8, start: usize) -> Option<(u8, usize, bool)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let (mut next, mut offset, mut fragment) = (first, start, false);
    for _ in 0..MAX_EXTENSIONS {
        if matches!(next, TCP | UDP) || fragment {
            return Some((next, offset, fragment));
        }
        let [following, length, high, low] = packet.read::<4>(offset)?;
        match next {
            // A source route that has not ended leads elsewhere first.
            ROUTING if low != 0 => return None,
            // It stands first or nowhere (RFC 8200, 4.1).
            HOP_BY_HOP if offset != start => return None,
            HOP_BY_HOP | DESTINATION | ROUTING => offset += usize::from(length) * 8 + 8,
            FRAGMENT => {
                // The low three bits: two reserved, and the flag "more fragments".
                fragment = u16::from_be_bytes([high, low]) & 0xfff9 != 0;
                offset += 8;
            }
            _ => return None,
        }
        next = following;
    }
    (matches!(next, TCP | UDP) || fragment).then_some((next, offset, fragment))
}

/// What the network layer said.
#[derive(Clone, Copy)]
struct Layers {
    l3: usize,
    l4: usize,
    /// Offset at which the packet ends by its own length field.
    end: usize,
    ttl: u8,
    fragment: bool,
    fault: Option<Counter>,
}

/// Reads ports, flags and lengths of TCP (RFC 9293) and UDP (RFC 768); nothing for other protocols.
#[expect(clippy::cast_possible_truncation, reason = "no frame has 2^16 bytes, and no header starts beyond its end")]
#[inline(always)]
fn transport<A: Family, P: Packet + ?Sized>(
    packet: &P,
    mut key: FlowKey<A>,
    arrival: Arrival,
    layers: Layers,
) -> Option<Headers<A>> {
    let Layers { l3, l4, end, ttl, fragment, mut fault } = layers;
    let length = packet.length();
    let mut tcp_flags = 0;
    if !matches!(key.proto, TCP | UDP) {
        return None;
    }
    if fragment {
        fault = fault.or(Some(Counter::Fragment));
    } else {
        let [a, b, c, d] = packet.read::<4>(l4)?;
        key.sport = u16::from_be_bytes([a, b]);
        key.dport = u16::from_be_bytes([c, d]);
        let ends = if key.proto == TCP { tcp_ends(packet, l4, &mut tcp_flags) } else { udp_ends(packet, l4) };
        fault = fault.or(match ends {
            None => Some(Counter::BadLength),
            Some(None) => Some(Counter::BadHeader),
            Some(Some(needed)) if l4 + needed > end || end > length => Some(Counter::BadLength),
            Some(Some(_)) => None,
        });
    }
    Some(Headers { key, arrival, length: length as u32, l3: l3 as u16, l4: l4 as u16, ttl, tcp_flags, fault })
}

/// Bytes that a TCP header claims; nothing if it is cut off, or an inner nothing if the claim is impossible.
#[inline(always)]
fn tcp_ends<P: Packet + ?Sized>(packet: &P, l4: usize, flags: &mut u8) -> Option<Option<usize>> {
    let header = packet.read::<20>(l4)?;
    *flags = header[13];
    let bytes = usize::from(header[12] >> 4) * 4;
    Some((bytes >= 20).then_some(bytes))
}

/// Bytes that a UDP header claims for itself and its data; as [`tcp_ends`].
#[inline(always)]
fn udp_ends<P: Packet + ?Sized>(packet: &P, l4: usize) -> Option<Option<usize>> {
    let header = packet.read::<8>(l4)?;
    let bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
    Some((bytes >= 8).then_some(bytes))
}
