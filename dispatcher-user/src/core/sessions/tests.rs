//! The mapping table against a table that is plain and slow, and its promises one by one.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn id(number: u8) -> SessionId {
    SessionId([number; 16])
}

fn mapping(backend: u16) -> Mapping {
    Mapping { backend, generation: 1, tunnel: backend % 4, class: 0 }
}

fn rules(idle_s: u64, lifetime_s: u64, capacity: usize) -> Rules {
    Rules { idle: Duration::from_secs(idle_s), lifetime: Duration::from_secs(lifetime_s), capacity }
}

/// A table with room for `capacity`, and two services.
fn table(capacity: usize) -> Sessions {
    let mut sessions = Sessions::new(capacity, 7);
    sessions.configure(1, rules(10, 100, 100));
    sessions.configure(2, rules(20, 50, 3));
    sessions
}

/// What `dsp_sessions` holds once everything is written.
#[derive(Default)]
struct Written(BTreeMap<SessionId, Session>);

impl Written {
    fn take(&mut self, writes: &mut Vec<Write>) {
        for write in writes.drain(..) {
            match write {
                Write::Put(id, row) => self.0.insert(id, row),
                Write::Remove(id) => self.0.remove(&id),
            };
        }
    }
}

fn rows(sessions: &Sessions) -> BTreeMap<SessionId, Session> {
    sessions.iter().collect()
}

#[test]
fn a_session_keeps_its_mapping_until_it_is_idle_for_too_long() {
    let (mut sessions, mut writes) = (table(10), Vec::new());
    assert_eq!(sessions.request(0, 1, id(1), &mut writes), None);
    assert_eq!(sessions.insert(0, 1, id(1), mapping(5), &mut writes), mapping(5));
    for second in [9, 18, 27] {
        assert_eq!(sessions.request(second * SECOND_NS, 1, id(1), &mut writes), Some(mapping(5)));
    }
    assert_eq!(sessions.row(id(1)).unwrap().requests, 4);
    assert_eq!(sessions.row(id(1)).unwrap().expires_ns, 37 * SECOND_NS);
    assert_eq!(sessions.request(37 * SECOND_NS, 1, id(1), &mut writes), None);
    assert_eq!(writes.last(), Some(&Write::Remove(id(1))));
    let counters = sessions.counters();
    assert_eq!((counters.found, counters.missing, counters.inserted, counters.expired), (3, 2, 1, 1));
}

#[test]
fn a_session_ends_with_its_lifetime_however_busy_it_is() {
    let (mut sessions, mut writes) = (table(10), Vec::new());
    sessions.insert(0, 2, id(1), mapping(5), &mut writes);
    sessions.insert(SECOND_NS, 2, id(2), mapping(5), &mut writes);
    for second in (2..50).step_by(3) {
        assert!(sessions.request(second * SECOND_NS, 2, id(1), &mut writes).is_some());
        assert!(sessions.request(second * SECOND_NS, 2, id(2), &mut writes).is_some());
    }
    writes.clear();
    assert!(!sessions.expire(50 * SECOND_NS, 10, &mut writes));
    assert_eq!(writes, [Write::Remove(id(1))]);
}

#[test]
fn the_first_request_of_a_session_decides_for_all_that_came_with_it() {
    let (mut sessions, mut writes) = (table(10), Vec::new());
    assert_eq!(sessions.insert(0, 1, id(1), mapping(5), &mut writes), mapping(5));
    writes.clear();
    assert_eq!(sessions.insert(1, 1, id(1), mapping(6), &mut writes), mapping(5));
    assert_eq!((writes.len(), sessions.row(id(1)).unwrap().requests), (0, 2));
}

#[test]
fn a_session_is_of_one_service() {
    let (mut sessions, mut writes) = (table(10), Vec::new());
    sessions.insert(0, 1, id(1), mapping(5), &mut writes);
    assert_eq!(sessions.request(0, 2, id(1), &mut writes), None);
    assert_eq!(sessions.request(0, 3, id(1), &mut writes), None);
    assert_eq!(sessions.request(0, 1, id(1), &mut writes), Some(mapping(5)));
    // A service without rules has none at all.
    writes.clear();
    assert_eq!(sessions.insert(0, 3, id(9), mapping(7), &mut writes), mapping(7));
    assert_eq!((writes.as_slice(), sessions.len()), (&[][..], 1));
}

