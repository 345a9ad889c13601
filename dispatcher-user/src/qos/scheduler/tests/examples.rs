//! Every rule by an example.

use super::*;

/// A schedule and what it says, with the requests by their numbers.
struct Desk {
    scheduler: Scheduler<u32>,
    now_ns: u64,
    count: u32,
    /// What was said and not asserted yet.
    said: Vec<(u32, Outcome)>,
}

impl Desk {
    fn new(classes: Vec<ClassSettings>, slots: u32) -> Self {
        let settings = Settings::new(classes, WindowSettings::Fixed(slots));
        Self { scheduler: Scheduler::new(&settings, 0).unwrap(), now_ns: 0, count: 0, said: Vec::new() }
    }

    fn ask_as(&mut self, ask: Ask) -> Answer {
        let answer = self.scheduler.ask(self.now_ns, &ask, self.count);
        self.count += 1;
        self.settle();
        answer
    }

    fn ask(&mut self, class: ClassId) -> Answer {
        self.ask_as(Ask::new(class, u64::from(self.count)))
    }

    /// Asks for a slot that must be free.
    fn go(&mut self, class: ClassId) -> Ticket {
        let Answer::Go(ticket) = self.ask(class) else { panic!("no slot is free") };
        ticket
    }

    /// Asks, and must wait, if only for a moment.
    fn wait(&mut self, class: ClassId) -> Ticket {
        let Answer::Wait(ticket) = self.ask(class) else { panic!("a slot is free") };
        ticket
    }

    fn finish(&mut self, ticket: Ticket) {
        self.scheduler.finish(self.now_ns, ticket);
        self.settle();
    }

    fn pass(&mut self, ns: u64) {
        self.now_ns += ns;
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((ticket, outcome)) = self.scheduler.next(self.now_ns) {
            self.said.push((*self.scheduler.payload_mut(ticket).unwrap(), outcome));
        }
        self.scheduler.check();
    }

    /// The numbers of those that got a slot since the last call; nothing else must have been said.
    fn gone(&mut self) -> Vec<u32> {
        let said = std::mem::take(&mut self.said);
        assert!(said.iter().all(|(_, outcome)| *outcome == Outcome::Go), "{said:?}");
        said.into_iter().map(|(number, _)| number).collect()
    }

    /// The numbers of those that were refused since the last call, and why; nothing else must have been said.
    fn shed(&mut self) -> Vec<(u32, ShedReason)> {
        let said = std::mem::take(&mut self.said).into_iter();
        said.map(|(number, outcome)| match outcome {
            Outcome::Shed(shed) => (number, shed.reason),
            Outcome::Go | Outcome::Waits => panic!("{number}: {outcome:?}"),
        })
        .collect()
    }

    fn in_flight(&self) -> u32 {
        self.scheduler.window().in_flight
    }
}

fn one_class() -> Vec<ClassSettings> {
    vec![ClassSettings::new("default", 0)]
}

#[test]
fn a_free_slot_is_given_at_once_and_a_full_window_lets_wait() {
    let mut desk = Desk::new(one_class(), 2);
    let first = desk.go(DEFAULT);
    desk.go(DEFAULT);
    desk.wait(DEFAULT);
    desk.finish(first);
    assert_eq!((desk.gone(), desk.in_flight()), (vec![2], 2));
}

#[test]
fn a_higher_class_overtakes_what_waits() {
    let mut desk = Desk::new(three_classes(), 3);
    let running: Vec<Ticket> = (0..3).map(|_| desk.go(BRONZE)).collect();
    for class in [BRONZE, DEFAULT, GOLD] {
        desk.wait(class);
    }
    for ticket in running {
        desk.finish(ticket);
    }
    assert_eq!(desk.gone(), [5, 4, 3]);
}

#[test]
fn lower_levels_leave_a_slot_to_the_highest() {
    let mut desk = Desk::new(three_classes(), 4);
    for class in [BRONZE, DEFAULT, BRONZE] {
        desk.go(class);
    }
    desk.wait(BRONZE);
    desk.wait(DEFAULT);
    assert_eq!(desk.in_flight(), 3);
    // It has to ask like everyone else, but its slot is free.
    desk.wait(GOLD);
    assert_eq!(desk.gone(), [5]);
    assert_eq!(desk.in_flight(), 4);
}

