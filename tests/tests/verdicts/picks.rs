//! Which backend the program gives a new flow: the client's own, or the ring's.

use dispatcher_common::{
    backend,
    counter::Counter,
    flow::FlowKey,
    ring,
    service::{TCP, UDP, flags, scheduler},
};
use dispatcher_tests::packet_path::{
    host::Action,
    packet::Packet,
    row::Row,
    scene::{
        BACKENDS, CLIENT_PORT, FARM, RING, SECOND, Scene, WAN, at_backend, from_client, way_back, way_in, with_backend,
    },
    world::World,
};

use crate::effects::{FRESH, WorldChange, made_nat, placed_lock_and_up, remember_client, service, staged};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in [TCP, UDP] {
        of_family::<[u8; 4]>(&mut rows, proto);
        of_family::<[u8; 16]>(&mut rows, proto);
    }
    rows
}

fn of_family<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    by_affinity::<A>(rows, proto);
    by_hash::<A>(rows, proto);
    without_a_backend::<A>(rows, proto);
}

fn by_affinity<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    let bytes = packet.frame().len();
    let refreshed = move |world: &mut World, reason: Counter| {
        made_nat::<A>(world, proto, 1, FRESH, bytes);
        let expires_ns = world.now_ns + 300 * SECOND;
        remember_client::<A>(world, 1, expires_ns);
        world.count(&[reason]);
    };
    let keeps = move |world: &mut World, expires_ns: u64| {
        service::<A>(world, proto).flags = flags::AFFINITY_CLIENT_IP;
        remember_client::<A>(world, 1, expires_ns);
    };
    let out = (Action::Redirect(FARM), at_backend(&packet, 1).frame());
    let row = staged::<A>("a client returns to its backend", proto, move |world| keeps(world, u64::MAX));
    rows.push(row.sends(WAN, packet.frame(), out.clone(), move |world| refreshed(world, Counter::FlowsByAffinity)));
    let row = staged::<A>("affinity comes before a hash", proto, move |world| {
        keeps(world, u64::MAX);
        service::<A>(world, proto).scheduler = scheduler::MH;
    });
    rows.push(row.sends(WAN, packet.frame(), out.clone(), move |world| refreshed(world, Counter::FlowsByAffinity)));
    let row = staged::<A>("a pick in the kernel is remembered", proto, move |world| {
        service::<A>(world, proto).flags = flags::AFFINITY_CLIENT_IP;
        world.config.upcall_until_ns = 0;
        world.fill_ring(RING, |_| BACKENDS[1]);
    });
    rows.push(row.sends(WAN, packet.frame(), out, move |world| refreshed(world, Counter::PickedInKernel)));
    let not_kept: [WorldChange; 7] = [
        ("an entry that has run out", |world| {
            let expires_ns = world.now_ns;
            world.clients.values_mut().for_each(|client| client.expires_ns = expires_ns);
        }),
        ("an entry of an older generation", |world| with_backend(world, 1, |row| row.generation += 1)),
        ("an entry of a backend in drain", |world| with_backend(world, 1, |row| row.state = backend::state::DRAIN)),
        ("an entry of a backend in maint", |world| with_backend(world, 1, |row| row.state = backend::state::MAINT)),
        ("an entry of a backend that is down", |world| {
            with_backend(world, 1, |row| row.health = backend::health::DOWN)
        }),
        ("an entry of a backend out of reach", |world| with_backend(world, 1, |row| row.ifindex = 0)),
        ("an entry of a service that keeps no clients", |world| {
            world.services.values_mut().for_each(|service| service.flags = 0);
        }),
    ];
    for (what, change) in not_kept {
        let frame = packet.frame();
        let row = staged::<A>(&format!("{what} leads nowhere"), proto, move |world| {
            keeps(world, u64::MAX);
            change(world);
        });
        rows.push(row.drops(WAN, frame.clone(), move |world| {
            placed_lock_and_up::<A>(world, &frame);
            world.count(&[Counter::Upcall]);
        }));
    }
}

