//! What packets do to a flow's TCP state, and what the state does to packets.

use dispatcher_common::{
    backend,
    counter::Counter,
    flow::state,
    service::{TCP, UDP, scheduler},
};
use dispatcher_tests::packet_path::{
    host::Action,
    row::Row,
    scene::{
        BACKENDS, FARM, GENERATION, RING, SERVICE, Scene, WAN, at_backend, at_client, from_backend, from_client,
        with_backend,
    },
};

use crate::effects::{
    BackendChange, back, closed, forth, made_nat, mapped, opened, placed_lock_and_up, saw_forth, service, went_back,
    went_forth,
};

/// What a packet does to the counters of flows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Nothing,
    Closed,
    Opened,
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    of_tcp::<[u8; 4]>(&mut rows);
    of_tcp::<[u8; 16]>(&mut rows);
    for proto in [TCP, UDP] {
        lost_backends::<[u8; 4]>(&mut rows, proto);
        lost_backends::<[u8; 16]>(&mut rows, proto);
    }
    rows
}

fn of_tcp<A: Scene>(rows: &mut Vec<Row>) {
    of_clients::<A>(rows);
    of_backends::<A>(rows);
    used_again::<A>(rows);
    for ttl in [0, 1] {
        let reset = from_client::<A>(TCP).flags("R").ttl(ttl);
        rows.push(mapped::<A>("a reset that ends here ends no flow", TCP, |_| {}).passes(
            WAN,
            reset.frame(),
            |world| world.count(&[Counter::TtlExpired]),
        ));
    }
}

/// What a client's packets do to a flow.
fn of_clients<A: Scene>(rows: &mut Vec<Row>) {
    use Counted::{Closed, Nothing, Opened};
    // Flags, state before and after.
    let client = [
        ("S", state::SYN, state::SYN, Nothing, "a repeated SYN"),
        ("A", state::SYN, state::ESTABLISHED, Nothing, "the handshake's end"),
        ("A", state::ESTABLISHED, state::ESTABLISHED, Nothing, "data"),
        ("S", state::ESTABLISHED, state::ESTABLISHED, Nothing, "a spoofed SYN re-points nothing"),
        ("SA", state::ESTABLISHED, state::ESTABLISHED, Nothing, "a SYN with ACK"),
        ("FA", state::ESTABLISHED, state::CLOSING, Closed, "FIN"),
        ("FA", state::SYN, state::CLOSING, Closed, "FIN in the handshake"),
        ("R", state::ESTABLISHED, state::CLOSED, Closed, "RST"),
        ("RA", state::SYN, state::CLOSED, Closed, "RST in the handshake"),
        ("SR", state::ESTABLISHED, state::CLOSED, Closed, "SYN with RST"),
        ("FA", state::CLOSING, state::CLOSING, Nothing, "a repeated FIN"),
        ("A", state::CLOSING, state::CLOSING, Nothing, "data after FIN"),
        ("R", state::CLOSING, state::CLOSED, Nothing, "RST after FIN"),
        ("A", state::CLOSED, state::CLOSED, Nothing, "data after RST"),
        ("FA", state::CLOSED, state::CLOSED, Nothing, "FIN after RST"),
        ("S", state::CLOSING, state::SYN, Opened, "the port is used again after FIN"),
        ("S", state::CLOSED, state::SYN, Opened, "the port is used again after RST"),
        ("SA", state::CLOSED, state::CLOSED, Nothing, "a SYN with ACK opens nothing"),
    ];
    for (flags, before, after, counted, what) in client {
        let packet = from_client::<A>(TCP).flags(flags);
        let (bytes, out) = (packet.frame().len(), at_backend(&packet, 0).frame());
        let row = mapped::<A>(&format!("{what} of the client, state {before}"), TCP, move |world| {
            forth::<A>(world, TCP).state = before;
            // The backend had ended its side too.
            back::<A>(world, TCP).state = if before >= state::CLOSING { state::CLOSING } else { state::ESTABLISHED };
        });
        rows.push(row.sends(WAN, packet.frame(), (Action::Redirect(FARM), out), move |world| {
            went_forth::<A>(world, TCP, bytes);
            forth::<A>(world, TCP).state = after;
            match counted {
                Nothing => {}
                Closed => closed(world, 0),
                Opened => {
                    opened(world, 0);
                    back::<A>(world, TCP).state = state::ESTABLISHED;
                }
            }
        }));
    }
}

