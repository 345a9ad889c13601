//! Random events in random order, with the invariants checked after each.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use proptest::prelude::*;

use super::*;
use crate::qos::settings::QueueBound;

#[derive(Clone, Debug)]
enum Step {
    Ask { class: u16, client: u64, cost: u32, bytes: u64, patience_ms: Option<u64> },
    Finish(usize),
    Answered(usize),
    Abandon(usize),
    Withdraw(usize),
    Stall(usize),
    Resume(usize),
    Pass(u64),
    Due,
    Close(bool),
    Configure { slots: u32, priorities: [u8; 3], entries: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = (0_u16..4, 0_u64..5, 1_u32..20, 0_u64..3000, prop::option::of(1_u64..200));
    let step = prop_oneof![
        12 => ask.prop_map(|(class, client, cost, bytes, patience_ms)| Step::Ask { class, client, cost, bytes, patience_ms }),
        8 => any::<usize>().prop_map(Step::Finish),
        2 => any::<usize>().prop_map(Step::Answered),
        2 => any::<usize>().prop_map(Step::Abandon),
        2 => any::<usize>().prop_map(Step::Withdraw),
        2 => any::<usize>().prop_map(Step::Stall),
        2 => any::<usize>().prop_map(Step::Resume),
        5 => (0_u64..300).prop_map(Step::Pass),
        2 => Just(Step::Due),
        1 => prop::bool::weighted(0.2).prop_map(Step::Close),
        1 => (1_u32..9, any::<[u8; 3]>(), 0_u32..9)
            .prop_map(|(slots, priorities, entries)| Step::Configure { slots, priorities, entries }),
    ];
    prop::collection::vec(step, 0..250)
}

/// What the owner of a ticket knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Waits,
    Goes,
    Stalled,
    Returns,
    Refused,
}

struct Owner {
    scheduler: Scheduler<usize>,
    now_ns: u64,
    tickets: Vec<(Ticket, Known)>,
    asked: u64,
    refused_at_once: u64,
}

impl Owner {
    fn settle(&mut self) {
        while let Some((ticket, outcome)) = self.scheduler.next(self.now_ns) {
            let (_, known) = self.tickets.iter_mut().find(|(known, _)| *known == ticket).unwrap();
            assert!(matches!(known, Known::Waits | Known::Returns), "{known:?} and then {outcome:?}");
            match outcome {
                Outcome::Go => *known = Known::Goes,
                Outcome::Shed(_) if *known == Known::Returns => *known = Known::Refused,
                Outcome::Shed(_) => {
                    assert!(matches!(self.scheduler.outcome(ticket), Outcome::Shed(_)));
                    self.tickets.retain(|(known, _)| *known != ticket);
                }
                Outcome::Waits => panic!("a wait that is over"),
            }
        }
        self.scheduler.check();
        let due_ns = self.scheduler.due_ns();
        let waits = self.tickets.iter().any(|(_, known)| *known == Known::Waits);
        assert!(!waits || due_ns.is_some_and(|due_ns| due_ns > self.now_ns), "{due_ns:?} at {}", self.now_ns);
    }

    /// One of the tickets that are in one of these states.
    fn some(&self, at: usize, states: &[Known]) -> Option<usize> {
        let fitting: Vec<usize> =
            (0..self.tickets.len()).filter(|&index| states.contains(&self.tickets[index].1)).collect();
        (!fitting.is_empty()).then(|| fitting[at % fitting.len()])
    }

    fn end(&mut self, at: usize, states: &[Known], end: fn(&mut Scheduler<usize>, u64, Ticket)) {
        if let Some(index) = self.some(at, states) {
            let (ticket, _) = self.tickets.remove(index);
            end(&mut self.scheduler, self.now_ns, ticket);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask { class, client, cost, bytes, patience_ms } => {
                let patience = patience_ms.map(std::time::Duration::from_millis);
                self.asked += 1;
                match self.scheduler.ask(self.now_ns, &Ask { class: ClassId(class), client, cost, bytes, patience }, 0)
                {
                    Answer::Go(ticket) => self.tickets.push((ticket, Known::Goes)),
                    Answer::Wait(ticket) => self.tickets.push((ticket, Known::Waits)),
                    Answer::Shed(_) => self.refused_at_once += 1,
                }
            }
            Step::Finish(at) => {
                self.end(at, &[Known::Goes, Known::Stalled, Known::Returns, Known::Refused], Scheduler::finish)
            }
            Step::Abandon(at) => {
                self.end(at, &[Known::Goes, Known::Stalled, Known::Returns, Known::Refused], Scheduler::abandon)
            }
            Step::Withdraw(at) => self.end(at, &[Known::Waits], Scheduler::withdraw),
            Step::Answered(at) => {
                if let Some(index) = self.some(at, &[Known::Goes, Known::Stalled]) {
                    self.scheduler.answered(self.now_ns, self.tickets[index].0);
                }
            }
            Step::Stall(at) => {
                if let Some(index) = self.some(at, &[Known::Goes])
                    && self.scheduler.stall(self.tickets[index].0)
                {
                    self.tickets[index].1 = Known::Stalled;
                }
            }
            Step::Resume(at) => {
                if let Some(index) = self.some(at, &[Known::Stalled]) {
                    let outcome = self.scheduler.resume(self.now_ns, self.tickets[index].0);
                    self.tickets[index].1 = if outcome == Outcome::Go { Known::Goes } else { Known::Returns };
                }
            }
            Step::Pass(ms) => self.now_ns += ms * MS,
            Step::Due => self.now_ns = self.scheduler.due_ns().unwrap_or(self.now_ns).max(self.now_ns),
            Step::Close(is_closed) => self.scheduler.set_closed(self.now_ns, is_closed),
            Step::Configure { slots, priorities, entries } => {
                let mut settings = settings(slots, entries);
                for (class, priority) in settings.classes.iter_mut().zip(priorities) {
                    class.priority = priority % 4;
                }
                self.scheduler.configure(self.now_ns, &settings).unwrap();
                // A queue that is longer than it may be now shrinks with what happens next.
                let is_short = |class: &Class| class.queue.len() <= class.settings.queue.entries;
                while !self.scheduler.classes.iter().all(is_short) {
                    let Some(index) = self.some(0, &[Known::Waits]) else { break };
                    let (ticket, _) = self.tickets.remove(index);
                    self.scheduler.withdraw(self.now_ns, ticket);
                }
            }
        }
        self.settle();
    }
}

