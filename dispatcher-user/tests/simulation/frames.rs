//! Frames of simulated hosts: valid headers, and a payload that names the packet.

use std::net::{IpAddr, SocketAddr};

use dispatcher_common::{
    checksum,
    parse::{Parsed, parse},
};

/// Our MAC address on every interface.
pub(crate) const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Who talks to which VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tuple {
    pub(crate) client: SocketAddr,
    pub(crate) vip: SocketAddr,
    pub(crate) udp: bool,
}

/// Which packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Flow number.
    pub(crate) flow: u32,
    /// Place within the flow.
    pub(crate) seq: u32,
    /// No two packets have the same.
    pub(crate) id: u32,
}

const TAG_BYTES: usize = 12;

/// What varies between the packets of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    /// TCP flags.
    pub(crate) flags: u8,
    /// TCP sequence number.
    pub(crate) sequence: u32,
    /// MAC address of the client's router.
    pub(crate) router: [u8; 6],
    /// Bytes of payload before the tag.
    pub(crate) padding: usize,
    pub(crate) tag: Tag,
}

/// A packet from the client to the VIP.
pub(crate) fn request(tuple: &Tuple, content: Content) -> Vec<u8> {
    build((content.router, OUR_MAC), tuple.client, tuple.vip, tuple.udp, content)
}

/// A packet from a backend at `from` to the client.
pub(crate) fn answer(mac: [u8; 6], from: SocketAddr, tuple: &Tuple, tag: Tag) -> Vec<u8> {
    let content = Content { flags: dispatcher_common::parse::ACK, sequence: 0, router: mac, padding: 0, tag };
    build((mac, OUR_MAC), from, tuple.client, tuple.udp, content)
}

/// Which packet a frame is.
pub(crate) fn tag(frame: &[u8]) -> Tag {
    let bytes = &frame[frame.len() - TAG_BYTES..];
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    Tag { flow: number(0), seq: number(4), id: number(8) }
}

/// Source and destination of a frame.
pub(crate) fn ends(frame: &[u8]) -> (SocketAddr, SocketAddr) {
    match parse(frame, 0) {
        Parsed::V4(headers) => {
            let key = headers.key;
            (SocketAddr::from((key.src, key.sport)), SocketAddr::from((key.dst, key.dport)))
        }
        Parsed::V6(headers) => {
            let key = headers.key;
            (SocketAddr::from((key.src, key.sport)), SocketAddr::from((key.dst, key.dport)))
        }
        Parsed::Other => panic!("a frame that is no packet: {frame:x?}"),
    }
}

/// Destination MAC address of a frame.
pub(crate) fn destination_mac(frame: &[u8]) -> [u8; 6] {
    frame[..6].try_into().unwrap()
}

fn build(
    (source_mac, destination_mac): ([u8; 6], [u8; 6]),
    from: SocketAddr,
    to: SocketAddr,
    udp: bool,
    content: Content,
) -> Vec<u8> {
    let transport = transport(from.port(), to.port(), udp, content);
    let mut frame = [destination_mac, source_mac].concat();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            frame.extend([0x08, 0x00]);
            frame.extend(ipv4(from.octets(), to.octets(), udp, transport.len()));
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(u16::try_from(transport.len()).unwrap().to_be_bytes());
            frame.extend([if udp { 17 } else { 6 }, 64]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        _ => panic!("{from} and {to} are of different families"),
    }
    frame.extend(transport);
    frame
}

fn ipv4(from: [u8; 4], to: [u8; 4], udp: bool, payload: usize) -> [u8; 20] {
    let [high, low] = u16::try_from(20 + payload).unwrap().to_be_bytes();
    let mut header = [0; 20];
    header[..10].copy_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, if udp { 17 } else { 6 }]);
    header[12..16].copy_from_slice(&from);
    header[16..].copy_from_slice(&to);
    let sum = !checksum::ipv4_header_sum(&header);
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
    header
}

fn transport(sport: u16, dport: u16, udp: bool, content: Content) -> Vec<u8> {
    let mut bytes = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    if udp {
        let length = u16::try_from(8 + content.padding + TAG_BYTES).unwrap();
        bytes.extend([length.to_be_bytes(), [0, 0]].concat());
    } else {
        bytes.extend(content.sequence.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0x50, content.flags, 0xff, 0xff, 0x12, 0x34, 0, 0]);
    }
    bytes.extend(std::iter::repeat_n(0, content.padding));
    let Tag { flow, seq, id } = content.tag;
    bytes.extend([flow, seq, id].into_iter().flat_map(u32::to_be_bytes));
    bytes
}