#[test]
fn who_is_idle_longest_makes_room_in_the_service_and_in_the_table() {
    let (mut sessions, mut writes) = (table(5), Vec::new());
    for number in 1..=3 {
        sessions.insert(u64::from(number), 2, id(number), mapping(5), &mut writes);
    }
    sessions.request(4, 2, id(1), &mut writes);
    writes.clear();
    sessions.insert(5, 2, id(4), mapping(5), &mut writes);
    assert_eq!(writes.first(), Some(&Write::Remove(id(2))), "the service is full");
    sessions.insert(6, 1, id(5), mapping(5), &mut writes);
    sessions.insert(7, 1, id(6), mapping(5), &mut writes);
    writes.clear();
    sessions.insert(8, 1, id(7), mapping(5), &mut writes);
    assert_eq!(writes.first(), Some(&Write::Remove(id(3))), "the table is full");
    assert_eq!((sessions.len(), sessions.counters().evicted), (5, 2));
}

#[test]
fn a_moved_session_is_written_at_once_and_counters_when_asked_for() {
    let (mut sessions, mut writes) = (table(10), Vec::new());
    sessions.insert(0, 1, id(1), mapping(5), &mut writes);
    sessions.count(id(1), 100);
    sessions.count(id(1), 11);
    writes.clear();
    assert!(sessions.move_to(id(1), mapping(6), &mut writes));
    assert!(matches!(writes[..], [Write::Put(_, Session { backend: 6, bytes: 111, .. })]), "{writes:?}");
    assert!(sessions.move_to(id(1), mapping(6), &mut writes), "where it is already");
    assert!(!sessions.move_to(id(2), mapping(6), &mut writes));
    assert_eq!((writes.len(), sessions.counters().moved), (1, 1));
    writes.clear();
    assert!(!sessions.drain(10, &mut writes));
    assert!(matches!(writes[..], [Write::Put(_, Session { bytes: 111, .. })]), "{writes:?}");
    assert!(!sessions.drain(10, &mut writes));
    assert_eq!(writes.len(), 1, "nothing has changed since");
}

#[test]
fn draining_keeps_to_its_budget_and_loses_nothing() {
    let (mut sessions, mut writes) = (table(10), Vec::new());
    for number in 1..=5 {
        sessions.insert(0, 1, id(number), mapping(5), &mut writes);
        sessions.count(id(number), 1);
        sessions.count(id(number), 1);
    }
    sessions.remove(id(2), &mut writes);
    writes.clear();
    assert!(sessions.drain(3, &mut writes));
    assert_eq!(writes.len(), 3);
    assert!(!sessions.drain(3, &mut writes));
    assert_eq!(writes.len(), 4, "one of five is over");
}

#[test]
fn a_service_that_goes_takes_its_sessions_along() {
    let (mut sessions, mut writes) = (table(10), Vec::new());
    for number in 1..=6 {
        sessions.insert(0, 1 + u16::from(number % 2), id(number), mapping(5), &mut writes);
    }
    sessions.forget_service(1, &mut writes);
    assert_eq!(rows(&sessions).keys().copied().collect::<Vec<_>>(), [id(1), id(3), id(5)]);
    assert_eq!(sessions.counters().removed, 3);
}

#[test]
fn what_a_former_daemon_left_is_taken_over() {
    let row = |service, created_s: u64, seen_s: u64, backend| {
        let (created_ns, last_seen_ns) = (created_s * SECOND_NS, seen_s * SECOND_NS);
        (
            Session { service, created_ns, last_seen_ns, backend, generation: 3, requests: 9, ..Session::default() },
            created_s,
        )
    };
    let left: Vec<(SessionId, Session)> = [
        (1, row(1, 30, 95, 5)),
        (2, row(1, 20, 99, 6)),
        (3, row(1, 85, 89, 5)), // idle for too long
        (4, row(2, 49, 99, 5)), // too old
        (5, row(9, 95, 95, 5)), // of no service
        (6, row(2, 90, 97, 5)),
        (7, row(2, 91, 96, 5)),
        (8, row(2, 92, 95, 5)),
        (9, row(2, 93, 94, 5)), // one more than the service may have
    ]
    .map(|(number, (row, _))| (id(number), row))
    .into();
    let mut written = Written(left.iter().copied().collect());
    let (mut sessions, mut writes) = (table(10), Vec::new());
    sessions.adopt(100 * SECOND_NS, left, &mut writes);
    written.take(&mut writes);
    let kept: Vec<SessionId> = rows(&sessions).into_keys().collect();
    assert_eq!(kept, [1, 2, 6, 7, 8].map(id));
    assert_eq!(written.0.into_keys().collect::<Vec<_>>(), kept);
    assert_eq!(
        sessions.request(100 * SECOND_NS, 1, id(2), &mut writes),
        Some(Mapping { generation: 3, tunnel: 0, ..mapping(6) })
    );
    assert_eq!(sessions.row(id(2)).unwrap().requests, 10);
    // The order of beginnings is theirs as well: 2 began before 1, and reaches its lifetime before.
    writes.clear();
    for second in (104..=120).step_by(4) {
        sessions.request(second * SECOND_NS, 1, id(1), &mut writes);
        sessions.request(second * SECOND_NS - 1, 1, id(2), &mut writes);
    }
    sessions.expire(120 * SECOND_NS, 10, &mut writes);
    assert!(sessions.row(id(1)).is_some() && sessions.row(id(2)).is_none());
}

