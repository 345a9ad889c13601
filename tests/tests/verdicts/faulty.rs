//! Malformed packets to a service: dropped for a named reason, never forwarded, and no flow or lock is touched.

use dispatcher_common::{
    address::{Family as _, V4, V6},
    counter::Counter,
    service::{TCP, UDP},
};
use dispatcher_tests::packet_path::{
    packet::Packet,
    row::Row,
    scene::{FARM, Scene, WAN, from_backend, from_client},
};

use crate::effects::{mapped, staged};

/// Bytes of an option-less header of each family.
const IPV4: usize = 20;
const IPV6: usize = 40;
/// Offset of the IP header.
const L3: usize = 14;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in [TCP, UDP] {
        ipv4(&mut rows, proto);
        ipv6(&mut rows, proto);
        transport::<V4>(&mut rows, proto, L3 + IPV4);
        transport::<V6>(&mut rows, proto, L3 + IPV6);
        sources(&mut rows, proto);
        tags::<V4>(&mut rows, proto);
        tags::<V6>(&mut rows, proto);
    }
    rows
}

/// Rows in which a frame is dropped: whether or not its flow is mapped, and for the same reason.
fn drops<A: Scene>(rows: &mut Vec<Row>, what: &str, proto: u8, frame: &[u8], reason: Counter) {
    let counts = move |world: &mut dispatcher_tests::packet_path::world::World| world.count(&[reason]);
    rows.push(staged::<A>(what, proto, |_| {}).drops(WAN, frame.to_vec(), counts));
    rows.push(mapped::<A>(&format!("{what}, of a flow"), proto, |_| {}).drops(WAN, frame.to_vec(), counts));
}

fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

fn ipv4(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<V4>(proto);
    let frame = packet.frame();
    drops::<V4>(rows, "version 5", proto, &with(&frame, L3, &[0x55]), Counter::BadHeader);
    drops::<V4>(rows, "version 6", proto, &with(&frame, L3, &[0x65]), Counter::BadHeader);
    drops::<V4>(rows, "a wrong checksum", proto, &with(&frame, L3 + 10, &[0, 1]), Counter::BadChecksum);
    let packet = Packet { options: vec![1; 12], ..packet };
    let wrong = with(&packet.frame(), L3 + IPV4 + 11, &[2]);
    drops::<V4>(rows, "a checksum that leaves out the last option", proto, &wrong, Counter::BadChecksum);
    // Lengths; a checksum that fits to each.
    for (what, length) in [("65535", 65_535), ("0", 0), ("its own header alone", 20), ("cut in its ports", 22)] {
        let wrong = with_length(&frame, length);
        drops::<V4>(rows, &format!("a length of {what}"), proto, &wrong, Counter::BadLength);
    }
    let own = u16::try_from(frame.len() - L3).unwrap();
    let wrong = with_length(&frame, own + 1);
    drops::<V4>(rows, "a length of one byte more than the frame", proto, &wrong, Counter::BadLength);
    let mut small = with_length(&from_client::<V4>(proto).payload([]).frame(), 65_535);
    small.resize(64, 0);
    drops::<V4>(rows, "a length of 65535 in a frame of 64 bytes", proto, &small, Counter::BadLength);
    drops::<V4>(rows, "a frame cut off behind the ports", proto, &frame[..L3 + IPV4 + 4], Counter::BadLength);
    drops::<V4>(rows, "a frame cut off by one byte", proto, &frame[..frame.len() - 1], Counter::BadLength);
    // Behind a backend's answer with a fault is no service: it is none of ours to drop, nor to forward.
    let answer = with(&from_backend::<V4>(proto, 0).frame(), L3 + 10, &[0, 1]);
    rows.push(mapped::<V4>("a wrong checksum of a backend", proto, |_| {}).passes(FARM, answer, |world| {
        world.count(&[Counter::NotOursMalformed]);
    }));
}

/// The frame with another IPv4 length and the checksum for it.
fn with_length(frame: &[u8], length: u16) -> Vec<u8> {
    let frame = with(&with(frame, L3 + 2, &length.to_be_bytes()), L3 + 10, &[0, 0]);
    let words = frame[L3..L3 + IPV4].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let checksum = 0xffff - (sum % 0xffff);
    with(&frame, L3 + 10, &u16::try_from(checksum).unwrap().to_be_bytes())
}

