//! Packets of flows that have a backend: rewritten, counted, sent on.

use dispatcher_common::{
    backend,
    counter::Counter,
    flow::{Flow, state},
    service::{TCP, UDP, forward},
};
use dispatcher_tests::packet_path::{
    host::Action,
    kernel::LONGEST_FRAME,
    packet::{Packet, Transport},
    row::Row,
    scene::{
        BACKEND_MAC, FARM, FARM_MAC, ROUTER_MAC, ROUTER2_MAC, Scene, WAN, WAN_MAC, WAN2, at_backend, at_client, dsr_in,
        from_backend, from_client, with_backend,
    },
};

use crate::effects::{BackendChange, back, forth, mapped, saw_forth, service, went_back, went_forth};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in [TCP, UDP] {
        both_ways::<[u8; 4]>(&mut rows, proto);
        both_ways::<[u8; 16]>(&mut rows, proto);
        other_ways_out::<[u8; 4]>(&mut rows, proto);
        other_ways_out::<[u8; 16]>(&mut rows, proto);
        moved_clients::<[u8; 4]>(&mut rows, proto);
        moved_clients::<[u8; 16]>(&mut rows, proto);
    }
    ipv4_headers(&mut rows);
    ipv6_headers(&mut rows);
    udp_checksums(&mut rows);
    rows
}

/// A client's packet to the first backend, and the backend's to the client.
fn both_ways<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    rows.push(there("to the backend", proto, &from_client::<A>(proto)));
    rows.push(home("to the client", proto, &from_backend::<A>(proto, 0)));
    let smallest = Packet { trailer: vec![0; 18], ..from_client::<A>(proto).payload([]) };
    rows.push(there("to the backend, without payload, the frame filled up", proto, &smallest));
    let longest = longest(from_client::<A>(proto));
    rows.push(there("to the backend, the longest frame", proto, &longest));
    rows.push(home("to the client, the last hop but one", proto, &from_backend::<A>(proto, 0).ttl(2)));
    rows.push(there("to the backend, the highest TTL", proto, &from_client::<A>(proto).ttl(255)));
}

/// A row in which a client's packet goes to the first backend.
fn there<A: Scene>(what: &str, proto: u8, packet: &Packet<A>) -> Row {
    let (frame, out) = (packet.frame(), at_backend(packet, 0).frame());
    let bytes = frame.len();
    mapped::<A>(what, proto, |_| {})
        .sends(WAN, frame, (Action::Redirect(FARM), out), move |world| went_forth::<A>(world, proto, bytes))
}

/// A row in which the first backend's packet goes to the client.
fn home<A: Scene>(what: &str, proto: u8, packet: &Packet<A>) -> Row {
    let (frame, out) = (packet.frame(), at_client(packet).frame());
    let bytes = frame.len();
    mapped::<A>(what, proto, |_| {})
        .sends(FARM, frame, (Action::Redirect(WAN), out), move |world| went_back::<A>(world, proto, bytes))
}

fn longest<A: Scene>(packet: Packet<A>) -> Packet<A> {
    let headers = packet.frame().len() - packet.payload.len();
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(LONGEST_FRAME - headers).collect();
    packet.payload(payload)
}

