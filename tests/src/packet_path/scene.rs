//! Who plays in the rows: a client behind a router, a service, two backends, in either family.

use std::{fmt::Debug, hash::Hash};

use dispatcher_common::{
    address::{Family, V4, V6},
    backend::{Backend, health, state},
    client::ClientKey,
    flow::{Flow, FlowKey, target},
    service::{Service, ServiceKey, forward, mode, scheduler},
};

use super::{
    packet::Packet,
    world::{Flows, World},
};

/// Interface that clients' packets come in by.
pub const WAN: u32 = 11;
/// Another one, to another router.
pub const WAN2: u32 = 12;
/// Interface that leads to the backends.
pub const FARM: u32 = 21;
/// All interfaces of the scene.
pub const INTERFACES: [u32; 3] = [WAN, WAN2, FARM];

/// MAC address of the clients' router.
pub const ROUTER_MAC: [u8; 6] = [0x02, 0xc1, 0, 0, 0, 1];
/// MAC address of the other router.
pub const ROUTER2_MAC: [u8; 6] = [0x02, 0xc2, 0, 0, 0, 1];
/// Our MAC address on [`WAN`] and [`WAN2`].
pub const WAN_MAC: [u8; 6] = [0x02, 0xd1, 0, 0, 0, 1];
/// Our MAC address on [`FARM`].
pub const FARM_MAC: [u8; 6] = [0x02, 0xd2, 0, 0, 0, 1];
/// MAC addresses of the backends.
pub const BACKEND_MAC: [[u8; 6]; 2] = [[0x02, 0xb1, 0, 0, 0, 1], [0x02, 0xb2, 0, 0, 0, 1]];

/// ID of the service.
pub const SERVICE: u16 = 5;
/// Its ring.
pub const RING: u16 = 3;
/// IDs of its backends.
pub const BACKENDS: [u16; 2] = [1, 2];
/// Generation of the backends.
pub const GENERATION: u16 = 4;
/// Port of the service.
pub const PORT: u16 = 80;
/// Port of the backends.
pub const BACKEND_PORT: u16 = 8080;
/// Port of the client.
pub const CLIENT_PORT: u16 = 40_000;
/// A second, in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// A family with addresses for everybody.
pub trait Scene: Family + Debug + Hash {
    /// The client.
    const CLIENT: Self;
    /// A host that the dispatcher has nothing to do with.
    const STRANGER: Self;
    /// Address of the service.
    const VIP: Self;
    /// Another address of ours.
    const VIP2: Self;
    /// Addresses of the backends.
    const BACKEND: [Self; 2];

    /// The flows of this family.
    fn flows(world: &mut World) -> &mut Flows<Self>;
}

impl Scene for V4 {
    const CLIENT: Self = [198, 51, 100, 2];
    const STRANGER: Self = [192, 0, 2, 77];
    const VIP: Self = [203, 0, 113, 10];
    const VIP2: Self = [203, 0, 113, 11];
    const BACKEND: [Self; 2] = [[10, 77, 1, 11], [10, 77, 1, 12]];

    fn flows(world: &mut World) -> &mut Flows<Self> {
        &mut world.flows4
    }
}

/// An address of the documentation prefix (RFC 3849).
const fn v6(subnet: u8, host: u8) -> V6 {
    [0x20, 0x01, 0x0d, 0xb8, 0, subnet, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]
}

impl Scene for V6 {
    const CLIENT: Self = v6(0xc1, 2);
    const STRANGER: Self = v6(0x77, 77);
    const VIP: Self = v6(0x99, 10);
    const VIP2: Self = v6(0x99, 11);
    const BACKEND: [Self; 2] = [v6(1, 11), v6(1, 12)];

    fn flows(world: &mut World) -> &mut Flows<Self> {
        &mut world.flows6
    }
}

/// The service's key.
#[must_use]
pub fn service_key<A: Scene>(proto: u8) -> ServiceKey {
    ServiceKey { addr: A::VIP.mapped(), port: PORT, proto, pad: 0 }
}

/// Sets up the service, `nat` and scheduled by the daemon, with both backends ready and a ring that leads to the first.
pub fn stage<A: Scene>(world: &mut World, proto: u8) {
    let service = Service {
        id: SERVICE,
        ring: RING,
        mode: mode::PACKET,
        scheduler: scheduler::RR,
        forward: forward::NAT,
        flags: 0,
        affinity_ns: 300 * SECOND,
    };
    world.services.insert(service_key::<A>(proto), service);
    for (index, id) in BACKENDS.into_iter().enumerate() {
        world.backends.insert(id, backend::<A>(index));
    }
    world.fill_ring(RING, |_| BACKENDS[0]);
    world.ports.extend(INTERFACES);
}

/// The row of a backend that is ready and up.
#[must_use]
pub fn backend<A: Scene>(index: usize) -> Backend {
    Backend {
        addr: A::BACKEND[index].mapped(),
        port: BACKEND_PORT,
        generation: GENERATION,
        ifindex: FARM,
        mac: BACKEND_MAC[index],
        source_mac: FARM_MAC,
        weight: 100,
        state: state::READY,
        health: health::UP,
        service: SERVICE,
        pad: [0; 2],
    }
}

