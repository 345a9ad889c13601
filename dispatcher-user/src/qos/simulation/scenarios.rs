//! Gold stays fast whatever bronze does, bronze gets the rest, and clients get equal shares of it.

use std::time::Duration;

use super::{
    load::{Pace, Service, Whose},
    *,
};

pub(super) const GOLD: u16 = 1;
pub(super) const BRONZE: u16 = 2;
/// What the backend can do: 8 at a time, 10 ms each.
pub(super) const CAPACITY: u64 = 800;
pub(super) const GOLD_RATE: u64 = 50;
const SECONDS: u64 = 6;

pub(super) fn settings(window: WindowSettings) -> Settings {
    let classes =
        vec![ClassSettings::new("default", 1), ClassSettings::new("gold", 0), ClassSettings::new("bronze", 2)];
    Settings::new(classes, window)
}

fn eight() -> Settings {
    settings(WindowSettings::Fixed(8))
}

fn backend(service: Service) -> Backend {
    Backend::new(8, service)
}

pub(super) fn gold(pace: Pace) -> Source {
    Source { pace, ..Source::new(GOLD, GOLD_RATE) }
}

/// What gold's latency is with nobody else there, 99 of 100; over a time long enough for chance not to matter.
pub(super) fn idle_p99_ms(seed: u64, backend: Backend, gold: &Source) -> f64 {
    World::new(seed, &settings(WindowSettings::Fixed(1000)), backend, vec![gold.clone()]).run(20 * SECONDS)[0].p99_ms()
}

/// Asserts the promise to gold: at most half again the latency of an idle backend, and never an error.
pub(super) fn assert_unhurt(gold: &Seen, idle_p99_ms: f64, what: &str) {
    assert_within(1.5, gold, idle_p99_ms, what);
}

/// Asserts that gold has no errors, and at most so many times the latency of an idle backend.
pub(super) fn assert_within(times: f64, gold: &Seen, idle_p99_ms: f64, what: &str) {
    let p99_ms = gold.p99_ms();
    assert!(p99_ms <= times * idle_p99_ms, "{what}: gold p99 {p99_ms:.1} ms, idle {idle_p99_ms:.1} ms");
    assert_eq!((gold.refused, gold.gave_up), (0, 0), "{what}: gold had errors");
    assert_eq!(gold.good() as u64, gold.sent, "{what}");
}

/// The part of what gold leaves of the capacity that was good for somebody.
fn goodput(bronze: &[&Seen], seconds: u64) -> f64 {
    bronze.iter().map(|seen| seen.in_time).sum::<u64>() as f64 / ((CAPACITY - GOLD_RATE) * seconds) as f64
}

/// Asserts the promise to the clients of bronze: most of what gold leaves is good for somebody.
fn assert_good(bronze: &[&Seen], what: &str) {
    let goodput = goodput(bronze, SECONDS);
    assert!(goodput >= 0.85, "{what}: bronze has {goodput:.2} of the rest");
}

#[test]
fn gold_is_unhurt_while_bronze_floods_and_bronze_gets_the_rest() {
    play(|seed| {
        for (service, pace) in [Service::Even(10 * MS), Service::Nearly(10 * MS)]
            .into_iter()
            .flat_map(|service| [(service, Pace::Even), (service, Pace::Random)])
        {
            let idle_ms = idle_p99_ms(seed, backend(service), &gold(pace));
            for (times, patience_ns) in [(2, None), (2, Some(2 * SECOND)), (10, None), (10, Some(2 * SECOND))] {
                let bronze = Source { patience_ns, ..Source::new(BRONZE, times * CAPACITY) };
                let mut settings = eight();
                if patience_ns.is_some() {
                    // Else no client would wait for long enough to lose patience.
                    settings.classes[usize::from(BRONZE)].timeout = Duration::from_secs(10);
                    settings.classes[usize::from(BRONZE)].queue.entries = u32::MAX;
                }
                let mut world = World::new(seed, &settings, backend(service), vec![gold(pace), bronze]);
                let seen = world.run(SECONDS);
                let what = format!("seed {seed}, {pace:?}, {service:?}, {times} times the capacity, {patience_ns:?}");
                assert_unhurt(&seen[0], idle_ms, &what);
                assert_good(&[&seen[1]], &what);
                assert_eq!(patience_ns.is_some(), seen[1].gave_up > 0, "{what}");
                assert_eq!(world.longest_backend_queue, 0, "{what}: nothing waits behind the backend");
            }
        }
    });
}

