//! Packets of a service that have no flow: sent up under a lock, or given a backend by the program.

use dispatcher_common::{
    address::{Family as _, V4},
    backend,
    client::ClientKey,
    client_lock::ClientLock,
    counter::Counter,
    flow::state,
    service::{TCP, UDP, forward, scheduler},
    table::MAX_LOCKS,
};
use dispatcher_tests::packet_path::{
    host::Action,
    kernel::LONGEST_FRAME,
    row::Row,
    scene::{
        BACKEND_MAC, BACKENDS, FARM, FARM_MAC, RING, SECOND, SERVICE, Scene, WAN, at_backend, client_key, from_client,
        with_backend,
    },
    world::World,
};

use crate::effects::{
    FRESH, closed, lock_until, made_dsr, made_nat, mapped, opened, picked, placed_lock_and_up, received, service,
    staged, went_forth,
};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in [TCP, UDP] {
        of_family::<[u8; 4]>(&mut rows, proto);
        of_family::<[u8; 16]>(&mut rows, proto);
    }
    sizes(&mut rows);
    full_tables(&mut rows);
    first_flags::<[u8; 4]>(&mut rows);
    first_flags::<[u8; 16]>(&mut rows);
    rows
}

fn of_family<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    locks::<A>(rows, proto);
    without_the_daemon::<A>(rows, proto);
    refused::<A>(rows, proto);
}

fn locks<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let frame = from_client::<A>(proto).frame();
    let (first, second) = (frame.clone(), frame.clone());
    rows.push(
        staged::<A>("the first packet places the lock, the next finds it", proto, |_| {})
            .drops(WAN, frame.clone(), move |world| {
                placed_lock_and_up::<A>(world, &first);
                world.count(&[Counter::Upcall]);
            })
            .drops(WAN, frame.clone(), move |world| {
                world.send_up(WAN, SERVICE, 0, &second);
                world.count(&[Counter::UpcallLocked]);
            }),
    );
    let up = frame.clone();
    rows.push(
        staged::<A>("a lock that stood too long counts no more", proto, |world| {
            let expires_ns = world.now_ns;
            lock_until::<A>(world, expires_ns);
        })
        .drops(WAN, frame.clone(), move |world| {
            placed_lock_and_up::<A>(world, &up);
            world.count(&[Counter::Upcall]);
        }),
    );
    let up = frame.clone();
    rows.push(
        staged::<A>("locks of others do not count", proto, |world| {
            let lock = ClientLock { expires_ns: world.now_ns + 9 * SECOND, ..ClientLock::default() };
            world.locks.insert(ClientKey { service: SERVICE + 1, ..client_key::<A>() }, lock);
            world.locks.insert(ClientKey { addr: A::STRANGER.mapped(), ..client_key::<A>() }, lock);
        })
        .drops(WAN, frame, move |world| {
            placed_lock_and_up::<A>(world, &up);
            world.count(&[Counter::Upcall]);
        }),
    );
}

fn without_the_daemon<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    let row = staged::<A>("a daemon that is gone is not asked", proto, |world| {
        world.config.upcall_until_ns = world.now_ns;
    });
    let bytes = packet.frame().len();
    rows.push(picked(row, proto, &packet, 0, &[Counter::PickedInKernel]).sends(
        WAN,
        packet.frame(),
        (Action::Redirect(FARM), at_backend(&packet, 0).frame()),
        move |world| went_forth::<A>(world, proto, bytes),
    ));
    let row = staged::<A>("a full ring buffer leaves no lock behind", proto, |_| {}).with_full_events();
    rows.push(picked(row, proto, &packet, 0, &[Counter::UpcallRefused, Counter::PickedInKernel]));
    let row = staged::<A>("a full ring buffer leaves a standing lock", proto, |world| {
        let expires_ns = world.now_ns + 9 * SECOND;
        lock_until::<A>(world, expires_ns);
    });
    let row = row.with_full_events();
    rows.push(picked(row, proto, &packet, 0, &[Counter::UpcallRefused, Counter::PickedInKernel]));
    let row = staged::<A>("the ring's next slot, where a backend has just left", proto, |world| {
        world.config.upcall_until_ns = 0;
        world.fill_ring(RING, |slot| BACKENDS[slot % 2]);
        with_backend(world, 0, |row| row.state = backend::state::DRAIN);
    });
    rows.push(picked(row, proto, &packet, 1, &[Counter::PickedInKernel]));
    let out = (Action::Redirect(FARM), packet.clone().routed(FARM_MAC, BACKEND_MAC[0]).frame());
    rows.push(
        staged::<A>("dsr has no way back", proto, move |world| {
            world.config.upcall_until_ns = 0;
            service::<A>(world, proto).forward = forward::DSR;
        })
        .sends(WAN, packet.frame(), out, move |world| {
            made_dsr::<A>(world, proto, FRESH, bytes);
            world.count(&[Counter::PickedInKernel]);
        }),
    );
}