/// Changes the service.
pub fn with_service<A: Scene>(world: &mut World, proto: u8, change: impl FnOnce(&mut Service)) {
    change(world.services.get_mut(&service_key::<A>(proto)).unwrap());
}

/// Changes a backend.
pub fn with_backend(world: &mut World, index: usize, change: impl FnOnce(&mut Backend)) {
    change(world.backends.get_mut(&BACKENDS[index]).unwrap());
}

/// The client's key at the service.
#[must_use]
pub fn client_key<A: Scene>() -> ClientKey {
    ClientKey { addr: A::CLIENT.mapped(), service: SERVICE, pad: [0; 2] }
}

/// Key of the client's packets.
#[must_use]
pub fn way_in<A: Scene>(proto: u8) -> FlowKey<A> {
    FlowKey { src: A::CLIENT, dst: A::VIP, sport: CLIENT_PORT, dport: PORT, proto, pad: [0; 3] }
}

/// Key of a backend's packets.
#[must_use]
pub fn way_back<A: Scene>(proto: u8, index: usize) -> FlowKey<A> {
    let src = A::BACKEND[index];
    FlowKey { src, dst: A::CLIENT, sport: BACKEND_PORT, dport: CLIENT_PORT, proto, pad: [0; 3] }
}

/// The client's direction of a `nat` flow, a second ago.
#[must_use]
pub fn nat_in<A: Scene>(world: &World, index: usize, state: u8) -> Flow<A> {
    let address = A::BACKEND[index];
    Flow { address, port: BACKEND_PORT, target: target::BACKEND_NAT, ..entry(world, index, state, A::VIP, address) }
}

/// The backend's direction of a `nat` flow, a second ago.
#[must_use]
pub fn nat_back<A: Scene>(world: &World, index: usize, state: u8) -> Flow<A> {
    let from = A::BACKEND[index];
    Flow { address: A::VIP, port: PORT, target: target::CLIENT, ..entry(world, index, state, from, A::VIP) }
}

/// The client's direction of a `dsr` flow, a second ago.
#[must_use]
pub fn dsr_in<A: Scene>(world: &World, index: usize, state: u8) -> Flow<A> {
    Flow { address: A::VIP, port: PORT, target: target::BACKEND_DSR, ..entry(world, index, state, A::VIP, A::VIP) }
}

fn entry<A: Scene>(world: &World, index: usize, state: u8, old: A, new: A) -> Flow<A> {
    Flow {
        last_seen_ns: world.now_ns.saturating_sub(SECOND),
        backend: BACKENDS[index],
        generation: GENERATION,
        service: SERVICE,
        delta: delta(old, new),
        state,
        peer_mac: ROUTER_MAC,
        local_mac: WAN_MAC,
        ifindex: WAN,
        ..Flow::default()
    }
}

/// What replacing one address by another adds to a ones' complement sum.
fn delta<A: Scene>(old: A, new: A) -> u16 {
    let words = |address: A| {
        let mapped = address.mapped();
        let bytes = if A::IS_V4 { mapped[12..].to_vec() } else { mapped.to_vec() };
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).fold(0, carried)
    };
    u16::try_from(carried(0xffff - words(old), words(new))).unwrap()
}

/// Ones' complement addition: what leaves on the left comes back on the right.
fn carried(sum: u32, word: u32) -> u32 {
    let sum = sum + word;
    if sum > 0xffff { sum - 0xffff } else { sum }
}

/// Puts both directions of a `nat` flow with the first backend into the tables.
pub fn map_nat<A: Scene>(world: &mut World, proto: u8, state: u8, back: u8) {
    let (forth, back) = (nat_in(world, 0, state), nat_back(world, 0, back));
    A::flows(world).insert(way_in(proto), forth);
    A::flows(world).insert(way_back(proto, 0), back);
}

/// A packet of the client to the service, as it comes in by [`WAN`].
#[must_use]
pub fn from_client<A: Scene>(proto: u8) -> Packet<A> {
    Packet::new(proto, (A::CLIENT, CLIENT_PORT), (A::VIP, PORT)).link(ROUTER_MAC, WAN_MAC).flags("AP")
}

/// A packet of a backend to the client, as it comes in by [`FARM`].
#[must_use]
pub fn from_backend<A: Scene>(proto: u8, index: usize) -> Packet<A> {
    Packet::new(proto, (A::BACKEND[index], BACKEND_PORT), (A::CLIENT, CLIENT_PORT))
        .link(BACKEND_MAC[index], FARM_MAC)
        .flags("AP")
}

/// The client's packet as a `nat` backend gets it.
#[must_use]
pub fn at_backend<A: Scene>(packet: &Packet<A>, index: usize) -> Packet<A> {
    packet.clone().routed(FARM_MAC, BACKEND_MAC[index]).to(A::BACKEND[index], BACKEND_PORT)
}

/// A backend's packet as the client's router gets it.
#[must_use]
pub fn at_client<A: Scene>(packet: &Packet<A>) -> Packet<A> {
    packet.clone().routed(WAN_MAC, ROUTER_MAC).from(A::VIP, PORT)
}
