//! Services whose TLS ends here: the local stack gets their packets, and their flows are counted without the daemon.

use dispatcher_common::{
    backend,
    counter::Counter,
    flow::{Flow, NO_BACKEND, state, target},
    service::{TCP, UDP, mode, scheduler},
};
use dispatcher_tests::packet_path::{
    host::Action,
    row::Row,
    scene::{
        FARM, GENERATION, PORT, ROUTER_MAC, ROUTER2_MAC, SECOND, SERVICE, Scene, WAN, WAN_MAC, WAN2, at_backend,
        from_client, way_in, with_backend,
    },
    world::World,
};

use crate::effects::{WorldChange, forth, made_nat, mapped, saw_forth, service, staged};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in [TCP, UDP] {
        of_family::<[u8; 4]>(&mut rows, proto);
        of_family::<[u8; 16]>(&mut rows, proto);
    }
    of_tcp::<[u8; 4]>(&mut rows);
    of_tcp::<[u8; 16]>(&mut rows);
    rows
}

/// A row that starts with the service, whose TLS ends here, and no flow, then `change`.
fn secure<A: Scene>(what: &str, proto: u8, change: impl Fn(&mut World) + Sync + 'static) -> Row {
    staged::<A>(what, proto, move |world| {
        service::<A>(world, proto).mode = mode::SECURE;
        change(world);
    })
}

/// A row that starts with a flow of it in `state`, then `change`.
fn known<A: Scene>(what: &str, proto: u8, state: u8, change: impl Fn(&mut World) + Sync + 'static) -> Row {
    secure::<A>(what, proto, move |world| {
        let flow = Flow { last_seen_ns: world.now_ns - SECOND, ..local(state) };
        A::flows(world).insert(way_in(proto), flow);
        change(world);
    })
}

/// The entry of a flow that ends here.
fn local<A: Scene>(state: u8) -> Flow<A> {
    Flow {
        address: A::VIP,
        port: PORT,
        backend: NO_BACKEND,
        service: SERVICE,
        target: target::LOCAL,
        state,
        peer_mac: ROUTER_MAC,
        local_mac: WAN_MAC,
        ifindex: WAN,
        ..Flow::default()
    }
}

/// The program has made the flow with its first packet but a SYN.
fn made_local<A: Scene>(world: &mut World, proto: u8, state: u8, bytes: usize) {
    let now_ns = world.now_ns;
    let flow = Flow { packets: 1, bytes: bytes as u64, last_seen_ns: now_ns, ..local(state) };
    A::flows(world).insert(way_in(proto), flow);
    world.count(&[Counter::Secure, Counter::FlowsLocal]);
}

fn of_family<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    let (frame, bytes) = (packet.frame(), packet.frame().len());
    let again = move |world: &mut World| {
        saw_forth::<A>(world, proto, bytes);
        world.count(&[Counter::Secure]);
    };
    let made = move |world: &mut World| made_local::<A>(world, proto, state::ESTABLISHED, bytes);
    let without_asking: [WorldChange; 4] = [
        ("the first packet makes the flow, the next is counted at it", |_| {}),
        ("a daemon that is gone makes no difference", |world| world.config.upcall_until_ns = 0),
        ("nor does a service without backends", |world| world.backends.clear()),
        ("nor does the scheduler", |world| {
            world.services.values_mut().for_each(|service| service.scheduler = scheduler::MH);
        }),
    ];
    for (what, change) in without_asking {
        let row = secure::<A>(what, proto, change).passes(WAN, frame.clone(), made);
        rows.push(row.passes(WAN, frame.clone(), again));
    }
    let row = secure::<A>("the lease is over: no new flow", proto, |world| world.config.lease_until_ns = world.now_ns);
    rows.push(row.passes(WAN, frame.clone(), |world| world.count(&[Counter::LeaseOver])));
    let row = known::<A>("the lease is over: flows go on", proto, state::ESTABLISHED, |world| {
        world.config.lease_until_ns = world.now_ns;
    });
    rows.push(row.passes(WAN, frame.clone(), again));
    // It is for a host that it has reached.
    for ttl in [0, 1] {
        let last_hop = packet.clone().ttl(ttl).frame();
        rows.push(secure::<A>(&format!("TTL {ttl} makes a flow"), proto, |_| {}).passes(WAN, last_hop.clone(), made));
        let row = known::<A>(&format!("TTL {ttl} is counted"), proto, state::ESTABLISHED, |_| {});
        rows.push(row.passes(WAN, last_hop, again));
    }
    // The local stack knows its way back itself.
    let moved = packet.clone().link(ROUTER2_MAC, WAN_MAC).frame();
    let row = known::<A>("another router on another interface", proto, state::ESTABLISHED, |_| {});
    rows.push(row.passes(WAN2, moved, again));
    let forbidden = packet.clone().from(A::default(), 40_000).frame();
    rows.push(secure::<A>("a forbidden source", proto, |_| {}).drops(WAN, forbidden, |world| {
        world.count(&[Counter::BadSource]);
    }));
    let cut = frame[..packet.l4() + 4].to_vec();
    let row = known::<A>("a frame cut off behind the ports, of a flow", proto, state::ESTABLISHED, |_| {});
    rows.push(row.drops(WAN, cut.clone(), |world| world.count(&[Counter::BadLength])));
    rows.push(secure::<A>("a frame cut off behind the ports", proto, |_| {}).drops(WAN, cut, |world| {
        world.count(&[Counter::BadLength]);
    }));
    let row = secure::<A>("the flow table takes nothing", proto, |world| world.refuses_flows = true);
    rows.push(row.on_the_host_alone("the kernel's LRU refuses no entry").passes(WAN, frame, |world| {
        world.count(&[Counter::Secure, Counter::FlowsLocal, Counter::FlowTableFull]);
    }));
    changed_services::<A>(rows, proto);
}