/// Which backend a hash leads to. The numbers stand here for good: another hash, and a dispatcher that is upgraded would
/// send what its predecessor sent to one backend to another.
fn by_hash<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let hashed = |scheduler: u8, bit: usize| {
        move |world: &mut World| {
            service::<A>(world, proto).scheduler = scheduler;
            world.fill_ring(RING, |slot| BACKENDS[slot >> bit & 1]);
        }
    };
    let by_flow: [usize; 6] = match (A::IS_V4, proto) {
        (true, TCP) => [0, 1, 1, 0, 0, 1],
        (true, _) => [1, 1, 1, 1, 1, 1],
        (false, TCP) => [0, 0, 1, 0, 1, 1],
        (false, _) => [1, 0, 1, 1, 0, 0],
    };
    for (port, index) in (CLIENT_PORT..).zip(by_flow) {
        let packet = from_client::<A>(proto).from(A::CLIENT, port);
        let row = staged::<A>(&format!("mh, port {port}"), proto, hashed(scheduler::MH, 0));
        rows.push(hash_row(row, proto, &packet, port, index));
    }
    // The bits of one slot, whichever the port.
    let by_client: [usize; 6] = if A::IS_V4 { [0, 1, 1, 1, 0, 0] } else { [0, 0, 0, 1, 0, 0] };
    for (bit, index) in by_client.into_iter().enumerate() {
        for port in [CLIENT_PORT, CLIENT_PORT + 1] {
            let packet = from_client::<A>(proto).from(A::CLIENT, port);
            let row = staged::<A>(&format!("sh, port {port}, bit {bit}"), proto, hashed(scheduler::SH, bit));
            rows.push(hash_row(row, proto, &packet, port, index));
        }
    }
}

/// A row in which a flow from another port of the client is made by the hash.
fn hash_row<A: Scene>(row: Row, proto: u8, packet: &Packet<A>, port: u16, index: usize) -> Row {
    let bytes = packet.frame().len();
    let out = (Action::Redirect(FARM), at_backend(packet, index).frame());
    row.sends(WAN, packet.frame(), out, move |world| {
        made_nat::<A>(world, proto, index, FRESH, bytes);
        world.count(&[Counter::FlowsByHash]);
        // As made for the client's usual port.
        let flows = A::flows(world);
        let (in_key, out_key) = (way_in(proto), way_back(proto, index));
        let (there, home) = (flows.remove(&in_key).unwrap(), flows.remove(&out_key).unwrap());
        flows.insert(FlowKey { sport: port, ..in_key }, there);
        flows.insert(FlowKey { dport: port, ..out_key }, home);
    })
}

fn without_a_backend<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let causes: [WorldChange; 7] = [
        ("an empty ring", |world| world.fill_ring(RING, |_| ring::EMPTY)),
        ("a ring of IDs without backends", |world| world.fill_ring(RING, |_| 9)),
        ("every backend in drain", |world| with_backend(world, 0, |row| row.state = backend::state::DRAIN)),
        ("every backend in maint", |world| with_backend(world, 0, |row| row.state = backend::state::MAINT)),
        ("every backend down", |world| with_backend(world, 0, |row| row.health = backend::health::DOWN)),
        ("every backend of weight 0", |world| with_backend(world, 0, |row| row.weight = 0)),
        ("every backend out of reach", |world| with_backend(world, 0, |row| row.ifindex = 0)),
    ];
    for (what, change) in causes {
        for scheduler in [scheduler::MH, scheduler::RR] {
            let frame = from_client::<A>(proto).frame();
            let row = staged::<A>(&format!("{what}, scheduler {scheduler}"), proto, move |world| {
                service::<A>(world, proto).scheduler = scheduler;
                world.config.upcall_until_ns = 0;
                change(world);
            });
            rows.push(row.drops(WAN, frame, |world| world.count(&[Counter::NoBackend])));
        }
    }
}
