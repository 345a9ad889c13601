//! The sweeper, over the tables of a loaded program: it removes what is over, keeps the rest, and counts live flows.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_common::{
    address::{V4, V6},
    flow::{Flow, FlowKey, NO_BACKEND, state, target},
    service::{TCP, UDP},
};
use dispatcher_tests::packet_path::{
    capable::is_capable,
    kernel::{coarse_now_ns, with_pinned_kernel},
    scene::{BACKENDS, SECOND, Scene, dsr_in, map_nat, way_back, way_in},
    world::World,
};
use dispatcher_user::{core::event::Event, datapath::sweep::Sweeper};

/// How long the entries that are to go were silent: longer than a TCP flow that was reset may be, the shortest limit.
const SILENT_NS: u64 = 20 * SECOND;

/// A flow of every kind, once silent for so long that it is over, once just seen.
fn flows<A: Scene>(world: &mut World) {
    let now_ns = world.now_ns;
    let old_ns = now_ns.saturating_sub(SILENT_NS);
    let reset = |flow: Flow<A>| Flow { state: state::CLOSED, last_seen_ns: old_ns, ..flow };
    let fresh = |flow: Flow<A>| Flow { last_seen_ns: now_ns, ..flow };
    // Client ports tell them apart: below ten they go.
    let (nat, dsr) = (world.clone(), dsr_in(world, 1, state::ESTABLISHED));
    let local = Flow { target: target::LOCAL, backend: NO_BACKEND, ..dsr };
    let key = |port: u16| FlowKey { sport: port, ..way_in::<A>(TCP) };
    let table = A::flows(world);
    table.insert(key(1), reset(dsr));
    table.insert(key(2), reset(local));
    table.insert(key(11), fresh(dsr));
    table.insert(key(12), fresh(local));
    // Answers that belong to nothing, of a kind with a longer limit.
    let answers = dispatcher_tests::packet_path::scene::nat_back::<A>(&nat, 0, state::CLOSED);
    table.insert(FlowKey { dport: 3, ..way_back(TCP, 0) }, reset(answers));
    // A flow both of whose directions are known, and one of whose directions goes on.
    map_nat::<A>(world, UDP, state::ESTABLISHED, state::ESTABLISHED);
    map_nat::<A>(world, TCP, state::CLOSED, state::ESTABLISHED);
    let table = A::flows(world);
    let (there, back) = (table.remove(&way_in(TCP)).unwrap(), table.remove(&way_back(TCP, 0)).unwrap());
    table.insert(key(4), reset(there));
    table.insert(FlowKey { dport: 4, ..way_back(TCP, 0) }, reset(back));
    table.insert(key(14), reset(there));
    table.insert(FlowKey { dport: 14, ..way_back(TCP, 0) }, fresh(back));
}

/// The client's port of an entry.
fn port<A: Scene>(key: &FlowKey<A>) -> u16 {
    if key.src == A::CLIENT { key.sport } else { key.dport }
}

#[test]
fn flows_that_are_over_are_removed_and_live_ones_counted() {
    if !is_capable() {
        return;
    }
    with_pinned_kernel(|kernel, pins| {
        let mut world = World::new(coarse_now_ns(), 0);
        flows::<V4>(&mut world);
        flows::<V6>(&mut world);
        kernel.write(&world);
        let (events, mut swept) = tokio::sync::mpsc::channel(1);
        let sweeper = Sweeper::start(pins, events).unwrap();
        let Some(Event::Swept { live }) = swept.blocking_recv() else { panic!("no pass over the tables") };
        drop(sweeper);
        let mut live: Vec<(u16, u64)> = live.into_iter().collect();
        live.sort_unstable();
        // Of each family a datagram flow at the first backend, and a `dsr` flow at the second.
        assert_eq!(live, [(BACKENDS[0], 2), (BACKENDS[1], 2)]);
        world.flows4.retain(|key, _| port(key) >= 10);
        world.flows6.retain(|key, _| port(key) >= 10);
        let mut left = World::new(world.now_ns, 0);
        kernel.read(&mut left);
        assert_eq!(world.difference(&left), Vec::<String>::new());
    });
}