/// The mode of a service changes while its flows are in the tables.
fn changed_services<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    let (frame, bytes) = (packet.frame(), packet.frame().len());
    rows.push(
        mapped::<A>("the flow of a backend that went with its service of mode packet", proto, move |world| {
            service::<A>(world, proto).mode = mode::SECURE;
            with_backend(world, 0, |row| *row = backend::Backend { generation: GENERATION + 1, ..Default::default() });
        })
        .passes(WAN, frame.clone(), move |world| made_local::<A>(world, proto, state::ESTABLISHED, bytes)),
    );
    let row =
        known::<A>("a flow goes on here when its service is of mode packet", proto, state::ESTABLISHED, |world| {
            world.services.values_mut().for_each(|service| service.mode = mode::PACKET);
        });
    rows.push(row.passes(WAN, frame, move |world| {
        saw_forth::<A>(world, proto, bytes);
        world.count(&[Counter::Secure]);
    }));
}

fn of_tcp<A: Scene>(rows: &mut Vec<Row>) {
    let syn = from_client::<A>(TCP).flags("S");
    let (frame, bytes) = (syn.frame(), syn.frame().len());
    let row = secure::<A>("a SYN makes no flow, what follows it does", TCP, |_| {});
    let follows = from_client::<A>(TCP).flags("A").frame();
    rows.push(row.passes(WAN, frame.clone(), |world| world.count(&[Counter::Secure])).passes(
        WAN,
        follows,
        move |world| made_local::<A>(world, TCP, state::ESTABLISHED, bytes),
    ));
    let reset = from_client::<A>(TCP).flags("R").frame();
    rows.push(secure::<A>("a reset without a flow", TCP, |_| {}).passes(WAN, reset, |world| {
        world.count(&[Counter::Secure]);
    }));
    let fin = from_client::<A>(TCP).flags("FA").frame();
    rows.push(secure::<A>("FIN without a flow", TCP, |_| {}).passes(WAN, fin, move |world| {
        made_local::<A>(world, TCP, state::CLOSING, bytes);
    }));
    let moves = [
        ("A", state::ESTABLISHED, state::ESTABLISHED, "data"),
        ("S", state::ESTABLISHED, state::ESTABLISHED, "a spoofed SYN changes nothing"),
        ("FA", state::ESTABLISHED, state::CLOSING, "FIN"),
        ("R", state::ESTABLISHED, state::CLOSED, "RST"),
        ("A", state::CLOSING, state::CLOSING, "data after FIN"),
        ("S", state::CLOSING, state::SYN, "the port is used again after FIN"),
        ("S", state::CLOSED, state::SYN, "the port is used again after RST"),
        ("A", state::SYN, state::ESTABLISHED, "the handshake's end"),
    ];
    for (flags, before, after, what) in moves {
        let packet = from_client::<A>(TCP).flags(flags).frame();
        let row = known::<A>(&format!("{what}, state {before}"), TCP, before, |_| {});
        rows.push(row.passes(WAN, packet, move |world| {
            saw_forth::<A>(world, TCP, bytes);
            forth::<A>(world, TCP).state = after;
            world.count(&[Counter::Secure]);
        }));
    }
    for state in [state::ESTABLISHED, state::CLOSING] {
        let what = format!("a SYN on a flow, state {state}, whose service is of mode packet now");
        let row = known::<A>(&what, TCP, state, |world| {
            let services = world.services.values_mut();
            services.for_each(|service| (service.mode, service.scheduler) = (mode::PACKET, scheduler::MH));
        });
        let out = (Action::Redirect(FARM), at_backend(&syn, 0).frame());
        rows.push(row.sends(WAN, frame.clone(), out, move |world| {
            made_nat::<A>(world, TCP, 0, state::SYN, bytes);
            world.count(&[Counter::FlowsByHash]);
        }));
        let row = known::<A>(&format!("a SYN on a flow, state {state}, whose service is gone"), TCP, state, |world| {
            world.services.clear();
        });
        rows.push(row.passes(WAN, frame.clone(), |world| world.count(&[Counter::NotOurs])));
    }
}