/// What a backend's packets do to its direction. Flows are counted by what their clients do.
fn of_backends<A: Scene>(rows: &mut Vec<Row>) {
    let backend = [
        ("SA", state::ESTABLISHED, state::ESTABLISHED),
        ("FA", state::ESTABLISHED, state::CLOSING),
        ("R", state::ESTABLISHED, state::CLOSED),
        ("A", state::CLOSING, state::CLOSING),
    ];
    for (flags, before, after) in backend {
        let packet = from_backend::<A>(TCP, 0).flags(flags);
        let (bytes, out) = (packet.frame().len(), at_client(&packet).frame());
        let row = mapped::<A>(&format!("{flags} of the backend, state {before}"), TCP, move |world| {
            back::<A>(world, TCP).state = before;
        });
        rows.push(row.sends(FARM, packet.frame(), (Action::Redirect(WAN), out), move |world| {
            went_back::<A>(world, TCP, bytes);
            back::<A>(world, TCP).state = after;
        }));
    }
}

/// A client uses its port again while the backend takes no flows: the new connection goes elsewhere, however often its
/// SYN is repeated until somebody has picked.
fn used_again<A: Scene>(rows: &mut Vec<Row>) {
    let syn = from_client::<A>(TCP).flags("S");
    let frame = syn.frame();
    let bytes = frame.len();
    let states: [BackendChange; 3] = [
        ("in drain", |row| row.state = backend::state::DRAIN),
        ("of weight 0", |row| row.weight = 0),
        ("that is down", |row| row.health = backend::health::DOWN),
    ];
    for (what, change) in states {
        let (frame, first, again) = (frame.clone(), frame.clone(), frame.clone());
        rows.push(
            mapped::<A>(&format!("the port of a flow at a backend {what} is used again"), TCP, move |world| {
                forth::<A>(world, TCP).state = state::CLOSING;
                with_backend(world, 0, change);
            })
            .drops(WAN, frame.clone(), move |world| {
                saw_forth::<A>(world, TCP, bytes);
                placed_lock_and_up::<A>(world, &first);
                world.count(&[Counter::Upcall]);
            })
            .drops(WAN, frame.clone(), move |world| {
                saw_forth::<A>(world, TCP, bytes);
                world.send_up(WAN, SERVICE, 0, &again);
                world.count(&[Counter::UpcallLocked]);
            })
            .consume()
            .change(|world| {
                world.config.upcall_until_ns = 0;
                world.fill_ring(RING, |_| BACKENDS[1]);
            })
            .sends(WAN, frame, (Action::Redirect(FARM), at_backend(&syn, 1).frame()), move |world| {
                made_nat::<A>(world, TCP, 1, state::SYN, bytes);
                world.count(&[Counter::PickedInKernel]);
            }),
        );
    }
}

/// A flow's backend no longer keeps it: it is picked anew.
fn lost_backends<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    let (frame, bytes) = (packet.frame(), packet.frame().len());
    let losses: [BackendChange; 3] = [
        ("in maint", |row| row.state = backend::state::MAINT),
        ("that was removed", |row| *row = backend::Backend { generation: GENERATION + 1, ..Default::default() }),
        ("whose ID is another's now", |row| row.generation = GENERATION + 1),
    ];
    for (what, change) in losses {
        let out = (Action::Redirect(FARM), at_backend(&packet, 1).frame());
        rows.push(
            mapped::<A>(&format!("the flow of a backend {what} is hashed anew"), proto, move |world| {
                with_backend(world, 0, change);
                service::<A>(world, proto).scheduler = scheduler::MH;
                world.fill_ring(RING, |_| BACKENDS[1]);
            })
            .sends(WAN, frame.clone(), out, move |world| {
                made_nat::<A>(world, proto, 1, state::ESTABLISHED, bytes);
                world.count(&[Counter::FlowsByHash]);
            }),
        );
        let up = frame.clone();
        rows.push(
            mapped::<A>(&format!("the flow of a backend {what} is sent up"), proto, move |world| {
                with_backend(world, 0, change);
            })
            .drops(WAN, frame.clone(), move |world| {
                saw_forth::<A>(world, proto, bytes);
                placed_lock_and_up::<A>(world, &up);
                world.count(&[Counter::Upcall]);
            }),
        );
    }
    // What a backend in maint still answers reaches its client.
    let answer = from_backend::<A>(proto, 0);
    let bytes = answer.frame().len();
    rows.push(
        mapped::<A>("a backend in maint ends its answer", proto, |world| {
            with_backend(world, 0, |row| row.state = backend::state::MAINT);
        })
        .sends(FARM, answer.frame(), (Action::Redirect(WAN), at_client(&answer).frame()), move |world| {
            went_back::<A>(world, proto, bytes);
        }),
    );
}
