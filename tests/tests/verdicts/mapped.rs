//! Packets of flows that have a backend: rewritten, counted, sent on.

use dispatcher_common::{
    backend,
    counter::Counter,
    flow::{Flow, state},
    service::{TCP, UDP},
};
use dispatcher_tests::packet_path::{
    host::Action,
    packet::Packet,
    row::Row,
    scene::{
        BACKEND_MAC, BACKENDS, FARM, FARM_MAC, ROUTER2_MAC, Scene, WAN, WAN2, WAN_MAC, at_backend, at_client, dsr_in,
        from_backend, from_client, map_nat, nat_in, stage, way_back, way_in, with_backend,
    },
    world::World,
};

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in [TCP, UDP] {
        of_family::<[u8; 4]>(&mut rows, "IPv4", proto);
        of_family::<[u8; 16]>(&mut rows, "IPv6", proto);
    }
    rows
}

fn of_family<A: Scene>(rows: &mut Vec<Row>, family: &str, proto: u8) {
    let name = |what: &str| format!("{family} {}, {what}", if proto == TCP { "TCP" } else { "UDP" });
    rows.push(there(name("to the backend"), proto, from_client::<A>(proto)));
}

/// A row in which a client's packet goes to the first backend.
fn there<A: Scene>(name: String, proto: u8, packet: Packet<A>) -> Row {
    let (frame, out) = (packet.frame(), at_backend(&packet, 0).frame());
    let length = frame.len();
    Row::new(name, move |world| {
        stage::<A>(world, proto);
        map_nat::<A>(world, proto, state::ESTABLISHED, state::ESTABLISHED);
    })
    .sends(WAN, frame, (Action::Redirect(FARM), out), move |world| {
        seen::<A>(world, proto, length);
        received(world, 0, length);
    })
}

/// The client's entry has seen a packet.
fn seen<A: Scene>(world: &mut World, proto: u8, length: usize) {
    let now_ns = world.now_ns;
    let flow = A::flows(world).get_mut(&way_in(proto)).unwrap();
    (flow.packets, flow.bytes, flow.last_seen_ns) = (flow.packets + 1, flow.bytes + length as u64, now_ns);
}

/// A backend was sent a packet.
fn received(world: &mut World, index: usize, length: usize) {
    let stats = world.backend_stats(BACKENDS[index]);
    (stats.packets_in, stats.bytes_in) = (stats.packets_in + 1, stats.bytes_in + length as u64);
}