/// The table as its description says it, with a step for every session everywhere.
struct Plain {
    rows: BTreeMap<SessionId, Session>,
    rules: BTreeMap<u16, Rules>,
    capacity: usize,
}

impl Plain {
    fn request(&mut self, now_ns: u64, service: u16, id: SessionId) -> Option<Mapping> {
        let rules = *self.rules.get(&service)?;
        let row = self.rows.get_mut(&id).filter(|row| row.service == service)?;
        if rules.expires_ns(row) <= now_ns {
            self.rows.remove(&id);
            return None;
        }
        row.requests += 1;
        row.last_seen_ns = now_ns;
        row.expires_ns = rules.expires_ns(row);
        Some(Mapping::of(row))
    }

    fn insert(&mut self, now_ns: u64, service: u16, id: SessionId, mapping: Mapping) -> Mapping {
        if let Some(found) = self.request(now_ns, service, id) {
            return found;
        }
        let rules = self.rules[&service];
        self.rows.remove(&id);
        while self.rows.values().filter(|row| row.service == service).count() >= rules.capacity {
            self.evict(|row| row.service == service);
        }
        while self.rows.len() >= self.capacity {
            self.evict(|_| true);
        }
        let mut row = Session { requests: 1, created_ns: now_ns, last_seen_ns: now_ns, service, ..Session::default() };
        row.expires_ns = rules.expires_ns(&row);
        mapping.write(&mut row);
        self.rows.insert(id, row);
        mapping
    }

    fn evict(&mut self, of: impl Fn(&Session) -> bool) {
        let idle = self.rows.iter().filter(|(_, row)| of(row)).min_by_key(|(_, row)| row.last_seen_ns);
        let id = *idle.unwrap().0;
        self.rows.remove(&id);
    }

