//! Clients that send their bodies slowly hold no slot meanwhile.

use super::{
    load::{Body, Pace, Service},
    scenarios::{BRONZE, GOLD_RATE, assert_unhurt, gold, idle_p99_ms, settings},
    *,
};

const SECONDS: u64 = 12;
/// What bronze asks for besides its uploads: half of what the backend can do.
const PLAIN_RATE: u64 = 400;

/// Sixteen uploaders at 1 MB/s each, on average, beside gold and plain bronze requests.
fn with_uploaders(seed: u64, lends_slot: bool) -> (Vec<Seen>, f64) {
    let service = Service::Nearly(10 * MS);
    let body = Body { bytes: 5_000_000, bytes_per_second: 1_000_000, lends_slot };
    // Each takes five seconds.
    let uploads = Source { body: Some(body), ..Source::new(BRONZE, 16 / 5) };
    let sources = vec![gold(Pace::Even), Source::new(BRONZE, PLAIN_RATE), uploads];
    let backend = Backend::new(8, service);
    let idle_ms = idle_p99_ms(seed, backend.clone(), &sources[0]);
    (World::new(seed, &settings(WindowSettings::Fixed(8)), backend, sources).run(SECONDS), idle_ms)
}

#[test]
fn slow_uploads_hurt_nobody_and_the_backend_is_not_idle() {
    play(|seed| {
        let (seen, idle_ms) = with_uploaders(seed, true);
        assert_unhurt(&seen[0], idle_ms, &format!("seed {seed}, slow uploads"));
        assert_eq!(seen[1].good() as u64, seen[1].sent, "seed {seed}: plain bronze requests");
        let plain_ms = seen[1].p99_ms();
        assert!(plain_ms < 20.0, "seed {seed}: plain bronze requests take {plain_ms:.1} ms");
        assert_eq!(seen[2].good() as u64, seen[2].sent, "seed {seed}: uploads");
        assert!(seen[2].sent > 20 && seen[0].sent > SECONDS * GOLD_RATE * 9 / 10, "seed {seed}");
    });
}

#[test]
fn uploads_that_keep_their_slots_would_starve_their_class_but_not_gold() {
    play(|seed| {
        let (seen, idle_ms) = with_uploaders(seed, false);
        assert_unhurt(&seen[0], idle_ms, &format!("seed {seed}, slow uploads with slots"));
        let part = seen[1].good() as f64 / seen[1].sent as f64;
        assert!(part < 0.7, "seed {seed}: {part:.2}");
    });
}
