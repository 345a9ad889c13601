//! The same client port to several VIPs: flows of their own, unless a backend could not tell them apart.

use dispatcher_common::{
    counter::Counter,
    flow::{Flow, FlowKey, state},
    service::{Service, ServiceKey, TCP, UDP, forward, scheduler},
};
use dispatcher_tests::packet_path::{
    host::Action,
    row::Row,
    scene::{
        BACKEND_MAC, BACKENDS, FARM, FARM_MAC, PORT, RING, SERVICE, Scene, WAN, at_backend, from_client, nat_back,
        nat_in, way_back, way_in,
    },
};

use crate::effects::{
    FRESH, back, forth, made_dsr, made_nat, mapped, opened, picked, received, saw_forth, service, staged, went_forth,
};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in [TCP, UDP] {
        conflicts::<[u8; 4]>(&mut rows, proto);
        conflicts::<[u8; 16]>(&mut rows, proto);
    }
    used_again::<[u8; 4]>(&mut rows);
    used_again::<[u8; 16]>(&mut rows);
    rows
}

/// A port is used again whose answers have become another flow's since the last connection ended: it is a new flow, that
/// cannot be told from the other while that lives.
fn used_again<A: Scene>(rows: &mut Vec<Row>) {
    let syn = from_client::<A>(TCP).flags("S");
    let (frame, bytes) = (syn.frame(), syn.frame().len());
    let out = (Action::Redirect(FARM), at_backend(&syn, 0).frame());
    rows.push(
        mapped::<A>("a port is used again whose answers are another flow's now", TCP, move |world| {
            service::<A>(world, TCP).scheduler = scheduler::MH;
            forth::<A>(world, TCP).state = state::CLOSED;
            *back::<A>(world, TCP) =
                Flow { address: A::VIP2, service: SERVICE + 1, ..nat_back(world, 0, state::ESTABLISHED) };
            let there = Flow { backend: BACKENDS[1], ..nat_in(world, 0, state::ESTABLISHED) };
            A::flows(world).insert(FlowKey { dst: A::VIP2, ..way_in(TCP) }, there);
        })
        .drops(WAN, frame.clone(), move |world| {
            saw_forth::<A>(world, TCP, bytes);
            world.count(&[Counter::TupleConflict]);
        })
        .change(|world| {
            A::flows(world).remove(&FlowKey { dst: A::VIP2, ..way_in(TCP) });
        })
        .sends(WAN, frame, out, move |world| {
            made_nat::<A>(world, TCP, 0, state::SYN, bytes);
            world.count(&[Counter::FlowsByHash]);
        }),
    );
}