#[test]
fn a_reserve_is_what_was_asked_for_or_the_guaranteed_share() {
    let with = |gold: ClassSettings| {
        let mut classes = three_classes();
        classes[1] = gold;
        let mut desk = Desk::new(classes, 10);
        while let Answer::Go(_) = desk.ask(BRONZE) {}
        desk.in_flight()
    };
    let gold = || ClassSettings::new("gold", 0);
    assert_eq!(with(gold()), 9);
    assert_eq!(with(ClassSettings { share_percent: 35, ..gold() }), 7);
    assert_eq!(with(ClassSettings { reserve: Some(0), ..gold() }), 10);
    assert_eq!(with(ClassSettings { reserve: Some(6), ..gold() }), 4);
    assert_eq!(with(ClassSettings { reserve: Some(60), ..gold() }), 1, "every level may have one slot");
}

#[test]
fn a_full_queue_costs_the_client_that_fills_it() {
    let mut classes = one_class();
    classes[0].queue.entries = 3;
    let mut desk = Desk::new(classes, 1);
    desk.go(DEFAULT);
    let greedy = Ask::new(DEFAULT, 77);
    for _ in 0..3 {
        assert!(matches!(desk.ask_as(greedy), Answer::Wait(_)));
    }
    // A modest client finds room, and the greedy one makes it.
    desk.wait(DEFAULT);
    assert_eq!(desk.shed(), [(1, ShedReason::QueueFull)]);
    desk.ask_as(greedy);
    assert_eq!(desk.shed(), [(2, ShedReason::QueueFull)]);
    // One that is larger than all that may wait is refused itself.
    let huge = Ask { bytes: (16 << 20) + 1, ..Ask::new(DEFAULT, 5) };
    let Answer::Shed(shed) = desk.ask_as(huge) else { panic!() };
    assert_eq!((shed.reason, desk.shed()), (ShedReason::QueueFull, vec![]));
    let view = desk.scheduler.class(desk.now_ns, DEFAULT).unwrap();
    assert_eq!((view.depth, view.counts.shed.queue_full), (3, 3));
}

#[test]
fn a_wait_ends_after_the_timeout_of_its_class() {
    let mut desk = Desk::new(three_classes(), 1);
    desk.scheduler
        .configure(0, &{
            let mut settings = Settings::new(three_classes(), WindowSettings::Fixed(1));
            settings.classes[2].timeout = std::time::Duration::from_millis(30);
            settings
        })
        .unwrap();
    desk.go(GOLD);
    desk.wait(BRONZE);
    desk.pass(10 * MS);
    desk.wait(BRONZE);
    desk.wait(GOLD);
    assert_eq!(desk.scheduler.due_ns(), Some(30 * MS));
    desk.pass(20 * MS - 1);
    assert_eq!(desk.shed(), []);
    desk.pass(1);
    assert_eq!(desk.shed(), [(1, ShedReason::Timeout)]);
    desk.pass(10 * MS);
    assert_eq!(desk.shed(), [(2, ShedReason::Timeout)]);
    assert_eq!(desk.scheduler.due_ns(), Some(1010 * MS));
}

#[test]
fn a_request_whose_client_would_be_gone_before_the_answer_is_not_sent() {
    let mut desk = Desk::new(one_class(), 1);
    // Requests take 20 ms here.
    let usual = desk.go(DEFAULT);
    desk.pass(20 * MS);
    desk.finish(usual);
    let running = desk.go(DEFAULT);
    let patience = |ms| Some(std::time::Duration::from_millis(ms));
    desk.ask_as(Ask { patience: patience(35), ..Ask::new(DEFAULT, 1) });
    desk.ask_as(Ask { patience: patience(45), ..Ask::new(DEFAULT, 2) });
    desk.pass(20 * MS);
    desk.finish(running);
    assert_eq!(desk.said.len(), 2);
    assert!(matches!(desk.said[..], [(3, Outcome::Go), (2, Outcome::Shed(Shed { reason: ShedReason::Deadline, .. }))]));
}

