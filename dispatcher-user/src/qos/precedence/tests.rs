//! Levels are strict, weights are kept within one request, and shares are given.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use proptest::prelude::*;

use super::*;

fn class(priority: u8, weight: u16, share_percent: u8) -> ClassSettings {
    ClassSettings { weight, share_percent, ..ClassSettings::new("c", priority) }
}

/// Serves `count` requests of classes that all have something waiting; gives how much each got.
fn serve(classes: &[ClassSettings], costs: &[u32], count: u32) -> Vec<u32> {
    let mut precedence = Precedence::new(classes.iter());
    let mut got = vec![0; classes.len()];
    for _ in 0..count {
        let class = precedence.choose(usize::MAX, |_| Wants::Turn).unwrap();
        precedence.served(class, costs[class.index()], |_| Wants::Turn);
        got[class.index()] += costs[class.index()];
    }
    got
}

#[test]
fn a_higher_level_goes_first() {
    assert_eq!(serve(&[class(1, 100, 0), class(0, 1, 0), class(1, 1, 0)], &[1; 3], 50), [0, 50, 0]);
}

#[test]
fn a_level_is_shared_by_weight_request_by_request() {
    assert_eq!(serve(&[class(0, 8, 0), class(0, 1, 0), class(0, 1, 0)], &[1; 3], 100), [80, 10, 10]);
    // The heavy class does not get its eight in a row.
    let mut precedence = Precedence::new([class(0, 2, 0), class(0, 1, 0)].iter());
    let mut turns = Vec::new();
    for _ in 0..6 {
        let class = precedence.choose(1, |_| Wants::Turn).unwrap();
        precedence.served(class, 1, |_| Wants::Turn);
        turns.push(class.0);
    }
    assert_eq!(turns, [0, 1, 0, 0, 1, 0]);
}

#[test]
fn a_guaranteed_share_is_given_whatever_higher_levels_ask_for() {
    let got = serve(&[class(0, 1, 0), class(1, 1, 10), class(2, 1, 5)], &[1; 3], 1000);
    assert!((98..=101).contains(&got[1]) && (48..=51).contains(&got[2]), "{got:?}");
    assert_eq!(got[0], 1000 - got[1] - got[2], "and no more than that");
}

#[test]
fn a_share_counts_what_requests_cost() {
    let got = serve(&[class(0, 1, 0), class(1, 1, 10)], &[1, 16], 2000);
    let all = f64::from(got[0] + got[1]);
    assert!((0.09..0.11).contains(&(f64::from(got[1]) / all)), "{got:?}");
}

#[test]
fn what_a_class_gets_anyway_is_no_claim_and_no_debt() {
    let mut precedence = Precedence::new([class(0, 1, 0), class(1, 1, 10)].iter());
    let (gold, bronze) = (ClassId(0), ClassId(1));
    let only_bronze = |id| if id == bronze { Wants::Turn } else { Wants::Nothing };
    for _ in 0..1000 {
        assert_eq!(precedence.choose(2, only_bronze), Some(bronze));
        precedence.served(bronze, 1, only_bronze);
    }
    // Gold goes first, and bronze has its tenth of what is served from now on.
    let mut turns = Vec::new();
    for _ in 0..22 {
        let class = precedence.choose(2, |_| Wants::Turn).unwrap();
        precedence.served(class, 1, |_| Wants::Turn);
        turns.push(class);
    }
    assert_eq!(turns.iter().filter(|&&class| class == bronze).count(), 2, "{turns:?}");
    assert_eq!(turns[0], gold);
}

#[test]
fn what_waits_for_long_is_not_forgotten() {
    let mut precedence = Precedence::new([class(0, 1, 0), class(1, 1, 0)].iter());
    let aged = |id| if id == ClassId(1) { Wants::AgedTurn } else { Wants::Turn };
    let mut got = [0, 0];
    for _ in 0..1000 {
        let class = precedence.choose(2, aged).unwrap();
        precedence.served(class, 1, aged);
        got[class.index()] += 1;
    }
    assert!((28..=31).contains(&got[1]), "{got:?}");
}

#[test]
fn a_class_that_slept_has_saved_nothing() {
    let mut precedence = Precedence::new([class(0, 1, 50), class(0, 1, 0)].iter());
    let only = |wanted: u16| move |id| if id == ClassId(wanted) { Wants::Turn } else { Wants::Nothing };
    for _ in 0..100 {
        precedence.served(ClassId(1), 1, only(1));
    }
    precedence.woke(ClassId(0));
    let mut turns = [0, 0];
    for _ in 0..20 {
        let class = precedence.choose(1, |_| Wants::Turn).unwrap();
        precedence.served(class, 1, |_| Wants::Turn);
        turns[class.index()] += 1;
    }
    assert!(turns[0] <= 11, "{turns:?}");
}

#[test]
fn levels_that_may_not_go_are_passed_over() {
    let precedence = Precedence::new([class(7, 1, 0), class(3, 1, 0)].iter());
    assert_eq!(precedence.levels(), 2);
    assert_eq!((precedence.level(ClassId(0)), precedence.level(ClassId(1))), (1, 0));
    assert_eq!(precedence.choose(1, |id| if id.0 == 0 { Wants::Turn } else { Wants::Nothing }), None);
    assert_eq!(precedence.choose(0, |_| Wants::Turn), None);
}

proptest! {
    /// The bound of start-time fair queueing, at every moment, for classes that come and go.
    #[test]
    fn weights_are_kept_within_one_largest_request_each(
        weights in prop::collection::vec(1_u16..10, 2..5),
        draws in prop::collection::vec((1..=MAX_COST, any::<u8>()), 50..400),
    ) {
        let classes: Vec<ClassSettings> = weights.iter().map(|&weight| class(0, weight, 0)).collect();
        let mut precedence = Precedence::new(classes.iter());
        let mut waits = vec![true; classes.len()];
        // What each got since all that wait now have been waiting.
        let mut got = vec![0_u32; classes.len()];
        for (cost, draw) in draws {
            if draw < 16 {
                let index = usize::from(draw) % classes.len();
                waits[index] = !waits[index];
                if waits[index] {
                    precedence.woke(ClassId(index as u16));
                }
                got.fill(0);
            }
            let wants = |id: ClassId| if waits[id.index()] { Wants::Turn } else { Wants::Nothing };
            let Some(class) = precedence.choose(1, wants) else { continue };
            precedence.served(class, cost, wants);
            got[class.index()] += cost;
            let most = f64::from(MAX_COST);
            for (one, other) in (0..classes.len()).flat_map(|one| (0..one).map(move |other| (one, other))) {
                let share = |index: usize| f64::from(got[index]) / f64::from(weights[index]);
                let bound = most / f64::from(weights[one]) + most / f64::from(weights[other]);
                if waits[one] && waits[other] {
                    prop_assert!((share(one) - share(other)).abs() <= bound + 0.001, "{got:?} for weights {weights:?}");
                }
            }
        }
    }
}
