//! Frames that nobody should send, on the host: never a crash, never forwarded, never lost without a reason.

use dispatcher_common::counter::Stats;
use dispatcher_tests::packet_path::{
    host,
    junk::{Case, SEED_VARIABLE, Tally, has_flow, mutate, seed, templates, world},
    row::hex,
    world::World,
};

/// Frames of the mutated kind.
const FRAMES: usize = 200_000;
/// Frames after which the tables begin anew.
const BATCH: usize = 1000;

/// Runs a frame and checks what must hold.
fn run(world: &mut World, tally: &mut Tally, frame: &[u8], ingress: u32) -> Result<(), String> {
    let entries = |world: &World| [world.flows4.len(), world.flows6.len(), world.locks.len(), world.clients.len()];
    let (entries_before, has_flow) = (entries(world), has_flow(world, frame));
    world.stats = Stats::default();
    world.consume();
    world.now_ns += 1000;
    let outcome = host::run(world, frame, ingress);
    tally.add(&outcome, &world.stats);
    let case = Case {
        frame,
        outcome: &outcome,
        stats: &world.stats,
        is_up: !world.records.is_empty(),
        made_entries: entries(world) != entries_before,
        has_flow,
    };
    case.check()
}

#[test]
fn frames_cut_off_at_every_byte_do_no_harm() {
    for (ingress, frame) in templates() {
        let mut tables = world(1_000_000_000_000, 0);
        for length in 0..=frame.len() {
            let cut = &frame[..length];
            run(&mut tables, &mut Tally::default(), cut, ingress).unwrap_or_else(|what| panic!("{what}: {}", hex(cut)));
        }
    }
}

#[test]
fn mutated_frames_do_no_harm() {
    let seed = seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let (templates, mut tally) = (templates(), Tally::default());
    let mut tables = world(1_000_000_000_000, 0);
    for number in 0..FRAMES {
        if number % BATCH == 0 {
            tables = world(1_000_000_000_000, 0);
        }
        let (ingress, mut frame) = rng.choice(&templates).unwrap().clone();
        mutate(&mut rng, &mut frame);
        run(&mut tables, &mut tally, &frame, ingress)
            .unwrap_or_else(|what| panic!("{SEED_VARIABLE}={seed}, frame {number}: {what}: {}", hex(&frame)));
    }
    tally.assert_variety();
}
