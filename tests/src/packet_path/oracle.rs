//! What a frame is, by an implementation that shares nothing with the dispatcher's.

use std::net::IpAddr;

use etherparse::{
    EtherType, LaxNetSlice, LaxSlicedPacket, NetSlice, SlicedPacket, TcpHeader, TcpSlice, TransportSlice, UdpHeader,
    UdpSlice,
};

/// A 5-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address and port.
    pub src: (IpAddr, u16),
    /// Destination address and port.
    pub dst: (IpAddr, u16),
    /// 6 or 17.
    pub proto: u8,
}

/// A packet that nothing is wrong with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// What it is part of.
    pub tuple: Tuple,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Whether its TCP or UDP checksum is right; a datagram over IPv4 need not have one.
    pub has_right_checksum: bool,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Where a frame that may be malformed is going, as far as that can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To an address and port.
    Port(IpAddr, u16, u8),
    /// To an address; what is behind its header cannot be read.
    Address(IpAddr),
    /// It cannot be said.
    Unknown,
}

/// Reads a frame that is a whole packet of TCP or UDP: untagged, from one host to one, unfragmented, every length right, and in
/// IPv4 the header's checksum too. Nothing for any other frame.
#[must_use]
pub fn whole(frame: &[u8]) -> Option<Whole> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    if (frame[0] | frame[6]) & 1 != 0 || !packet.link_exts.is_empty() {
        return None;
    }
    let (src, dst, ttl): (IpAddr, IpAddr, u8) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) if !ip.is_payload_fragmented() && is_sum_right(ip.header().slice()) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), header.ttl())
        }
        // A length of zero is a jumbogram's, which no Ethernet frame carries.
        NetSlice::Ipv6(ip) if !ip.is_payload_fragmented() && ip.header().payload_length() != 0 => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), header.hop_limit())
        }
        NetSlice::Ipv4(_) | NetSlice::Ipv6(_) | NetSlice::Arp(_) => return None,
    };
    let (ports, proto, has_right_checksum, payload) = match packet.transport? {
        TransportSlice::Tcp(tcp) => {
            ((tcp.source_port(), tcp.destination_port()), 6, is_tcp_right(&tcp, src, dst), tcp.payload().to_vec())
        }
        TransportSlice::Udp(udp) if udp.length() != 0 => {
            ((udp.source_port(), udp.destination_port()), 17, is_udp_right(&udp, src, dst), udp.payload().to_vec())
        }
        TransportSlice::Udp(_) | TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => {
            return None;
        }
    };
    let tuple = Tuple { src: (src, ports.0), dst: (dst, ports.1), proto };
    Some(Whole { tuple, ttl, has_right_checksum, payload })
}

/// Where a frame is going.
#[must_use]
pub fn destination(frame: &[u8]) -> Destination {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else { return Destination::Unknown };
    // It reads an IP header by its version, whatever the frame's type says; where they differ, nobody can say.
    let ether_type = packet.ether_payload().map(|payload| payload.ether_type);
    let address: IpAddr = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) if ether_type == Some(EtherType::IPV4) => ip.header().destination_addr().into(),
        Some(LaxNetSlice::Ipv6(ip)) if ether_type == Some(EtherType::IPV6) => ip.header().destination_addr().into(),
        Some(LaxNetSlice::Ipv4(_) | LaxNetSlice::Ipv6(_) | LaxNetSlice::Arp(_)) | None => return Destination::Unknown,
    };
    match packet.transport {
        Some(TransportSlice::Tcp(tcp)) => Destination::Port(address, tcp.destination_port(), 6),
        Some(TransportSlice::Udp(udp)) => Destination::Port(address, udp.destination_port(), 17),
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_)) | None => {
            Destination::Address(address)
        }
    }
}

/// True if the words of a header sum to zero, in ones' complement (RFC 1071).
fn is_sum_right(header: &[u8]) -> bool {
    let words = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    words.sum::<u32>() % 0xffff == 0
}

fn is_tcp_right(tcp: &TcpSlice<'_>, src: IpAddr, dst: IpAddr) -> bool {
    let (header, payload): (TcpHeader, _) = (tcp.to_header(), tcp.payload());
    let computed = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => header.calc_checksum_ipv4_raw(src.octets(), dst.octets(), payload),
        (IpAddr::V6(src), IpAddr::V6(dst)) => header.calc_checksum_ipv6_raw(src.octets(), dst.octets(), payload),
        _ => return false,
    };
    computed.is_ok_and(|computed| is_same(computed, tcp.checksum()))
}

fn is_udp_right(udp: &UdpSlice<'_>, src: IpAddr, dst: IpAddr) -> bool {
    let (header, payload): (UdpHeader, _) = (udp.to_header(), udp.payload());
    let computed = match (src, dst) {
        (IpAddr::V4(_), IpAddr::V4(_)) if header.checksum == 0 => return true,
        (IpAddr::V4(src), IpAddr::V4(dst)) => header.calc_checksum_ipv4_raw(src.octets(), dst.octets(), payload),
        (IpAddr::V6(src), IpAddr::V6(dst)) => header.calc_checksum_ipv6_raw(src.octets(), dst.octets(), payload),
        _ => return false,
    };
    header.checksum != 0 && computed.is_ok_and(|computed| is_same(computed, header.checksum))
}

/// Zero is both 0 and 0xffff in ones' complement.
fn is_same(one: u16, other: u16) -> bool {
    one % 0xffff == other % 0xffff
}
