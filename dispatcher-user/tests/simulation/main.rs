//! Plays the core, the kernel's side and their world from seeds, and checks after every step that promises hold.
//!
//! The XDP side is the real `dispatcher_common::decide` over tables in memory. The daemon is the real core, whose commands
//! are carried out one by one: packets pass between two of them, and the daemon is late or dies there. A seed that fails
//! is named; `DISPATCHER_SIMULATION_SEED=N` plays that one alone, `DISPATCHER_SIMULATION_SEEDS=N` so many.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod check;
mod daemon;
mod dice;
mod frames;
mod kernel;
mod operator;
mod oracle;
mod profile;
mod scenario;
mod tables;
mod takeover;
mod traffic;
mod waiting;
mod world;

use std::{env, panic, thread};

use self::world::World;

/// Seeds that are played unless told otherwise.
const SEEDS: u64 = 2_000;
const STEPS: usize = 300;

fn play(seed: u64, is_told: bool) {
    let mut world = World::new(seed, is_told);
    for _ in 0..STEPS {
        world.step();
    }
    if world.profile.calm {
        world.check_upcalls();
    }
    world.settle();
    world.check_that_flows_go_on();
    world.check();
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[test]
fn promises_hold_whatever_happens() {
    if let Some(seed) = number("DISPATCHER_SIMULATION_SEED") {
        return play(seed, true);
    }
    let seeds = number("DISPATCHER_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let players = thread::available_parallelism().map_or(1, |count| u64::try_from(count.get()).unwrap());
    let failed: Vec<u64> = thread::scope(|scope| {
        let player = |first: u64| {
            let mine = (first..seeds).step_by(usize::try_from(players).unwrap());
            mine.filter(|&seed| panic::catch_unwind(|| play(seed, false)).is_err()).take(3).collect::<Vec<u64>>()
        };
        let playing: Vec<_> = (0..players).map(|first| scope.spawn(move || player(first))).collect();
        playing.into_iter().flat_map(|each| each.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "seeds {failed:?} failed; DISPATCHER_SIMULATION_SEED=N plays one again");
}