fn other_ways_out<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    let (frame, bytes) = (packet.frame(), packet.frame().len());
    let out = packet.clone().routed(WAN_MAC, BACKEND_MAC[0]).to(A::BACKEND[0], 8080).frame();
    rows.push(
        mapped::<A>("a backend behind the same interface", proto, |world| {
            with_backend(world, 0, |row| (row.ifindex, row.source_mac) = (WAN, WAN_MAC));
        })
        .sends(WAN, frame.clone(), (Action::Tx, out), move |world| went_forth::<A>(world, proto, bytes)),
    );
    let out = packet.clone().routed(FARM_MAC, BACKEND_MAC[0]).frame();
    rows.push(
        mapped::<A>("dsr changes MAC addresses and TTL alone", proto, move |world| {
            service::<A>(world, proto).forward = forward::DSR;
            let flow = dsr_in(world, 0, state::ESTABLISHED);
            *forth::<A>(world, proto) = flow;
        })
        .sends(WAN, frame.clone(), (Action::Redirect(FARM), out), move |world| went_forth::<A>(world, proto, bytes)),
    );
    let out = at_backend(&packet, 0).frame();
    rows.push(
        mapped::<A>("an interface that the dispatcher is not attached to", proto, |world| {
            world.ports.remove(&FARM);
        })
        .sends(WAN, frame.clone(), (Action::Drop, out), move |world| {
            went_forth::<A>(world, proto, bytes);
            world.count(&[Counter::NoPort]);
        }),
    );
    rows.push(
        mapped::<A>("a backend whose neighbour is unknown", proto, |world| {
            with_backend(world, 0, |row| row.ifindex = 0);
        })
        .drops(WAN, frame.clone(), move |world| {
            saw_forth::<A>(world, proto, bytes);
            world.count(&[Counter::NoNeighbour]);
        }),
    );
    for (what, change) in states_that_keep_flows() {
        rows.push(mapped::<A>(what, proto, move |world| with_backend(world, 0, change)).sends(
            WAN,
            frame.clone(),
            (Action::Redirect(FARM), at_backend(&packet, 0).frame()),
            move |world| went_forth::<A>(world, proto, bytes),
        ));
    }
    for ttl in [0, 1] {
        let (ours, theirs) = (packet.clone().ttl(ttl), from_backend::<A>(proto, 0).ttl(ttl));
        let row = mapped::<A>(&format!("TTL {ttl} ends here, and leaves the flow as it is"), proto, |_| {});
        let row = row.passes(WAN, ours.frame(), |world| world.count(&[Counter::TtlExpired]));
        rows.push(row.passes(FARM, theirs.frame(), |world| world.count(&[Counter::TtlExpired])));
    }
}

/// What an operator or a check may say of a backend without taking its flows away.
fn states_that_keep_flows() -> [BackendChange; 3] {
    [
        ("a backend in drain keeps its flows", |row| row.state = backend::state::DRAIN),
        ("a backend of weight 0 keeps its flows", |row| row.weight = 0),
        ("a backend that is down keeps its flows", |row| row.health = backend::health::DOWN),
    ]
}

/// The client's packets come another way: so do the answers from then on.
fn moved_clients<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    let answer = from_backend::<A>(proto, 0);
    let bytes = packet.frame().len();
    let ways = [
        ("another router on the same interface", WAN, ROUTER2_MAC),
        ("the same router on another interface", WAN2, ROUTER_MAC),
        ("another router on another interface", WAN2, ROUTER2_MAC),
    ];
    for (what, ifindex, router) in ways {
        let moved = packet.clone().link(router, [0x02, 0xd3, 0, 0, 0, 1]);
        let out = (Action::Redirect(FARM), at_backend(&moved, 0).frame());
        let row = mapped::<A>(what, proto, |_| {}).sends(ifindex, moved.frame(), out, move |world| {
            went_forth::<A>(world, proto, bytes);
            let turned = |flow: &mut Flow<A>| {
                (flow.peer_mac, flow.local_mac, flow.ifindex) = (router, [0x02, 0xd3, 0, 0, 0, 1], ifindex);
            };
            turned(forth::<A>(world, proto));
            turned(back::<A>(world, proto));
        });
        let home = answer.clone().routed([0x02, 0xd3, 0, 0, 0, 1], router).from(A::VIP, 80).frame();
        let bytes = answer.frame().len();
        rows.push(row.sends(FARM, answer.frame(), (Action::Redirect(ifindex), home), move |world| {
            went_back::<A>(world, proto, bytes);
        }));
    }
    let spoofed = answer.clone().link(ROUTER2_MAC, WAN_MAC);
    let out = (Action::Tx, at_client(&spoofed).frame());
    let bytes = spoofed.frame().len();
    rows.push(mapped::<A>("a backend's packet that comes another way turns nothing", proto, |_| {}).sends(
        WAN,
        spoofed.frame(),
        out,
        move |world| went_back::<A>(world, proto, bytes),
    ));
}

