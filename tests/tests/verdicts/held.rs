//! Flows that the daemon has mapped while packets of them are still with it: nothing overtakes those.

use dispatcher_common::{
    backend,
    client::ClientKey,
    client_lock::ClientLock,
    counter::Counter,
    flow::state,
    service::{TCP, UDP, forward, scheduler},
};
use dispatcher_tests::packet_path::{
    host::Action,
    row::Row,
    scene::{
        BACKEND_MAC, BACKENDS, FARM, FARM_MAC, RING, SERVICE, Scene, WAN, at_backend, dsr_in, from_client, with_backend,
    },
    world::World,
};

use crate::effects::{closed, forth, made_nat, mapped, saw_forth, service, went_forth};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in [TCP, UDP] {
        of_family::<[u8; 4]>(&mut rows, proto);
        of_family::<[u8; 16]>(&mut rows, proto);
    }
    ended::<[u8; 4]>(&mut rows);
    ended::<[u8; 16]>(&mut rows);
    rows
}

/// A row that starts with a flow that is held, then `change`.
fn held<A: Scene>(what: &str, proto: u8, change: impl Fn(&mut World) + Sync + 'static) -> Row {
    mapped::<A>(what, proto, move |world| {
        forth::<A>(world, proto).state = state::HELD;
        change(world);
    })
}

/// Another client's packet goes up, so that the ring buffer is not empty.
fn with_a_record_on_its_way<A: Scene>(row: Row, proto: u8) -> Row {
    let frame = from_client::<A>(proto).from(A::STRANGER, 7).frame();
    row.change(|world| {
        let key = ClientKey { addr: A::STRANGER.mapped(), service: SERVICE, pad: [0; 2] };
        world.locks.insert(key, ClientLock { expires_ns: u64::MAX, node: 9, pad: [0; 6] });
    })
    .drops(WAN, frame.clone(), move |world| {
        world.send_up(WAN, SERVICE, 0, &frame);
        world.count(&[Counter::UpcallLocked]);
    })
}

/// The flow has opened with its packet that is sent on.
fn opens<A: Scene>(row: Row, proto: u8, reasons: &'static [Counter]) -> Row {
    let packet = from_client::<A>(proto);
    let (bytes, out) = (packet.frame().len(), (Action::Redirect(FARM), at_backend(&packet, 0).frame()));
    row.sends(WAN, packet.frame(), out, move |world| {
        went_forth::<A>(world, proto, bytes);
        let produced = world.produced;
        let flow = forth::<A>(world, proto);
        flow.state = state::ESTABLISHED;
        if flow.fence == 0 {
            flow.fence = produced;
        }
        world.count(reasons);
    })
}

/// The packet goes up behind the others, and the fence with it.
fn goes_up<A: Scene>(row: Row, proto: u8) -> Row {
    let frame = from_client::<A>(proto).frame();
    let up = frame.clone();
    row.drops(WAN, frame, move |world| {
        saw_forth::<A>(world, proto, up.len());
        world.send_up(WAN, SERVICE, 0, &up);
        forth::<A>(world, proto).fence = world.produced;
        world.count(&[Counter::UpcallHeld]);
    })
}

fn of_family<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    let (frame, bytes) = (packet.frame(), packet.frame().len());
    let row = opens::<A>(held::<A>("nothing is on its way: the flow opens", proto, |_| {}), proto, &[]);
    rows.push(row.sends(WAN, frame.clone(), (Action::Redirect(FARM), at_backend(&packet, 0).frame()), move |world| {
        went_forth::<A>(world, proto, bytes)
    }));
    let row = held::<A>("packets go up until all before them has left the daemon", proto, |_| {});
    let row = with_a_record_on_its_way::<A>(row, proto);
    let row = goes_up::<A>(goes_up::<A>(row, proto), proto).consume();
    rows.push(opens::<A>(row, proto, &[]));
    let row = held::<A>("a daemon that is gone is not waited for", proto, |_| {});
    let row = with_a_record_on_its_way::<A>(row, proto).change(|world| world.config.upcall_until_ns = 0);
    rows.push(opens::<A>(row, proto, &[]));
    let row = held::<A>("a full ring buffer is not waited for", proto, |_| {}).with_full_events();
    rows.push(opens::<A>(row, proto, &[Counter::UpcallRefused]));
    for ttl in [0, 1] {
        let frame = packet.clone().ttl(ttl).frame();
        let row = held::<A>(&format!("TTL {ttl} ends here"), proto, |_| {});
        rows.push(row.passes(WAN, frame, |world| world.count(&[Counter::TtlExpired])));
    }
    let row = held::<A>("a backend in drain keeps it", proto, |world| {
        with_backend(world, 0, |row| row.state = backend::state::DRAIN);
    });
    rows.push(opens::<A>(row, proto, &[]));
    let row = held::<A>("a backend whose neighbour is unknown", proto, |world| {
        with_backend(world, 0, |row| row.ifindex = 0);
    });
    rows.push(row.drops(WAN, frame.clone(), move |world| {
        saw_forth::<A>(world, proto, bytes);
        let fence = world.produced;
        let flow = forth::<A>(world, proto);
        (flow.state, flow.fence) = (state::ESTABLISHED, fence);
        world.count(&[Counter::NoNeighbour]);
    }));
    let row = held::<A>("a backend that was lost meanwhile", proto, move |world| {
        with_backend(world, 0, |row| row.state = backend::state::MAINT);
        service::<A>(world, proto).scheduler = scheduler::MH;
        world.fill_ring(RING, |_| BACKENDS[1]);
    });
    rows.push(row.sends(WAN, frame.clone(), (Action::Redirect(FARM), at_backend(&packet, 1).frame()), move |world| {
        made_nat::<A>(world, proto, 1, state::ESTABLISHED, bytes);
        world.count(&[Counter::FlowsByHash]);
    }));
    let row = held::<A>("dsr", proto, move |world| {
        service::<A>(world, proto).forward = forward::DSR;
        let flow = dsr_in(world, 0, state::HELD);
        *forth::<A>(world, proto) = flow;
    });
    let out = (Action::Redirect(FARM), packet.routed(FARM_MAC, BACKEND_MAC[0]).frame());
    rows.push(row.sends(WAN, frame, out, move |world| {
        went_forth::<A>(world, proto, bytes);
        let fence = world.produced;
        let flow = forth::<A>(world, proto);
        (flow.state, flow.fence) = (state::ESTABLISHED, fence);
    }));
}

/// The packet that opens the flow may end it at once.
fn ended<A: Scene>(rows: &mut Vec<Row>) {
    for (flags, after) in [("FA", state::CLOSING), ("R", state::CLOSED)] {
        let packet = from_client::<A>(TCP).flags(flags);
        let (bytes, out) = (packet.frame().len(), at_backend(&packet, 0).frame());
        let row = held::<A>(&format!("{flags} opens and ends it"), TCP, |_| {});
        rows.push(row.sends(WAN, packet.frame(), (Action::Redirect(FARM), out), move |world| {
            went_forth::<A>(world, TCP, bytes);
            let fence = world.produced;
            let flow = forth::<A>(world, TCP);
            (flow.state, flow.fence) = (after, fence);
            closed(world, 0);
        }));
    }
}