    fn expire(&mut self, now_ns: u64) {
        let rules = &self.rules;
        self.rows.retain(|_, row| rules[&row.service].expires_ns(row) > now_ns);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Request(u16, u8),
    Insert(u16, u8, u16),
    Count(u8, u64),
    Move(u8, u16),
    Remove(u8),
    Expire,
    Drain(usize),
    Wait(u64),
    Configure(u16, u64, usize),
    Forget(u16),
    Restart,
}

fn steps() -> impl Strategy<Value = Step> {
    let (service, number, backend) = (1_u16..=2, 0_u8..12, 0_u16..6);
    prop_oneof![
        6 => (service.clone(), number.clone()).prop_map(|(service, number)| Step::Request(service, number)),
        6 => (service.clone(), number.clone(), backend.clone())
            .prop_map(|(service, number, backend)| Step::Insert(service, number, backend)),
        3 => (number.clone(), 0_u64..9).prop_map(|(number, bytes)| Step::Count(number, bytes)),
        2 => (number.clone(), backend).prop_map(|(number, backend)| Step::Move(number, backend)),
        1 => number.prop_map(Step::Remove),
        2 => Just(Step::Expire),
        2 => (0_usize..4).prop_map(Step::Drain),
        4 => (0_u64..8).prop_map(Step::Wait),
        1 => (service.clone(), 1_u64..12, 1_usize..6)
            .prop_map(|(service, idle_s, capacity)| Step::Configure(service, idle_s, capacity)),
        1 => service.prop_map(Step::Forget),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn it_does_what_the_plain_table_does(steps in vec(steps(), 1..80)) {
        const CAPACITY: usize = 7;
        let (mut sessions, mut writes, mut written) = (table(CAPACITY), Vec::new(), Written::default());
        let rules_of = BTreeMap::from([(1, rules(10, 100, 100)), (2, rules(20, 50, 3))]);
        let mut plain = Plain { rows: BTreeMap::new(), rules: rules_of, capacity: CAPACITY };
        let mut now_ns = 0;
        for step in steps {
            // No two things happen at the same time, so that there is one order.
            now_ns += 1;
            match step.clone() {
                Step::Request(service, number) => prop_assert_eq!(
                    sessions.request(now_ns, service, id(number), &mut writes),
                    plain.request(now_ns, service, id(number))
                ),
                Step::Insert(service, number, backend) => prop_assert_eq!(
                    sessions.insert(now_ns, service, id(number), mapping(backend), &mut writes),
                    plain.insert(now_ns, service, id(number), mapping(backend))
                ),
                Step::Count(number, bytes) => {
                    sessions.count(id(number), bytes);
                    plain.rows.entry(id(number)).and_modify(|row| row.bytes += bytes);
                }
                Step::Move(number, backend) => {
                    let is_there = sessions.move_to(id(number), mapping(backend), &mut writes);
                    prop_assert_eq!(is_there, plain.rows.contains_key(&id(number)));
                    plain.rows.entry(id(number)).and_modify(|row| mapping(backend).write(row));
                }
                Step::Remove(number) => {
                    let was_there = sessions.remove(id(number), &mut writes);
                    prop_assert_eq!(was_there, plain.rows.remove(&id(number)).is_some());
                }
                Step::Expire => {
                    while sessions.expire(now_ns, 1, &mut writes) {}
                    plain.expire(now_ns);
                }
                Step::Drain(budget) => {
                    let before = writes.len();
                    sessions.drain(budget, &mut writes);
                    prop_assert!(writes.len() - before <= budget);
                }
                Step::Wait(seconds) => now_ns += seconds * SECOND_NS,
                Step::Configure(service, idle_s, capacity) => {
                    sessions.configure(service, rules(idle_s, 5 * idle_s, capacity));
                    plain.rules.insert(service, rules(idle_s, 5 * idle_s, capacity));
                }
                Step::Forget(service) => {
                    sessions.forget_service(service, &mut writes);
                    sessions.configure(service, plain.rules[&service]);
                    plain.rows.retain(|_, row| row.service != service);
                }
                Step::Restart => {
                    sessions.drain(usize::MAX, &mut writes);
                    written.take(&mut writes);
                    let left = written.0.iter().map(|(id, row)| (*id, *row)).collect();
                    sessions = Sessions::new(CAPACITY, now_ns);
                    plain.rules.iter().for_each(|(&service, &rules)| sessions.configure(service, rules));
                    sessions.adopt(now_ns, left, &mut writes);
                    plain.expire(now_ns);
                    for service in [1, 2] {
                        let count = |plain: &Plain| plain.rows.values().filter(|row| row.service == service).count();
                        while count(&plain) > plain.rules[&service].capacity {
                            plain.evict(|row| row.service == service);
                        }
                    }
                }
            }
            written.take(&mut writes);
            for row in plain.rows.values_mut() {
                row.expires_ns = plain.rules[&row.service].expires_ns(row);
            }
            prop_assert_eq!(rows(&sessions), plain.rows.clone(), "after {:?}", &step);
            prop_assert_eq!(sessions.len(), plain.rows.len());
            let ids: Vec<&SessionId> = plain.rows.keys().collect();
            prop_assert_eq!(written.0.keys().collect::<Vec<_>>(), ids, "after {:?}", &step);
            for (id, row) in &written.0 {
                prop_assert_eq!(Mapping::of(row), Mapping::of(&plain.rows[id]), "a mapping is written at once");
            }
        }
        sessions.drain(usize::MAX, &mut writes);
        written.take(&mut writes);
        // Rules that have changed meanwhile are written with the next request.
        let without_end = |(id, row): (SessionId, Session)| (id, Session { expires_ns: 0, ..row });
        let written: Vec<_> = written.0.into_iter().map(without_end).collect();
        prop_assert_eq!(written, plain.rows.into_iter().map(without_end).collect::<Vec<_>>());
    }
}