fn ipv4_headers(rows: &mut Vec<Row>) {
    type V4 = [u8; 4];
    for proto in [TCP, UDP] {
        for length in (4..=40).step_by(4) {
            // End of options, then what a sum must not overlook.
            let options: Vec<u8> = (0..length).map(|at| if at == 0 { 0 } else { 0xa0 + at }).collect();
            let packet = Packet { options: options.clone(), ..from_client::<V4>(proto) };
            rows.push(there(&format!("{length} bytes of options"), proto, &packet));
            let packet = Packet { options, ..from_backend::<V4>(proto, 0) };
            rows.push(home(&format!("{length} bytes of options on the way back"), proto, &packet));
        }
        let mut packet = from_client::<V4>(proto);
        if let Transport::Tcp(tcp) = &mut packet.transport {
            tcp.set_options_raw(&[1; 40]).unwrap();
        }
        rows.push(there("the longest TCP header", proto, &packet));
    }
}

fn ipv6_headers(rows: &mut Vec<Row>) {
    type V6 = [u8; 16];
    // Number, then length in units of eight bytes behind the first eight, then content.
    let padding = |number: u8, units: u8| {
        let content = vec![0; 6 + 8 * usize::from(units)];
        (number, [vec![units], content].concat())
    };
    // Offset zero and no more fragments: whole (RFC 6946).
    let atomic = (44, vec![0, 0, 0, 1, 2, 3, 4]);
    // No segments left: the packet has come to the end of its source route.
    let routed = (43, vec![0, 4, 0, 0, 0, 0, 0]);
    let chains = [
        ("hop-by-hop options", vec![padding(0, 0)]),
        ("long destination options", vec![padding(60, 31)]),
        ("the longest destination options", vec![padding(60, 255)]),
        ("an atomic fragment", vec![atomic.clone()]),
        ("a source route at its end", vec![routed.clone()]),
        (
            "as many extension headers as are followed",
            vec![padding(0, 1), padding(60, 0), routed, atomic, padding(60, 2), padding(60, 0)],
        ),
    ];
    for proto in [TCP, UDP] {
        for (what, extensions) in &chains {
            let packet = Packet { extensions: extensions.clone(), ..from_client::<V6>(proto) };
            rows.push(there(what, proto, &packet));
            let packet = Packet { extensions: extensions.clone(), ..from_backend::<V6>(proto, 0) };
            rows.push(home(&format!("{what}, on the way back"), proto, &packet));
        }
    }
}

/// Zero means "no checksum" in a UDP header, so that a sum of zero is written as 0xffff.
fn udp_checksums(rows: &mut Vec<Row>) {
    let without = from_client::<[u8; 4]>(UDP).without_checksum();
    rows.push(there("no checksum stays none", UDP, &without));
    let without = from_backend::<[u8; 4]>(UDP, 0).without_checksum();
    rows.push(home("no checksum stays none on the way back", UDP, &without));
    zero_sums::<[u8; 4]>(rows);
    zero_sums::<[u8; 16]>(rows);
}

fn zero_sums<A: Scene>(rows: &mut Vec<Row>) {
    let checksum = |packet: &Packet<A>| {
        let (frame, at) = (packet.frame(), packet.l4() + 6);
        [frame[at], frame[at + 1]]
    };
    let find = |packet: Packet<A>, is_wanted: &dyn Fn(&Packet<A>) -> bool| {
        let payloads = (0..=u16::MAX).map(|number| packet.clone().payload(number.to_be_bytes()));
        payloads.into_iter().find(|packet| is_wanted(packet)).unwrap()
    };
    let ours = find(from_client(UDP), &|packet| checksum(&at_backend(packet, 0)) == [0xff; 2]);
    rows.push(there("a sum that becomes zero is written as 0xffff", UDP, &ours));
    let theirs = find(from_backend(UDP, 0), &|packet| checksum(&at_client(packet)) == [0xff; 2]);
    rows.push(home("a sum that becomes zero is written as 0xffff on the way back", UDP, &theirs));
    let ours = find(from_client(UDP), &|packet| checksum(packet) == [0xff; 2]);
    rows.push(there("a sum of zero becomes another", UDP, &ours));
}