#[test]
fn a_withdrawn_request_makes_room_and_a_withdrawn_grant_goes_to_the_next() {
    let mut desk = Desk::new(one_class(), 1);
    let running = desk.go(DEFAULT);
    let [gives_up, granted, _last] = [(); 3].map(|()| desk.wait(DEFAULT));
    desk.scheduler.withdraw(desk.now_ns, gives_up);
    desk.settle();
    desk.finish(running);
    assert_eq!(desk.gone(), [2]);
    // Its owner is gone before it knew.
    desk.scheduler.withdraw(desk.now_ns, granted);
    desk.settle();
    assert_eq!((desk.gone(), desk.in_flight()), (vec![3], 1));
    let counts = desk.scheduler.class(0, DEFAULT).unwrap().counts;
    assert_eq!((counts.admitted, counts.gave_up, counts.finished), (2, 2, 1));
}

#[test]
fn the_slot_of_a_client_that_left_stays_taken_for_the_usual_time() {
    let mut desk = Desk::new(one_class(), 1);
    for _ in 0..40 {
        let usual = desk.go(DEFAULT);
        desk.pass(10 * MS);
        desk.finish(usual);
    }
    let left = desk.go(DEFAULT);
    desk.wait(DEFAULT);
    desk.pass(MS);
    desk.scheduler.abandon(desk.now_ns, left);
    desk.settle();
    assert_eq!((desk.gone(), desk.scheduler.window().abandoned), (vec![], 1));
    // Whatever a tender looks at, it is told when to look again.
    let due_ns = desk.scheduler.due_ns().unwrap();
    assert!((8 * MS..10 * MS).contains(&(due_ns - desk.now_ns)), "{}", due_ns - desk.now_ns);
    desk.pass(due_ns - desk.now_ns);
    assert_eq!((desk.gone(), desk.in_flight()), (vec![41], 1));
}

#[test]
fn clients_that_leave_a_slow_backend_do_not_pile_requests_on_it() {
    let mut desk = Desk::new(one_class(), 1);
    for _ in 0..40 {
        let usual = desk.go(DEFAULT);
        desk.pass(10 * MS);
        desk.finish(usual);
    }
    // Now it answers nothing, and everyone leaves after two seconds.
    let mut sent = 0;
    for _ in 0..60 {
        match desk.ask(DEFAULT) {
            Answer::Go(ticket) => {
                desk.pass(2 * SECOND);
                desk.scheduler.abandon(desk.now_ns, ticket);
                sent += 1;
            }
            Answer::Wait(ticket) => {
                desk.pass(SECOND / 2);
                desk.scheduler.withdraw(desk.now_ns, ticket);
                desk.said.clear();
            }
            Answer::Shed(shed) => panic!("{shed}"),
        }
        desk.settle();
    }
    // One after the other, each has its two seconds and half as long again.
    let every_ns = desk.now_ns / sent;
    assert!(every_ns > 2900 * MS, "one every {} ms", every_ns / MS);
}

#[test]
fn a_stalled_request_lends_its_slot_and_comes_back_first() {
    let mut desk = Desk::new(three_classes(), 1);
    let slow = desk.go(BRONZE);
    desk.wait(BRONZE);
    assert!(desk.scheduler.stall(slow));
    assert!(!desk.scheduler.stall(slow), "it has lent it already");
    desk.settle();
    assert_eq!((desk.gone(), desk.in_flight(), desk.scheduler.window().stalled), (vec![1], 1, 1));
    desk.wait(BRONZE);
    desk.wait(GOLD);
    assert_eq!(desk.scheduler.resume(desk.now_ns, slow), Outcome::Waits);
    desk.settle();
    for expected in [3, 0, 2] {
        let running = desk.scheduler.requests_running();
        desk.finish(running[0]);
        assert_eq!(desk.gone(), [expected]);
    }
    let counts = desk.scheduler.class(0, BRONZE).unwrap().counts;
    assert_eq!((counts.admitted, counts.finished), (3, 2), "it counts as admitted once");
}