/// Packets that make no flow, whoever would pick.
fn refused<A: Scene>(rows: &mut Vec<Row>, proto: u8) {
    let packet = from_client::<A>(proto);
    for scheduler in [scheduler::RR, scheduler::MH] {
        let staged = |what: &str, change: fn(&mut World)| {
            staged::<A>(&format!("{what}, scheduler {scheduler}"), proto, move |world| {
                service::<A>(world, proto).scheduler = scheduler;
                change(world);
            })
        };
        for ttl in [0, 1] {
            let frame = packet.clone().ttl(ttl).frame();
            rows.push(staged(&format!("TTL {ttl}"), |_| {}).passes(WAN, frame, |world| {
                world.count(&[Counter::TtlExpired]);
            }));
        }
        let lease_is_over = |world: &mut World| world.config.lease_until_ns = world.now_ns;
        rows.push(staged("the lease is over", lease_is_over).passes(WAN, packet.frame(), |world| {
            world.count(&[Counter::LeaseOver]);
        }));
        if proto == TCP {
            let frame = packet.clone().flags("R").frame();
            rows.push(staged("a reset without a flow", |_| {}).drops(WAN, frame, |world| {
                world.count(&[Counter::ResetWithoutFlow]);
            }));
        }
    }
    let bytes = packet.frame().len();
    let row = mapped::<A>("the lease is over: mapped flows go on", proto, |world| {
        world.config.lease_until_ns = world.now_ns;
    });
    let out = (Action::Redirect(FARM), at_backend(&packet, 0).frame());
    rows.push(row.sends(WAN, packet.frame(), out, move |world| went_forth::<A>(world, proto, bytes)));
    let row = staged::<A>("a lease that has time left", proto, move |world| {
        service::<A>(world, proto).scheduler = scheduler::MH;
        world.config.lease_until_ns = world.now_ns + 60 * SECOND;
    });
    rows.push(picked(row, proto, &packet, 0, &[Counter::FlowsByHash]));
}

/// The state in which the program makes a TCP flow, by its first packet's flags.
fn first_flags<A: Scene>(rows: &mut Vec<Row>) {
    let firsts = [("S", state::SYN), ("A", state::ESTABLISHED), ("SA", state::ESTABLISHED), ("FA", state::CLOSING)];
    for (flags, state) in firsts {
        let packet = from_client::<A>(TCP).flags(flags);
        let bytes = packet.frame().len();
        let row = staged::<A>(&format!("a flow that begins with {flags}"), TCP, |world| {
            service::<A>(world, TCP).scheduler = scheduler::MH;
        });
        let out = (Action::Redirect(FARM), at_backend(&packet, 0).frame());
        rows.push(row.sends(WAN, packet.frame(), out, move |world| {
            made_nat::<A>(world, TCP, 0, state, bytes);
            if state == state::CLOSING {
                closed(world, 0);
            }
            world.count(&[Counter::FlowsByHash]);
        }));
    }
}

/// A record is the smallest that holds header and frame.
fn sizes(rows: &mut Vec<Row>) {
    for length in [167, 168, 169, 2023, 2024, 2025, LONGEST_FRAME] {
        let packet = from_client::<V4>(TCP);
        let headers = packet.frame().len() - packet.payload.len();
        let frame = packet.payload(vec![7; length - headers]).frame();
        let up = frame.clone();
        rows.push(staged::<V4>(&format!("a frame of {length} bytes goes up"), TCP, |_| {}).drops(
            WAN,
            frame,
            move |world| {
                placed_lock_and_up::<V4>(world, &up);
                world.count(&[Counter::Upcall]);
            },
        ));
    }
}

fn full_tables(rows: &mut Vec<Row>) {
    let packet = from_client::<V4>(TCP);
    let row = staged::<V4>("the lock table is full", TCP, |world| {
        let expires_ns = world.now_ns + 60 * SECOND;
        for number in (0..u32::MAX).take(MAX_LOCKS) {
            let [_, b, c, d] = number.to_be_bytes();
            let key = ClientKey { addr: [10, b, c, d].mapped(), service: SERVICE, pad: [0; 2] };
            world.locks.insert(key, ClientLock { expires_ns, node: 9, pad: [0; 6] });
        }
    });
    rows.push(picked(row, TCP, &packet, 0, &[Counter::LockTableFull, Counter::PickedInKernel]));
    let out = (Action::Redirect(FARM), at_backend(&packet, 0).frame());
    let bytes = packet.frame().len();
    let row = staged::<V4>("the flow table takes nothing", TCP, |world| {
        service::<V4>(world, TCP).scheduler = scheduler::MH;
        world.refuses_flows = true;
    });
    rows.push(row.on_the_host_alone("the kernel's LRU refuses no entry").sends(
        WAN,
        packet.frame(),
        out,
        move |world| {
            opened(world, 0);
            received(world, 0, bytes);
            world.count(&[Counter::FlowsByHash, Counter::FlowTableFull]);
        },
    ));
}
