//! What a verdict leaves in the tables, in words that rows use.

use dispatcher_common::{
    address::Family,
    backend::{Backend, BackendStats},
    client::Client,
    client_lock::{ClientLock, LIFETIME_NS},
    counter::Counter,
    event::flags::PLACED_LOCK,
    flow::{Flow, state, target},
    service::{Service, TCP},
};
use dispatcher_tests::packet_path::{
    host::Action,
    packet::Packet,
    row::Row,
    scene::{
        BACKENDS, FARM, GENERATION, SERVICE, Scene, WAN, at_backend, client_key, map_nat, nat_back, nat_in,
        service_key, stage, way_back, way_in,
    },
    world::World,
};

/// What was done to the tables, in words, and the doing.
pub(crate) type WorldChange = (&'static str, fn(&mut World));
/// What became of a backend, in words, and in its row.
pub(crate) type BackendChange = (&'static str, fn(&mut Backend));

/// A name that says family and protocol too.
pub(crate) fn named<A: Family>(proto: u8, what: &str) -> String {
    let family = if A::IS_V4 { "IPv4" } else { "IPv6" };
    format!("{family} {}: {what}", if proto == TCP { "TCP" } else { "UDP" })
}

/// A row that starts with the service and no flow, then `change`.
pub(crate) fn staged<A: Scene>(what: &str, proto: u8, change: impl Fn(&mut World) + Sync + 'static) -> Row {
    Row::new(named::<A>(proto, what), move |world| {
        stage::<A>(world, proto);
        change(world);
    })
}

/// A row that starts with the service and an established `nat` flow to the first backend, then `change`.
pub(crate) fn mapped<A: Scene>(what: &str, proto: u8, change: impl Fn(&mut World) + Sync + 'static) -> Row {
    staged::<A>(what, proto, move |world| {
        map_nat::<A>(world, proto, state::ESTABLISHED, state::ESTABLISHED);
        change(world);
    })
}

/// The entry of the client's direction.
pub(crate) fn forth<A: Scene>(world: &mut World, proto: u8) -> &mut Flow<A> {
    A::flows(world).get_mut(&way_in(proto)).unwrap()
}

/// The entry of the first backend's direction.
pub(crate) fn back<A: Scene>(world: &mut World, proto: u8) -> &mut Flow<A> {
    A::flows(world).get_mut(&way_back(proto, 0)).unwrap()
}

/// A backend was sent a packet.
pub(crate) fn received(world: &mut World, index: usize, bytes: usize) {
    let stats = world.backend_stats(BACKENDS[index]);
    (stats.packets_in, stats.bytes_in) = (stats.packets_in + 1, stats.bytes_in + bytes as u64);
}

/// The client's entry has seen a packet, and the first backend was sent it.
pub(crate) fn went_forth<A: Scene>(world: &mut World, proto: u8, bytes: usize) {
    saw_forth::<A>(world, proto, bytes);
    received(world, 0, bytes);
}

/// The client's entry has seen a packet.
pub(crate) fn saw_forth<A: Scene>(world: &mut World, proto: u8, bytes: usize) {
    let now_ns = world.now_ns;
    seen(forth::<A>(world, proto), bytes, now_ns);
}

/// The first backend's entry has seen a packet, and the client was sent it.
pub(crate) fn went_back<A: Scene>(world: &mut World, proto: u8, bytes: usize) {
    let now_ns = world.now_ns;
    seen(back::<A>(world, proto), bytes, now_ns);
    let stats = world.backend_stats(BACKENDS[0]);
    (stats.packets_out, stats.bytes_out) = (stats.packets_out + 1, stats.bytes_out + bytes as u64);
}

fn seen<A: Family>(flow: &mut Flow<A>, bytes: usize, now_ns: u64) {
    (flow.packets, flow.bytes, flow.last_seen_ns) = (flow.packets + 1, flow.bytes + bytes as u64, now_ns);
}

/// A backend was given a flow by the program.
pub(crate) fn opened(world: &mut World, index: usize) -> &mut BackendStats {
    let stats = world.backend_stats(BACKENDS[index]);
    stats.flows_opened += 1;
    stats
}

/// A backend's flow was ended by its client.
pub(crate) fn closed(world: &mut World, index: usize) {
    world.backend_stats(BACKENDS[index]).flows_closed += 1;
}

/// The program has made a `nat` flow to a backend, and sent it its first packet.
pub(crate) fn made_nat<A: Scene>(world: &mut World, proto: u8, index: usize, state_in: u8, bytes: usize) {
    let now_ns = world.now_ns;
    let first = Flow { packets: 1, bytes: bytes as u64, last_seen_ns: now_ns, ..nat_in(world, index, state_in) };
    let answers = Flow { last_seen_ns: now_ns, ..nat_back(world, index, state::ESTABLISHED) };
    A::flows(world).insert(way_in(proto), first);
    A::flows(world).insert(way_back(proto, index), answers);
    opened(world, index);
    received(world, index, bytes);
}

/// The program has made a `dsr` flow to the first backend, and sent it its first packet.
pub(crate) fn made_dsr<A: Scene>(world: &mut World, proto: u8, state_in: u8, bytes: usize) {
    let now_ns = world.now_ns;
    let flow = Flow {
        packets: 1,
        bytes: bytes as u64,
        last_seen_ns: now_ns,
        address: A::VIP,
        port: dispatcher_tests::packet_path::scene::PORT,
        target: target::BACKEND_DSR,
        delta: 0xffff,
        ..nat_in(world, 0, state_in)
    };
    A::flows(world).insert(way_in(proto), flow);
    opened(world, 0);
    received(world, 0, bytes);
}

/// The client's lock stands until `expires_ns`.
pub(crate) fn lock_until<A: Scene>(world: &mut World, expires_ns: u64) {
    let node = world.config.node;
    world.locks.insert(client_key::<A>(), ClientLock { expires_ns, node, pad: [0; 6] });
}

/// The client's packet has placed the lock and was sent up.
pub(crate) fn placed_lock_and_up<A: Scene>(world: &mut World, frame: &[u8]) {
    let expires_ns = world.now_ns + LIFETIME_NS;
    lock_until::<A>(world, expires_ns);
    world.send_up(WAN, SERVICE, PLACED_LOCK, frame);
}

/// The client is remembered at a backend until `expires_ns`.
pub(crate) fn remember_client<A: Scene>(world: &mut World, index: usize, expires_ns: u64) {
    let client = Client { expires_ns, backend: BACKENDS[index], generation: GENERATION, pad: [0; 4] };
    world.clients.insert(client_key::<A>(), client);
}

/// The service's entry.
pub(crate) fn service<A: Scene>(world: &mut World, proto: u8) -> &mut Service {
    world.services.get_mut(&service_key::<A>(proto)).unwrap()
}

/// The state of a flow that the program makes for a packet with ACK, or a datagram.
pub(crate) const FRESH: u8 = state::ESTABLISHED;

/// A packet leaves for a backend, and the program has made its flow.
pub(crate) fn picked<A: Scene>(
    row: Row,
    proto: u8,
    packet: &Packet<A>,
    index: usize,
    reasons: &'static [Counter],
) -> Row {
    let bytes = packet.frame().len();
    let out = (Action::Redirect(FARM), at_backend(packet, index).frame());
    row.sends(WAN, packet.frame(), out, move |world| {
        made_nat::<A>(world, proto, index, FRESH, bytes);
        world.count(reasons);
    })
}
