//! Builds the frames that are generated, and tells which flow each belongs to.

use super::layout::{self, LeanKey, TCP, Template, UDP};
use dispatcher_common::{checksum, flow::FlowKey};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Clients are in 198.18.0.0/15, which is kept for benches (RFC 2544).
const CLIENTS: [u8; 2] = [198, 18];
const FRAME_BYTES: usize = 60;
const TTL: u8 = 64;
const ACK: u8 = 0x10;

/// The MAC addresses of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Who receives it.
    pub(super) destination: [u8; 6],
    /// Who sends it.
    pub(super) source: [u8; 6],
}

/// The transport protocol of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// An acknowledgement within a TCP connection.
    Tcp,
    /// A datagram.
    Udp,
}

impl Protocol {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }
}

/// The template of packets to `destination`, with valid checksums once the flow is written.
pub(super) fn template(link: Link, destination: SocketAddrV4, protocol: Protocol) -> Template {
    let ip = ipv4_header(*destination.ip(), protocol);
    let segment = segment(&ip, destination.port(), protocol);
    let frame = [&link.destination[..], &link.source, &[0x08, 0x00], &ip, &segment].concat();
    let (words, rest) = frame.as_chunks::<8>();
    let mut template = Template { last: u32::from_ne_bytes(first_four(rest)), ..Template::default() };
    template.words.iter_mut().zip(words).for_each(|(word, bytes)| *word = u64::from_ne_bytes(*bytes));
    template
}

fn first_four(bytes: &[u8]) -> [u8; 4] {
    bytes.first_chunk().copied().unwrap_or_default()
}

fn ipv4_header(destination: Ipv4Addr, protocol: Protocol) -> [u8; 20] {
    const LENGTH: u8 = (FRAME_BYTES - 14) as u8;
    let [a, b] = CLIENTS;
    let [e, f, g, h] = destination.octets();
    let mut header = [0x45, 0, 0, LENGTH, 0, 0, 0x40, 0, TTL, protocol.number(), 0, 0, a, b, 0, 0, e, f, g, h];
    let [high, low] = (!checksum::fold(sum(&header))).to_be_bytes();
    (header[10], header[11]) = (high, low);
    header
}

/// A TCP header with 6 bytes of data, or a UDP header with 18; its source port and that part of its sum are left out.
fn segment(ip: &[u8; 20], port: u16, protocol: Protocol) -> [u8; 26] {
    let mut segment = [0; 26];
    let [high, low] = port.to_be_bytes();
    (segment[2], segment[3]) = (high, low);
    let at = match protocol {
        Protocol::Tcp => {
            (segment[12], segment[13]) = (5 << 4, ACK);
            16
        }
        Protocol::Udp => {
            segment[5] = 26;
            6
        }
    };
    // The pseudo header of RFC 9293, 3.1, and of RFC 768.
    let pseudo = sum(ip.last_chunk::<8>().unwrap_or(&[0; 8])) + u32::from(protocol.number()) + 26;
    let [high, low] = (!checksum::fold(pseudo + sum(&segment))).to_be_bytes();
    (segment[at], segment[at + 1]) = (high, low);
    segment
}

/// The sum of big-endian words.
fn sum(bytes: &[u8]) -> u32 {
    bytes.as_chunks().0.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum()
}

/// The key of a flow's packets in the dispatcher's table.
pub(super) fn key(flow: u64, destination: SocketAddrV4, protocol: Protocol) -> FlowKey<[u8; 4]> {
    let ([a, b], [c, d]) = (CLIENTS, layout::source_low(flow).to_be_bytes());
    FlowKey {
        src: [a, b, c, d],
        dst: destination.ip().octets(),
        sport: layout::source_port(flow),
        dport: destination.port(),
        proto: protocol.number(),
        pad: [0; 3],
    }
}

/// The key of a flow's packets in the floor program's table.
pub(super) fn lean_key(key: &FlowKey<[u8; 4]>) -> LeanKey {
    let [a, b, c, d] = key.src;
    LeanKey {
        source: [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])],
        destination: u32::from_ne_bytes(key.dst),
        ports: [key.sport.to_be(), key.dport.to_be()],
        protocol: u32::from(key.proto),
    }
}