#[test]
fn service_times_that_vary_change_nothing() {
    let service = Service::Varied(10 * MS);
    play(|seed| {
        let idle_ms = idle_p99_ms(seed, backend(service), &gold(Pace::Random));
        let bronze = Source { patience_ns: Some(2 * SECOND), ..Source::new(BRONZE, 10 * CAPACITY) };
        let seen = World::new(seed, &eight(), backend(service), vec![gold(Pace::Random), bronze]).run(SECONDS);
        let what = format!("seed {seed}, varied");
        assert_unhurt(&seen[0], idle_ms, &what);
        assert_good(&[&seen[1]], &what);
    });
}

/// Clients that wait 200 ms, while the backend gets a fifth more than it can do.
fn impatient(seed: u64, settings: &Settings, whose: Whose) -> f64 {
    let bronze = Source { patience_ns: Some(200 * MS), whose, ..Source::new(BRONZE, CAPACITY + CAPACITY / 5) };
    let sources = vec![gold(Pace::Random), bronze];
    let seen = World::new(seed, settings, backend(Service::Nearly(10 * MS)), sources).run(SECONDS);
    goodput(&[&seen[1]], SECONDS)
}

#[test]
fn impatient_clients_leave_the_backend_something_to_do_for_somebody() {
    // The same clients and a queue that is first in, first out: the backend works for those that have just left.
    let mut in_order = eight();
    for class in &mut in_order.classes {
        class.timeout = Duration::from_secs(3600);
        class.queue.entries = u32::MAX;
    }
    in_order.standing = Duration::from_secs(3600);
    play(|seed| {
        for whose in [Whose::One(1), Whose::Any(64), Whose::Each] {
            let goodput = impatient(seed, &eight(), whose);
            assert!(goodput >= 0.85, "seed {seed}, {whose:?}: {goodput:.2}");
        }
        let goodput = impatient(seed, &in_order, Whose::One(1));
        assert!(goodput < 0.4, "seed {seed}: {goodput:.2} in order of arrival");
    });
}

/// What 99 of 100 requests of a client would take at most if it had a share of the backend for itself, with
/// `requests` of it served one after another in the time that is measured: what fair queueing comes near to within a request of each client
/// (Parekh, Gallager, "A generalized processor sharing approach to flow control", 1993).
fn fair_p99_ms(world: &World, source: usize, requests: u64) -> f64 {
    let mut share = Seen::default();
    let mut free_ns = 0;
    for job in world.jobs.iter().filter(|job| job.source == source && job.due_ns >= world.warm_up_ns) {
        free_ns = job.due_ns.max(free_ns);
        share.latencies_ns.push(free_ns - job.due_ns + 10 * MS);
        free_ns += SECOND * SECONDS / requests;
    }
    share.p99_ms()
}

/// A client that asks for `rate` requests a second, and one that asks for ten times as many.
fn beside_a_greedy_one(seed: u64, rate: u64, patience_ns: Option<u64>) {
    let client = |number, rate| Source { patience_ns, whose: Whose::One(number), ..Source::new(BRONZE, rate) };
    let sources = vec![gold(Pace::Random), client(1, rate), client(2, 10 * rate)];
    let mut world = World::new(seed, &eight(), backend(Service::Nearly(10 * MS)), sources);
    let seen = world.run(SECONDS);
    let (modest, greedy) = (seen[1].in_time as f64, seen[2].in_time as f64);
    let half = (modest + greedy) / 2.0;
    let what = format!("seed {seed}, modest {modest} of {}, greedy {greedy}", seen[1].sent);
    assert!(modest >= 0.97 * half.min(seen[1].sent as f64), "{what}");
    assert_good(&[&seen[1], &seen[2]], &what);
    if half > seen[1].sent as f64 {
        let fair_ms = fair_p99_ms(&world, 1, (seen[1].in_time + seen[2].in_time) / 2);
        let (took_ms, service_ms) = (seen[1].p99_ms(), 10.0);
        assert!(
            took_ms <= fair_ms + service_ms / 2.0,
            "{what}: {took_ms:.1} ms, {fair_ms:.1} ms with a share of its own"
        );
    }
}

