//! Packets whose destination is no service: the kernel gets them untouched, whatever they look like.

use dispatcher_common::{
    address::{Family as _, V4, V6},
    counter::Counter,
    service::{TCP, UDP},
};
use dispatcher_tests::packet_path::{
    packet::Packet,
    row::Row,
    scene::{FARM, FARM_MAC, ROUTER_MAC, Scene, WAN, WAN_MAC, from_backend, from_client},
};

use crate::effects::{named, staged};

/// Offset of the EtherType.
const ETHER_TYPE: usize = 12;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in [TCP, UDP] {
        of_family::<V4>(&mut rows, proto);
        of_family::<V6>(&mut rows, proto);
        ipv4_faults(&mut rows, proto);
        ipv6_faults(&mut rows, proto);
        ipv6_chains(&mut rows, proto);
        fragments(&mut rows, proto);
    }
    other_protocols(&mut rows);
    rows
}

/// A row in which a frame passes untouched.
fn passes<A: Scene>(what: &str, proto: u8, frame: Vec<u8>, reason: Counter) -> Row {
    staged::<A>(what, proto, |_| {}).passes(WAN, frame, move |world| world.count(&[reason]))
}

fn of_family<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    let foreign = [
        ("another host", packet.clone().to(A::STRANGER, 80)),
        ("another port of the VIP", packet.clone().to(A::VIP, 81)),
        ("port 0 of the VIP", packet.clone().to(A::VIP, 0)),
        ("another address of ours", packet.clone().to(A::VIP2, 80)),
        ("the VIP as source alone", packet.clone().from(A::VIP, 80).to(A::STRANGER, 80)),
        ("a backend directly", packet.clone().to(A::BACKEND[0], 8080)),
        ("a forbidden source", packet.clone().from(A::default(), 1).to(A::STRANGER, 80)),
        ("TTL 1", packet.clone().to(A::STRANGER, 80).ttl(1)),
        ("a reset", packet.clone().to(A::STRANGER, 80).flags("R")),
        ("a tag", Packet { tags: vec![7], ..packet.clone().to(A::STRANGER, 80) }),
        ("two tags", Packet { tags: vec![7, 8], ..packet.clone().to(A::STRANGER, 80) }),
        ("three tags to the service", Packet { tags: vec![7, 8, 9], ..packet.clone() }),
        ("a backend's answer without a flow", from_backend(proto, 0).link(ROUTER_MAC, WAN_MAC)),
    ];
    for (what, packet) in foreign {
        rows.push(passes::<A>(what, proto, packet.frame(), Counter::NotOurs));
    }
    let other = if proto == TCP { UDP } else { TCP };
    let packet: Packet<A> = from_client(other);
    rows.push(passes::<A>("the other protocol at the service's port", proto, packet.frame(), Counter::NotOurs));
    for mac in [[0xff; 6], [0x01, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
        let packet = from_client::<A>(proto).link(ROUTER_MAC, mac);
        rows.push(passes::<A>("a frame for a group of hosts", proto, packet.frame(), Counter::NotOurs));
        let packet = from_client::<A>(proto).link(mac, WAN_MAC);
        rows.push(passes::<A>("a frame from a group of hosts", proto, packet.frame(), Counter::NotOurs));
    }
}

/// Faults behind which no service is.
fn ipv4_faults(rows: &mut Vec<Row>, proto: u8) {
    let frame = from_client::<V4>(proto).to(V4::STRANGER, 80).frame();
    let faults: [(&str, usize, &[u8]); 6] = [
        ("a wrong checksum", 14 + 10, &[0xde, 0xad]),
        ("version 5", 14, &[0x55]),
        ("a header of 16 bytes", 14, &[0x44]),
        ("a length beyond the frame", 14 + 2, &[0xff, 0xff]),
        ("a length of 0", 14 + 2, &[0, 0]),
        ("a transport header of an impossible length", if proto == TCP { 34 + 12 } else { 34 + 5 }, &[0x01]),
    ];
    for (what, at, bytes) in faults {
        let mut frame = frame.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        rows.push(passes::<V4>(what, proto, frame, Counter::NotOursMalformed));
    }
    // Behind less than four bytes of it no port is known, so that no service is.
    let to_service = from_client::<V4>(proto).frame();
    for length in [14, 15, 33, 34, 37] {
        let row = passes::<V4>(&format!("cut off after {length} bytes"), proto, to_service[..length].to_vec(), {
            Counter::NotOurs
        });
        rows.push(row);
    }
    // A header of other length than 20 bytes leads to other ports.
    for (nibble, what) in [(0x40, "no length"), (0x44, "16 bytes")] {
        let mut frame = to_service.clone();
        frame[14] = nibble;
        rows.push(passes::<V4>(&format!("a header of {what}, to the VIP"), proto, frame, Counter::NotOursMalformed));
    }
    let mut frame = to_service.clone();
    frame[14] = 0x4f;
    frame.truncate(14 + 60 + 3);
    rows.push(passes::<V4>("options up to the end of the frame", proto, frame, Counter::NotOurs));
}

