//! Turns by example, at random, and on a link of a fixed speed.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const DEFAULT: ClassId = ClassId(0);
const GOLD: ClassId = ClassId(1);
const BRONZE: ClassId = ClassId(2);
const FULL: u64 = SLICE as u64;
/// Slices that fit into what lower levels may use.
const LOWER_SLICES: usize = ((BUDGET - KEPT_FOR_HIGHEST) / FULL) as usize;

fn classes() -> Vec<ClassSettings> {
    vec![
        ClassSettings::new("default", 1),
        ClassSettings::new("gold", 0),
        ClassSettings { weight: 3, ..ClassSettings::new("bronze", 1) },
    ]
}

fn turns() -> Turns<()> {
    Turns::new(&classes())
}

fn join(turns: &mut Turns<()>, class: ClassId, count: usize) -> Vec<Key> {
    (0..count).map(|_| turns.join(class, ())).collect()
}

fn all(turns: &mut Turns<()>, now_ns: u64) -> Vec<Key> {
    std::iter::from_fn(|| turns.next(now_ns)).collect()
}

#[test]
fn one_alone_never_waits() {
    let mut turns = turns();
    let only = turns.join(BRONZE, ());
    for _ in 0..100 {
        assert!(turns.ask(0, only, FULL));
    }
    assert_eq!(turns.out_bytes, FULL);
}

#[test]
fn tunnels_are_not_given_more_than_the_budget_and_the_highest_level_always_finds_room() {
    let mut turns = turns();
    let bronze = join(&mut turns, BRONZE, 20);
    let sent = bronze.iter().filter(|&&key| turns.ask(0, key, FULL)).count();
    assert_eq!(sent, LOWER_SLICES);
    let gold = join(&mut turns, GOLD, 4);
    for (number, &key) in gold.iter().enumerate() {
        let at_once = turns.ask(0, key, FULL);
        assert!(!at_once, "others wait, so it is its turn only when that was looked at");
        assert_eq!(all(&mut turns, 0), if number < 2 { vec![key] } else { vec![] });
    }
    assert_eq!(turns.out_bytes, BUDGET);
    // What comes back goes to gold, and then to bronze.
    turns.rest(gold[0]);
    assert_eq!(all(&mut turns, 0), [gold[2]]);
}

#[test]
fn bodies_of_a_class_take_turns_and_classes_of_a_level_share_by_weight() {
    let mut turns = turns();
    let (bronze, default) = (join(&mut turns, BRONZE, 12), join(&mut turns, DEFAULT, 12));
    let mut sent = [0_u32; 24];
    let keys: Vec<Key> = bronze.iter().chain(&default).copied().collect();
    let mut waits: Vec<bool> = keys.iter().map(|&key| !turns.ask(0, key, FULL)).collect();
    let mut out: VecDeque<usize> = (0..24).filter(|&index| !waits[index]).collect();
    for _ in 0..4000 {
        let back = out.pop_front().unwrap();
        if turns.ask(0, keys[back], FULL) {
            out.push_back(back);
        } else {
            waits[back] = true;
        }
        for key in all(&mut turns, 0) {
            let index = keys.iter().position(|&other| other == key).unwrap();
            assert!(turns.ask(0, key, FULL));
            sent[index] += 1;
            out.push_back(index);
        }
    }
    let of = |range: std::ops::Range<usize>| sent[range].iter().sum::<u32>();
    let ratio = f64::from(of(0..12)) / f64::from(of(12..24));
    assert!((2.9..3.1).contains(&ratio), "{sent:?}");
    for class in [&sent[..12], &sent[12..]] {
        assert!(class.iter().max().unwrap() - class.iter().min().unwrap() <= 1, "{sent:?}");
    }
}

#[test]
fn a_slice_that_is_not_taken_in_stops_counting() {
    let mut turns = turns();
    let stuck = join(&mut turns, BRONZE, LOWER_SLICES);
    assert!(stuck.iter().all(|&key| turns.ask(0, key, FULL)));
    let other = turns.join(BRONZE, ());
    assert!(!turns.ask(1, other, FULL));
    assert_eq!(all(&mut turns, STUCK_NS - 1), []);
    assert_eq!(all(&mut turns, STUCK_NS), [other]);
    assert_eq!(turns.out_bytes, FULL);
    // When it is taken in after all, nothing is counted twice.
    for key in stuck {
        turns.rest(key);
    }
    assert_eq!(turns.out_bytes, FULL);
}