/// The same client port to two VIPs that lead to the same backend: its answers are the same 5-tuple.
fn conflicts<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    // States of the other flow's directions, and whether it still lives.
    let others = [
        (Some(state::ESTABLISHED), state::ESTABLISHED, true, "an open flow"),
        (Some(state::HELD), state::ESTABLISHED, true, "a held flow"),
        (Some(state::SYN), state::ESTABLISHED, true, "a flow in its handshake"),
        (Some(state::CLOSING), state::ESTABLISHED, true, "a flow whose backend still sends"),
        (Some(state::ESTABLISHED), state::CLOSING, true, "a flow whose client still sends"),
        (Some(state::CLOSING), state::CLOSING, false, "a flow that both have ended"),
        (Some(state::CLOSED), state::ESTABLISHED, false, "a flow that its client has reset"),
        (Some(state::ESTABLISHED), state::CLOSED, false, "a flow that its backend has reset"),
        (None, state::ESTABLISHED, false, "a way back that belongs to nothing"),
    ];
    for (there, home, is_alive, what) in others {
        let row = staged::<A>(&format!("the answers are those of {what} to another VIP"), proto, move |world| {
            service::<A>(world, proto).scheduler = scheduler::MH;
            let other = FlowKey { dst: A::VIP2, ..way_in(proto) };
            let home = Flow { address: A::VIP2, ..nat_back(world, 0, home) };
            A::flows(world).insert(way_back(proto, 0), home);
            if let Some(there) = there {
                // The other VIP's service has an ID of its own for the backend.
                let there = Flow { backend: BACKENDS[1], ..nat_in(world, 0, there) };
                A::flows(world).insert(other, there);
            }
        });
        rows.push(if is_alive {
            row.drops(WAN, packet.frame(), |world| world.count(&[Counter::TupleConflict]))
        } else {
            picked(row, proto, &packet, 0, &[Counter::FlowsByHash])
        });
    }
    // Another backend tells them apart, and so does another port of the client.
    let row = staged::<A>("another VIP, another backend", proto, move |world| {
        service::<A>(world, proto).scheduler = scheduler::MH;
        world.fill_ring(RING, |_| BACKENDS[1]);
        let home = Flow { address: A::VIP2, ..nat_back(world, 0, state::ESTABLISHED) };
        A::flows(world).insert(way_back(proto, 0), home);
    });
    rows.push(picked(row, proto, &packet, 1, &[Counter::FlowsByHash]));
    // The service's own former flow is no other flow.
    let row = mapped::<A>("the way back of the same flow", proto, move |world| {
        service::<A>(world, proto).scheduler = scheduler::MH;
        A::flows(world).remove(&way_in(proto));
    });
    rows.push(picked(row, proto, &packet, 0, &[Counter::FlowsByHash]));
    // Without address translation the backend sees which VIP it is.
    let out = (Action::Redirect(FARM), packet.clone().routed(FARM_MAC, BACKEND_MAC[0]).frame());
    let bytes = packet.frame().len();
    rows.push(
        staged::<A>("dsr knows no conflict", proto, move |world| {
            let service = service::<A>(world, proto);
            (service.scheduler, service.forward) = (scheduler::MH, forward::DSR);
            let home = Flow { address: A::VIP2, ..nat_back(world, 0, state::ESTABLISHED) };
            A::flows(world).insert(way_back(proto, 0), home);
        })
        .sends(WAN, packet.frame(), out, move |world| {
            made_dsr::<A>(world, proto, FRESH, bytes);
            world.count(&[Counter::FlowsByHash]);
        }),
    );
    two_vips::<A>(rows, proto);
}

/// The same client port to two VIPs that lead to different backends: two flows, side by side.
fn two_vips<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let (first, second) = (from_client::<A>(proto), from_client::<A>(proto).to(A::VIP2, PORT));
    let bytes = first.frame().len();
    let row = staged::<A>("the same client port to two VIPs", proto, move |world| {
        service::<A>(world, proto).scheduler = scheduler::MH;
        let other = Service { id: SERVICE + 1, ring: RING + 1, ..*service::<A>(world, proto) };
        world.services.insert(ServiceKey { addr: A::VIP2.mapped(), port: PORT, proto, pad: 0 }, other);
        world.fill_ring(RING + 1, |_| BACKENDS[1]);
    });
    let row = picked(row, proto, &first, 0, &[Counter::FlowsByHash]);
    let out = (Action::Redirect(FARM), at_backend(&second, 1).frame());
    let row = row.sends(WAN, second.frame(), out, move |world| {
        let now_ns = world.now_ns;
        let delta = |flow: Flow<A>| Flow { service: SERVICE + 1, last_seen_ns: now_ns, ..flow };
        let (there, home) = (delta(nat_in(world, 1, FRESH)), delta(nat_back(world, 1, FRESH)));
        // What the addresses add to a sum; VIP and VIP2 differ by one.
        let there = Flow { packets: 1, bytes: bytes as u64, delta: minus_one(there.delta), ..there };
        let home = Flow { address: A::VIP2, delta: !there.delta, ..home };
        let key = FlowKey { dst: A::VIP2, ..way_in(proto) };
        A::flows(world).insert(key, there);
        A::flows(world).insert(way_back(proto, 1), home);
        opened(world, 1);
        received(world, 1, bytes);
        world.count(&[Counter::FlowsByHash]);
    });
    rows.push(row.sends(WAN, first.frame(), (Action::Redirect(FARM), at_backend(&first, 0).frame()), move |world| {
        went_forth::<A>(world, proto, bytes)
    }));
}

/// Ones' complement subtraction of one.
fn minus_one(sum: u16) -> u16 {
    if sum == 0 { 0xfffe } else { sum - 1 }
}
