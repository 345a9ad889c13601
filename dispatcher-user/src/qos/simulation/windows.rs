//! The window that is found fits the backend, and gold is little hurt whatever the backend's capacity is or becomes.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use super::{
    load::{Pace, Service},
    scenarios::{BRONZE, GOLD_RATE, assert_unhurt, assert_within, gold, idle_p99_ms, settings},
    *,
};

/// The window begins with 16 slots.
const FOUND: WindowSettings = WindowSettings::FOUND;
const SECONDS: u64 = 12;

/// Gold, and bronze with twice what a backend can do that works on `capacity` requests of 10 ms at a time.
fn world(seed: u64, backend: Backend) -> World {
    let bronze = Source::new(BRONZE, 2 * rate(&backend));
    World::new(seed, &settings(FOUND), backend, vec![gold(Pace::Random), bronze])
}

fn rate(backend: &Backend) -> u64 {
    backend.capacity as u64 * 100
}

impl World {
    /// The part of the backend's capacity that was used.
    fn used(&self, seen: &[Seen], rate: u64) -> f64 {
        seen.iter().map(|seen| seen.in_time).sum::<u64>() as f64 * SECOND as f64
            / (rate * (self.end_ns - self.warm_up_ns)) as f64
    }

    /// The least and the largest window between two times.
    fn window_range(&self, since_ns: u64, until_ns: u64) -> (u32, u32) {
        let before = self.windows.iter().rfind(|(at_ns, _)| *at_ns <= since_ns);
        let since = self.windows.iter().filter(|(at_ns, _)| (since_ns..until_ns).contains(at_ns)).chain(before);
        let slots = || since.clone().map(|&(_, slots)| slots);
        (slots().min().unwrap(), slots().max().unwrap())
    }
}

#[test]
fn a_window_larger_or_smaller_than_the_backend_comes_to_fit_it() {
    play(|seed| {
        for capacity in [8, 40] {
            let backend = Backend::new(capacity, Service::Nearly(10 * MS));
            let idle_ms = idle_p99_ms(seed, backend.clone(), &gold(Pace::Random));
            let rate = rate(&backend);
            let mut world = world(seed, backend);
            world.warm_up_ns = 6 * SECOND;
            let seen = world.run(SECONDS);
            let what = format!("seed {seed}, capacity {capacity}");
            // A window that is found keeps a few requests more than fit, and those are ahead of gold behind the backend:
            // more than the half again that a configured window of the right size keeps to.
            assert_within(1.75, &seen[0], idle_ms, &what);
            let used = world.used(&seen, rate);
            assert!(used >= 0.95, "{what}: {used:.2} used");
            let (least, most) = world.window_range(6 * SECOND, world.end_ns);
            assert!(capacity as u32 <= least && most <= capacity as u32 * 3 / 2, "{what}: {least} to {most} slots");
        }
    });
}

#[test]
fn service_times_that_vary_are_not_taken_for_a_queue() {
    play(|seed| {
        for capacity in [8, 40] {
            let backend = Backend::new(capacity, Service::Varied(10 * MS));
            let idle_ms = idle_p99_ms(seed, backend.clone(), &gold(Pace::Random));
            let rate = rate(&backend);
            let mut world = world(seed, backend);
            let seen = world.run(2 * SECONDS);
            let what = format!("seed {seed}, capacity {capacity}, varied");
            assert_unhurt(&seen[0], idle_ms, &what);
            let used = world.used(&seen, rate);
            assert!(used >= 0.9, "{what}: {used:.2} used");
        }
    });
}

#[test]
fn a_window_follows_a_backend_that_changes() {
    let with = |capacity, service_ms| Backend::new(capacity, Service::Nearly(service_ms * MS));
    play(|seed| {
        let mut world = world(seed, with(8, 10));
        // More workers, fewer workers, and workers that take twice as long.
        world.change_backend(10 * SECOND, with(24, 10));
        world.change_backend(20 * SECOND, with(6, 10));
        world.change_backend(30 * SECOND, with(8, 20));
        world.sources[1].per_second = 5000;
        let seen = world.run(45);
        assert_eq!((seen[0].refused, seen[0].gave_up), (0, 0), "seed {seed}");
        for (until_s, capacity) in [(10, 8), (20, 24), (30, 6), (45, 8)] {
            let (least, most) = world.window_range((until_s - 3) * SECOND, until_s * SECOND);
            assert!(
                capacity <= least && most <= capacity * 3 / 2,
                "seed {seed}: {least} to {most} slots for {capacity} workers, three seconds before second {until_s}"
            );
        }
    });
}

#[test]
fn without_a_queue_the_window_is_not_in_the_way() {
    play(|seed| {
        // Nobody asks for more than half of what the backend can do, so the window is never full for long.
        let backend = Backend::new(64, Service::Varied(10 * MS));
        let sources = vec![gold(Pace::Random), Source::new(BRONZE, 3200)];
        let mut world = World::new(seed, &settings(FOUND), backend, sources);
        // Until the window has grown from its first 16 slots, it is.
        world.warm_up_ns = 6 * SECOND;
        let seen = world.run(SECONDS);
        assert_eq!(seen[0].sent + seen[1].sent, (seen[0].good() + seen[1].good()) as u64, "seed {seed}");
        let median_ms = seen[1].quantile_ms(500);
        assert!(median_ms < 9.0, "seed {seed}: {median_ms:.1} ms");
        assert!(seen[0].sent > GOLD_RATE * SECONDS / 2, "seed {seed}");
    });
}