#[test]
fn whoever_leaves_makes_room() {
    let mut turns = turns();
    let keys = join(&mut turns, BRONZE, LOWER_SLICES + 3);
    for &key in &keys {
        turns.ask(0, key, FULL);
    }
    turns.leave(keys[LOWER_SLICES]);
    turns.leave(keys[0]);
    assert_eq!(all(&mut turns, 0), [keys[LOWER_SLICES + 1]]);
    // Also one that was given a turn it does not know of.
    turns.leave(keys[LOWER_SLICES + 1]);
    assert_eq!(all(&mut turns, 0), [keys[LOWER_SLICES + 2]]);
}

/// A link that carries so many bytes a second, first in, first out, and the bodies of three bronze uploads on it.
#[test]
fn a_gold_slice_has_no_more_than_the_budget_before_it_on_the_link() {
    const BYTES_PER_MS: u64 = 100_000;
    let mut turns = turns();
    let bronze = join(&mut turns, BRONZE, 20);
    let gold = turns.join(GOLD, ());
    // The link's queue, and when gold asked for the slice that it has in there.
    let (mut link, mut now_ns): (VecDeque<Key>, u64) = (VecDeque::new(), 0);
    let (mut gold_since_ns, mut longest_ns, mut gold_slices, mut bytes) = (None, 0, 0, 0);
    for &key in &bronze {
        if turns.ask(0, key, FULL) {
            link.push_back(key);
        }
    }
    for round in 0_u64..20_000 {
        if round % 50 == 0 {
            gold_since_ns = Some(now_ns);
            if turns.ask(now_ns, gold, FULL) {
                link.push_back(gold);
            }
        }
        for key in all(&mut turns, now_ns) {
            assert!(turns.ask(now_ns, key, FULL));
            link.push_back(key);
        }
        let Some(sent) = link.pop_front() else { continue };
        now_ns += FULL * 1_000_000 / BYTES_PER_MS;
        bytes += FULL;
        if sent == gold {
            longest_ns = longest_ns.max(now_ns - gold_since_ns.take().unwrap());
            gold_slices += 1;
            turns.rest(gold);
        } else if turns.ask(now_ns, sent, FULL) {
            link.push_back(sent);
        }
    }
    assert_eq!(gold_slices, 400);
    let most_ns = BUDGET * 1_000_000 / BYTES_PER_MS;
    assert!(longest_ns <= most_ns, "{longest_ns} ns, {most_ns} for all that may be before it");
    assert!(bytes * 1_000_000 / now_ns >= BYTES_PER_MS * 99 / 100, "the link is never idle");
}

#[derive(Clone, Debug)]
enum Step {
    Join(u16),
    Ask(usize, u64),
    Rest(usize),
    Leave(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_u16..4).prop_map(Step::Join),
        8 => (any::<usize>(), 1..=FULL).prop_map(|(at, bytes)| Step::Ask(at, bytes)),
        3 => any::<usize>().prop_map(Step::Rest),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => (0..2 * STUCK_NS).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// The sum of what is out is right, within the budget, and nobody waits for a turn that is free.
    #[test]
    fn turns_add_up(steps in steps()) {
        let mut turns = turns();
        let (mut keys, mut now_ns) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Join(class) => keys.push(turns.join(ClassId(class), ())),
                Step::Ask(at, bytes) if !keys.is_empty() => _ = turns.ask(now_ns, keys[at % keys.len()], bytes),
                Step::Rest(at) if !keys.is_empty() => turns.rest(keys[at % keys.len()]),
                Step::Leave(at) if !keys.is_empty() => turns.leave(keys.swap_remove(at % keys.len())),
                Step::Ask(..) | Step::Rest(_) | Step::Leave(_) => {}
                Step::Pass(ns) => now_ns += ns,
            }
            while turns.next(now_ns).is_some() {}
            let in_state = |states: &[State]| -> Vec<&Upload<()>> {
                turns.uploads.iter().filter(|upload| states.contains(&upload.state)).collect()
            };
            let out = in_state(&[State::Out, State::Granted]);
            prop_assert_eq!(turns.out_bytes, out.iter().map(|upload| upload.bytes).sum::<u64>());
            prop_assert_eq!(turns.out.len() as usize, out.len());
            prop_assert!(turns.out_bytes <= BUDGET);
            let waiting = in_state(&[State::Waiting]);
            prop_assert_eq!(turns.waiting as usize, waiting.len());
            let open = turns.open_levels();
            prop_assert!(waiting.iter().all(|upload| turns.precedence.level(upload.class) >= open));
        }
        for key in keys {
            turns.leave(key);
        }
        prop_assert_eq!((turns.out_bytes, turns.waiting, turns.uploads.len()), (0, 0, 0));
    }
}