#[test]
fn a_greedy_client_takes_nothing_of_a_modest_ones_share() {
    play(|seed| {
        for patience_ns in [None, Some(2 * SECOND)] {
            // The modest one asks for less than half of what bronze has, or for more.
            beside_a_greedy_one(seed, 200, patience_ns);
            beside_a_greedy_one(seed, 500, patience_ns);
        }
    });
}

#[test]
fn clients_that_leave_do_not_make_the_backend_busier() {
    let service = Service::Nearly(10 * MS);
    play(|seed| {
        // Every bronze client leaves after 5 ms, when the backend is half done with it; the backend does not notice.
        let bronze = Source { patience_ns: Some(5 * MS), ..Source::new(BRONZE, 10 * CAPACITY) };
        let idle_ms = idle_p99_ms(seed, backend(service), &gold(Pace::Random));
        let mut world = World::new(seed, &eight(), backend(service), vec![gold(Pace::Random), bronze]);
        let seen = world.run(SECONDS);
        assert_unhurt(&seen[0], idle_ms, &format!("seed {seed}, bronze leaves"));
        let behind = world.longest_backend_queue;
        assert!(behind <= 2, "seed {seed}: {behind} wait behind the backend");
    });
}

#[test]
fn requests_that_take_seconds_do_not_keep_gold_out() {
    let service = Service::Nearly(10 * MS);
    play(|seed| {
        let slow = Source { service: Some(Service::Nearly(3 * SECOND)), ..Source::new(BRONZE, 10) };
        let idle_ms = idle_p99_ms(seed, backend(service), &gold(Pace::Even));
        let seen = World::new(seed, &eight(), backend(service), vec![gold(Pace::Even), slow]).run(SECONDS);
        assert_unhurt(&seen[0], idle_ms, &format!("seed {seed}, slow bronze"));
        assert!(seen[1].good() > 10, "seed {seed}: and some of the slow ones are served");
    });
}

#[test]
fn bronze_has_its_share_while_gold_floods() {
    let mut settings = eight();
    settings.classes[usize::from(BRONZE)].share_percent = 10;
    play(|seed| {
        let sources = vec![Source::new(GOLD, 10 * CAPACITY), Source::new(BRONZE, CAPACITY)];
        let seen = World::new(seed, &settings, backend(Service::Nearly(10 * MS)), sources).run(SECONDS);
        let (gold, bronze) = (seen[0].in_time as f64, seen[1].in_time as f64);
        assert!((0.09..0.12).contains(&(bronze / (gold + bronze))), "seed {seed}: gold {gold}, bronze {bronze}");
        let used = (gold + bronze) / (CAPACITY * SECONDS) as f64;
        assert!(used >= 0.95, "seed {seed}: {used:.2} of the backend is used");
    });
}

#[test]
fn bronze_without_a_share_is_not_forgotten_while_gold_floods() {
    play(|seed| {
        let sources = vec![Source::new(GOLD, 10 * CAPACITY), Source::new(BRONZE, CAPACITY)];
        let seen = World::new(seed, &eight(), backend(Service::Nearly(10 * MS)), sources).run(SECONDS);
        let (gold, bronze) = (seen[0].in_time as f64, seen[1].in_time as f64);
        assert!((0.01..0.05).contains(&(bronze / (gold + bronze))), "seed {seed}: gold {gold}, bronze {bronze}");
    });
}

#[test]
fn classes_of_a_level_share_by_weight() {
    let mut settings = eight();
    settings.classes[0] = ClassSettings { weight: 3, ..ClassSettings::new("silver", 2) };
    play(|seed| {
        let sources = vec![Source::new(0, 2 * CAPACITY), Source::new(BRONZE, 4 * CAPACITY)];
        let seen = World::new(seed, &settings, backend(Service::Nearly(10 * MS)), sources).run(SECONDS);
        let ratio = seen[0].in_time as f64 / seen[1].in_time as f64;
        assert!((2.9..3.1).contains(&ratio), "seed {seed}: {ratio:.2}");
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let bronze = Source { patience_ns: Some(100 * MS), ..Source::new(BRONZE, 2 * CAPACITY) };
        World::new(11, &eight(), backend(Service::Varied(10 * MS)), vec![gold(Pace::Random), bronze]).run(2)
    };
    let (one, other) = (run(), run());
    assert_eq!(one[0].latencies_ns, other[0].latencies_ns);
    assert_eq!(one[1].latencies_ns, other[1].latencies_ns);
}
