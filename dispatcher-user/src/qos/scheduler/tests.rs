//! Every rule of the schedule by an example, and all of them together under random events.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

mod examples;
mod random;

use super::{class::Class, *};
use crate::qos::settings::{ClassId, ClassSettings, WindowSettings};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

const DEFAULT: ClassId = ClassId(0);
const GOLD: ClassId = ClassId(1);
const BRONZE: ClassId = ClassId(2);

/// Gold before default before bronze.
fn three_classes() -> Vec<ClassSettings> {
    vec![ClassSettings::new("default", 1), ClassSettings::new("gold", 0), ClassSettings::new("bronze", 2)]
}

impl<T> Scheduler<T> {
    /// Checks what must hold once [`Self::next`] has nothing more to say.
    pub(in crate::qos) fn check(&self) {
        let count = |is: fn(&State) -> bool| self.requests.iter().filter(|request| is(&request.state)).count() as u32;
        let waiting = count(|state| matches!(state, State::Waiting | State::Returning));
        let holding = count(|state| matches!(state, State::Running | State::Abandoned));
        assert_eq!(self.waiting, waiting);
        assert_eq!(self.slots.in_flight(), holding);
        assert_eq!(self.slots.stalled(), count(|state| *state == State::Stalled));
        assert_eq!(self.slots.abandoned() as u32, count(|state| *state == State::Abandoned));
        assert!(self.refused.is_empty(), "all refusals were told");
        self.check_work_is_conserved();
        for (class, id) in self.classes.iter().zip(0..) {
            self.check_class(class, ClassId(id));
        }
    }

    /// Whoever waits may not have a slot: the window is full, or what is free is kept for others, or held for a moment.
    fn check_work_is_conserved(&self) {
        let waits = |level| {
            (0..).map(ClassId).zip(&self.classes).any(|(id, class)| class.waits() && self.precedence.level(id) == level)
        };
        let mut kept = 0;
        for level in 0..self.precedence.levels() {
            let held: u32 = self.slots.levels()[level..].iter().map(|level| level.in_flight).sum();
            let is_full = held >= self.slots.may_hold(level, kept);
            if is_full {
                return;
            }
            if waits(level) {
                assert!(
                    level > 0 && self.slots.held_until_ns().is_some(),
                    "level {level} waits for {held} of its slots"
                );
                return;
            }
            kept += self.slots.reserve(level);
        }
    }

    fn check_class(&self, class: &Class, id: ClassId) {
        let own = || self.requests.iter().filter(|request| request.class == id);
        let holding = own().filter(|request| matches!(request.state, State::Running | State::Abandoned)).count();
        assert_eq!(class.in_flight as usize, holding);
        assert!(class.queue.len() <= class.settings.queue.entries && class.queue.bytes() <= class.settings.queue.bytes);
        let (counts, waiting) = (class.counts, u64::from(class.queue.len()));
        let in_flight = own().filter(|request| {
            matches!(request.state, State::Running | State::Stalled | State::Returning) || request.has_stalled
        });
        let not_abandoned = in_flight.filter(|request| request.state != State::Abandoned).count() as u64;
        assert_eq!(counts.admitted, counts.finished + counts.abandoned + not_abandoned, "{counts:?}, {waiting} wait");
    }
}