fn ipv6(rows: &mut Vec<Row>, proto: u8) {
    let frame = from_client::<V6>(proto).frame();
    drops::<V6>(rows, "version 4", proto, &with(&frame, L3, &[0x40]), Counter::BadHeader);
    let own = u16::try_from(frame.len() - L3 - IPV6).unwrap();
    let lengths = [("65535", 65_535), ("0, as of a jumbogram", 0), ("cut in its ports", 2), ("one too many", own + 1)];
    for (what, length) in lengths {
        let wrong = with(&frame, L3 + 4, &length.to_be_bytes());
        drops::<V6>(rows, &format!("a length of {what}"), proto, &wrong, Counter::BadLength);
    }
    drops::<V6>(rows, "a frame cut off behind the ports", proto, &frame[..L3 + IPV6 + 4], Counter::BadLength);
    let packet = Packet { extensions: vec![(60, vec![1; 15])], ..from_client::<V6>(proto) };
    let wrong = with(&packet.frame(), L3 + 4, &16_u16.to_be_bytes());
    drops::<V6>(rows, "a length that ends before the transport header", proto, &wrong, Counter::BadLength);
    let answer = with(&from_backend::<V6>(proto, 0).frame(), L3 + 4, &[0xff, 0xff]);
    rows.push(mapped::<V6>("a wrong length of a backend", proto, |_| {}).passes(FARM, answer, |world| {
        world.count(&[Counter::NotOursMalformed]);
    }));
}

fn transport<A: Scene>(rows: &mut Vec<Row>, proto: u8, l4: usize) {
    let frame = from_client::<A>(proto).frame();
    let own = u16::try_from(frame.len() - l4).unwrap();
    if proto == TCP {
        for nibble in [0, 4] {
            let wrong = with(&frame, l4 + 12, &[nibble << 4]);
            drops::<A>(rows, &format!("a data offset of {nibble}"), proto, &wrong, Counter::BadHeader);
        }
        // 32 bytes of header and 23 of payload: 60 are more than there are.
        drops::<A>(rows, "a data offset beyond the packet", proto, &with(&frame, l4 + 12, &[0xf0]), Counter::BadLength);
    } else {
        for length in [0, 7] {
            let wrong = with(&frame, l4 + 4, &[0, length]);
            drops::<A>(rows, &format!("a datagram length of {length}"), proto, &wrong, Counter::BadHeader);
        }
        for length in [own + 1, 65_535] {
            let wrong = with(&frame, l4 + 4, &length.to_be_bytes());
            drops::<A>(rows, &format!("a datagram length of {length}"), proto, &wrong, Counter::BadLength);
        }
    }
}

/// Addresses that nobody may send from.
fn sources(rows: &mut Vec<Row>, proto: u8) {
    for source in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 5], [240, 0, 0, 1], [255; 4]] {
        let frame = from_client::<V4>(proto).from(source, 40_000).frame();
        rows.push(staged::<V4>(&format!("source {source:?}"), proto, |_| {}).drops(WAN, frame, |world| {
            world.count(&[Counter::BadSource]);
        }));
    }
    let mut loopback = [0; 16];
    loopback[15] = 1;
    let mut multicast = V6::CLIENT;
    multicast[0] = 0xff;
    for source in [[0; 16], loopback, multicast, V4::CLIENT.mapped()] {
        let frame = from_client::<V6>(proto).from(source, 40_000).frame();
        rows.push(staged::<V6>(&format!("source {source:?}"), proto, |_| {}).drops(WAN, frame, |world| {
            world.count(&[Counter::BadSource]);
        }));
    }
}

/// Tagged frames to a service are the kernel's, with a fault or without.
fn tags<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    for tags in [vec![7], vec![7, 8]] {
        let packet = Packet { tags: tags.clone(), ..from_client::<A>(proto) };
        let cut = packet.frame()[..packet.l4() + 4].to_vec();
        for (what, frame) in [("tagged", packet.frame()), ("tagged and cut off", cut)] {
            let what = format!("{what}, {} tags", tags.len());
            let counts = |world: &mut dispatcher_tests::packet_path::world::World| world.count(&[Counter::Tagged]);
            rows.push(staged::<A>(&what, proto, |_| {}).passes(WAN, frame.clone(), counts));
            rows.push(mapped::<A>(&format!("{what}, of a flow"), proto, |_| {}).passes(WAN, frame, counts));
        }
    }
}