fn settings(slots: u32, entries: u32) -> Settings {
    let mut settings = Settings::new(three_classes(), WindowSettings::Fixed(slots));
    for (class, share_percent) in settings.classes.iter_mut().zip([0, 20, 10]) {
        class.share_percent = share_percent;
        class.queue = QueueBound { entries, bytes: 10_000 };
    }
    settings
}

proptest! {
    /// The invariants hold whatever happens, and at the end nothing is left over and everyone was counted once.
    #[test]
    fn nothing_is_lost_counted_twice_or_left_waiting(steps in steps()) {
        let scheduler = Scheduler::new(&settings(4, 6), 0).unwrap();
        let mut owner = Owner { scheduler, now_ns: 0, tickets: Vec::new(), asked: 0, refused_at_once: 0 };
        for step in steps {
            owner.step(step);
        }
        owner.step(Step::Close(false));
        while let Some(index) = owner.some(0, &[Known::Goes, Known::Stalled, Known::Returns, Known::Refused]) {
            let (ticket, _) = owner.tickets.remove(index);
            owner.scheduler.finish(owner.now_ns, ticket);
            owner.settle();
        }
        // What still waits does so for slots of clients that have left, which come free by time.
        for _ in 0..1000 {
            if owner.tickets.is_empty() {
                break;
            }
            owner.step(Step::Due);
            owner.step(Step::Finish(0));
        }
        prop_assert_eq!(&owner.tickets, &[]);
        owner.step(Step::Pass(3_600_000));
        let window = owner.scheduler.window();
        prop_assert_eq!((window.in_flight, window.stalled, window.waiting, window.abandoned), (0, 0, 0, 0));
        prop_assert_eq!(owner.scheduler.requests.len(), 0);
        let ids = [DEFAULT, GOLD, BRONZE];
        let counts = ids.map(|id| owner.scheduler.class(owner.now_ns, id).unwrap().counts);
        let sum = counts.iter().map(|counts| counts.admitted + counts.shed.total() + counts.gave_up).sum::<u64>();
        prop_assert_eq!(sum, owner.asked, "{:?}", counts);
        prop_assert!(owner.refused_at_once <= counts.iter().map(|counts| counts.shed.total()).sum());
        for counts in counts {
            prop_assert_eq!(counts.admitted, counts.finished + counts.abandoned);
        }
    }

    /// However much higher levels ask for, a class with a share gets it, and one without waits no longer than its timeout
    /// without some of its requests being served.
    #[test]
    fn no_class_starves(share_percent in 0_u8..40, slots in 1_u32..12) {
        let mut settings = settings(slots, 100);
        settings.classes[2].share_percent = share_percent;
        settings.classes[1].share_percent = 0;
        let mut scheduler = Scheduler::new(&settings, 0).unwrap();
        let (mut running, mut now_ns, mut served) = (Vec::new(), 0, [0_u32; 3]);
        for number in 0_u64..4000 {
            // One that runs ends every two milliseconds, and gold and bronze always have some waiting.
            now_ns += 2 * MS;
            for class in [GOLD, BRONZE] {
                if scheduler.class(now_ns, class).unwrap().depth < 20
                    && let Answer::Go(ticket) = scheduler.ask(now_ns, &Ask::new(class, number), class.index())
                {
                    running.push(ticket);
                }
            }
            while let Some((ticket, outcome)) = scheduler.next(now_ns) {
                if outcome == Outcome::Go {
                    served[*scheduler.payload_mut(ticket).unwrap()] += 1;
                    running.push(ticket);
                } else {
                    scheduler.outcome(ticket);
                }
            }
            if running.len() as u32 >= slots {
                scheduler.finish(now_ns, running.remove(0));
            }
        }
        let part = f64::from(served[2]) / f64::from(served.iter().sum::<u32>()) * 100.0;
        let least = f64::from(share_percent).max(2.0);
        prop_assert!(part >= least - 1.0 && part <= least.max(3.0) + 2.0, "{part} percent of {served:?}");
    }
}