#[test]
fn a_stalled_request_may_end_in_every_way() {
    let mut desk = Desk::new(one_class(), 1);
    for end in [Scheduler::finish, Scheduler::abandon, Scheduler::withdraw] {
        let slow = desk.go(DEFAULT);
        assert!(desk.scheduler.stall(slow));
        end(&mut desk.scheduler, desk.now_ns, slow);
        desk.settle();
        assert_eq!((desk.in_flight(), desk.scheduler.window().stalled), (0, 0));
        // Also while it waits to come back.
        let slow = desk.go(DEFAULT);
        assert!(desk.scheduler.stall(slow));
        let other = desk.go(DEFAULT);
        assert_eq!(desk.scheduler.resume(desk.now_ns, slow), Outcome::Waits);
        end(&mut desk.scheduler, desk.now_ns, slow);
        desk.finish(other);
        assert_eq!((desk.in_flight(), desk.scheduler.window().waiting), (0, 0));
    }
}

#[test]
fn not_everyone_may_lend_a_slot() {
    let mut desk = Desk::new(one_class(), 2);
    let lent = (0..100).filter(|_| {
        let Answer::Go(ticket) = desk.ask(DEFAULT) else { return false };
        desk.scheduler.stall(ticket)
    });
    assert_eq!(lent.count(), 8);
}

#[test]
fn a_closed_schedule_refuses_everyone_and_opens_again() {
    let mut desk = Desk::new(three_classes(), 1);
    let slow = desk.go(GOLD);
    assert!(desk.scheduler.stall(slow));
    let running = desk.go(GOLD);
    for class in [GOLD, BRONZE] {
        desk.wait(class);
    }
    desk.scheduler.resume(desk.now_ns, slow);
    desk.scheduler.set_closed(desk.now_ns, true);
    desk.settle();
    let mut shed = desk.shed();
    shed.sort_unstable_by_key(|&(number, _)| number);
    assert_eq!(shed, [(0, ShedReason::Closed), (2, ShedReason::Closed), (3, ShedReason::Closed)]);
    assert!(matches!(desk.ask(GOLD), Answer::Shed(Shed { reason: ShedReason::Closed, .. })));
    assert!(matches!(desk.scheduler.outcome(slow), Outcome::Shed(_)));
    desk.scheduler.abandon(desk.now_ns, slow);
    desk.finish(running);
    assert_eq!(desk.in_flight(), 0);
    desk.scheduler.set_closed(desk.now_ns, false);
    desk.go(BRONZE);
}

#[test]
fn settings_change_under_what_waits() {
    let mut desk = Desk::new(three_classes(), 1);
    desk.go(BRONZE);
    for class in [GOLD, BRONZE] {
        desk.wait(class);
    }
    // Bronze becomes the highest level, and the window grows by one.
    let mut classes = three_classes();
    classes[2].priority = 0;
    classes[1].priority = 5;
    desk.scheduler.configure(desk.now_ns, &Settings::new(classes.clone(), WindowSettings::Fixed(2))).unwrap();
    desk.settle();
    assert_eq!((desk.gone(), desk.in_flight()), (vec![2], 2));
    classes[0].weight = 0;
    let refused = desk.scheduler.configure(desk.now_ns, &Settings::new(classes, WindowSettings::Fixed(9)));
    assert_eq!(refused, Err(SettingsError::Weight("default".to_owned())));
    desk.settle();
    assert_eq!(desk.in_flight(), 2, "nothing has changed");
}

#[test]
fn retry_after_grows_with_what_waits_and_is_not_the_same_for_all() {
    let mut desk = Desk::new(one_class(), 1);
    let usual = desk.go(DEFAULT);
    desk.pass(100 * MS);
    desk.finish(usual);
    desk.go(DEFAULT);
    let retry_after = |desk: &Desk, client| desk.scheduler.shed(DEFAULT, client, ShedReason::Timeout).retry_after_s;
    assert_eq!(retry_after(&desk, 0), 1);
    for _ in 0..50 {
        desk.wait(DEFAULT);
    }
    // 50 requests of 100 ms, one at a time.
    let mut seen: Vec<u32> = (0..12).map(|client| retry_after(&desk, client)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_class_that_is_not_there_is_the_default_class() {
    let mut desk = Desk::new(three_classes(), 1);
    desk.go(ClassId(99));
    assert_eq!(desk.scheduler.class(0, DEFAULT).unwrap().counts.admitted, 1);
}

impl<T> Scheduler<T> {
    /// Tickets of what runs.
    fn requests_running(&self) -> Vec<Ticket> {
        self.requests.keys().filter(|&key| self.requests.find(key).unwrap().state == State::Running).collect()
    }
}
