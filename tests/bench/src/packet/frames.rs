//! Builds the frames that are generated, and tells which flow each belongs to.

use super::layout::{self, LeanKey, TCP, Template, UDP};
use dispatcher_common::{checksum, flow::FlowKey};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Clients are in 198.18.0.0/15, which is kept for benches (RFC 2544).
const CLIENTS: [u8; 2] = [198, 18];
/// Bytes of the IPv4 packet: the shortest frame of Ethernet, less its header.
const IP_BYTES: u8 = 46;
const SEGMENT_BYTES: u8 = IP_BYTES - 20;
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
    let [a, b] = CLIENTS;
    let [e, f, g, h] = destination.octets();
    let mut header = [0x45, 0, 0, IP_BYTES, 0, 0, 0x40, 0, TTL, protocol.number(), 0, 0, a, b, 0, 0, e, f, g, h];
    [header[10], header[11]] = (!checksum::fold(sum(&header))).to_be_bytes();
    header
}

/// A TCP header with 6 bytes of data, or a UDP header with 18; its source port and that part of its sum are left out.
fn segment(ip: &[u8; 20], port: u16, protocol: Protocol) -> [u8; SEGMENT_BYTES as usize] {
    let mut segment = [0; SEGMENT_BYTES as usize];
    [segment[2], segment[3]] = port.to_be_bytes();
    match protocol {
        Protocol::Tcp => (segment[12], segment[13]) = (5 << 4, ACK),
        Protocol::Udp => segment[5] = SEGMENT_BYTES,
    }
    // The pseudo header of RFC 9293, 3.1, and of RFC 768.
    let pseudo = sum(ip.last_chunk::<8>().unwrap_or(&[0; 8])) + u32::from(protocol.number()) + u32::from(SEGMENT_BYTES);
    let sum = (!checksum::fold(pseudo + sum(&segment))).to_be_bytes();
    match protocol {
        Protocol::Tcp => [segment[16], segment[17]] = sum,
        Protocol::Udp => [segment[6], segment[7]] = sum,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use dispatcher_common::parse::{Parsed, parse};

    const TO: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 53);

    /// What the eBPF program makes of a template: it writes the flow, and adds that to the sums.
    fn frame(template: &Template, flow: u64, protocol: Protocol) -> Vec<u8> {
        let mut frame: Vec<u8> = template.words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        frame.extend(template.last.to_ne_bytes());
        let (low, port) = (layout::source_low(flow), layout::source_port(flow));
        frame[28..30].copy_from_slice(&low.to_be_bytes());
        frame[34..36].copy_from_slice(&port.to_be_bytes());
        let mut add = |at: usize, words: u32| {
            let sum = u16::from_be_bytes([frame[at], frame[at + 1]]);
            let sum = !checksum::fold(u32::from(!sum) + words);
            frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        };
        add(24, u32::from(low));
        add(if protocol == Protocol::Tcp { 50 } else { 40 }, u32::from(low) + u32::from(port));
        frame
    }

    #[test]
    fn frames_are_what_the_dispatcher_takes_and_belong_to_their_flow() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let template = template(Link::default(), TO, protocol);
            for flow in [0, 1, 255, 65_535, 65_536, 400_000] {
                let frame = frame(&template, flow, protocol);
                let Parsed::V4(headers) = parse(&frame[..], 1) else { panic!("{protocol:?}: not parsed") };
                assert_eq!(headers.fault, None, "{protocol:?}, flow {flow}");
                assert_eq!(headers.key, key(flow, TO, protocol));
                let pseudo = sum(&frame[26..34]) + u32::from(protocol.number()) + u32::from(SEGMENT_BYTES);
                assert_eq!(checksum::fold(pseudo + sum(&frame[34..])), 0xffff, "{protocol:?}, flow {flow}");
            }
        }
    }
}