fn ipv6_faults(rows: &mut Vec<Row>, proto: u8) {
    let frame = from_client::<V6>(proto).to(V6::STRANGER, 80).frame();
    let faults: [(&str, usize, &[u8]); 4] = [
        ("version 5", 14, &[0x50]),
        ("a length beyond the frame", 14 + 4, &[0xff, 0xff]),
        ("a length of 0, as of a jumbogram", 14 + 4, &[0, 0]),
        ("a transport header of an impossible length", if proto == TCP { 54 + 12 } else { 54 + 5 }, &[0x01]),
    ];
    for (what, at, bytes) in faults {
        let mut frame = frame.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        rows.push(passes::<V6>(what, proto, frame, Counter::NotOursMalformed));
    }
    let to_service = from_client::<V6>(proto).frame();
    for length in [14, 53, 54, 57] {
        let row = passes::<V6>(&format!("cut off after {length} bytes"), proto, to_service[..length].to_vec(), {
            Counter::NotOurs
        });
        rows.push(row);
    }
    // ::ffff:a.b.c.d stands for an IPv4 address in tables and never on a cable (RFC 4291, 2.5.5.2).
    let mapped = from_client::<V6>(proto).to(V4::VIP.mapped(), 80).frame();
    rows.push(passes::<V4>("IPv6 to the mapped form of the VIP", proto, mapped, Counter::NotOurs));
}

fn ipv6_chains(rows: &mut Vec<Row>, proto: u8) {
    let padding = |number: u8| (number, vec![0; 7]);
    let chains = [
        ("a source route that goes on", vec![(43, vec![0, 0, 1, 0, 0, 0, 0])]),
        ("more extension headers than are followed", vec![padding(60); 7]),
        ("hop-by-hop options that are not the first", vec![padding(60), padding(0)]),
        ("hop-by-hop options twice", vec![padding(0), padding(0)]),
        ("an authentication header", vec![(51, vec![4; 7])]),
        ("an encrypted payload", vec![(50, vec![0; 7])]),
        ("a header of mobility", vec![padding(135)]),
        ("no next header", vec![padding(59)]),
        ("an extension header beyond the frame", vec![(60, vec![255, 0, 0, 0, 0, 0, 0])]),
    ];
    for (what, extensions) in chains {
        let packet = Packet { extensions, ..from_client::<V6>(proto) };
        rows.push(passes::<V6>(what, proto, packet.frame(), Counter::NotOurs));
    }
}

/// Fragments carry no complete 5-tuple, those of a service neither.
fn fragments(rows: &mut Vec<Row>, proto: u8) {
    for (what, fragment) in [("the first", (0, true)), ("a middle", (3, true)), ("the last", (0x1fff, false))] {
        let packet = Packet { fragment, ..from_client::<V4>(proto) };
        rows.push(passes::<V4>(&format!("{what} fragment"), proto, packet.frame(), Counter::Fragment));
        let (position, more) = fragment;
        let [high, low] = (position << 3 | u16::from(more)).to_be_bytes();
        let packet = Packet { extensions: vec![(44, vec![0, high, low, 1, 2, 3, 4])], ..from_client::<V6>(proto) };
        rows.push(passes::<V6>(&format!("{what} fragment"), proto, packet.frame(), Counter::Fragment));
    }
    let packet = Packet { fragment: (5, false), ..from_client::<V4>(proto) }.payload([]);
    rows.push(passes::<V4>("an empty fragment", proto, packet.frame()[..34].to_vec(), Counter::Fragment));
}

/// Frames that are no TCP or UDP over IP.
fn other_protocols(rows: &mut Vec<Row>) {
    let packet = from_client::<V4>(TCP).frame();
    for (what, proto) in [("ICMP", 1), ("IP in IP", 4), ("GRE", 47), ("SCTP", 132)] {
        let mut frame = packet.clone();
        frame[14 + 9] = proto;
        rows.push(Row::new(named::<V4>(TCP, what), |_| {}).passes(WAN, frame, |world| {
            world.count(&[Counter::NotOurs]);
        }));
    }
    for (what, ether_type) in
        [("ARP", 0x0806_u16), ("LLDP", 0x88cc), ("MPLS", 0x8847), ("802.3", 60), ("a type of 0", 0)]
    {
        let mut frame = packet.clone();
        frame[ETHER_TYPE..][..2].copy_from_slice(&ether_type.to_be_bytes());
        rows.push(passes::<V4>(what, TCP, frame, Counter::NotOurs));
    }
    // A tag and nothing behind it.
    let mut frame = packet[..14].to_vec();
    frame[ETHER_TYPE..].copy_from_slice(&[0x81, 0]);
    rows.push(passes::<V4>("a tag that the frame cuts off", TCP, frame, Counter::NotOurs));
    // Without any service at all.
    let answer = from_backend::<V4>(TCP, 0).link([0x02, 0xb1, 0, 0, 0, 1], FARM_MAC).frame();
    rows.push(Row::new("no service at all", |_| {}).passes(FARM, answer, |world| world.count(&[Counter::NotOurs])));
}
