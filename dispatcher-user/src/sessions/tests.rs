//! The sharded table: what is written, when, and that tasks at once neither lose nor double anything.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    thread,
};

use super::*;

const SECOND_NS: u64 = 1_000_000_000;
const RULES: Rules = Rules { idle: Duration::from_secs(10), lifetime: Duration::from_secs(100), capacity: 4096 };

/// A stand-in for the kernel's table; refuses while it is told to.
#[derive(Clone, Default)]
struct Kernel {
    rows: Arc<Mutex<BTreeMap<SessionId, Session>>>,
    refuses: Arc<AtomicBool>,
    puts: Arc<AtomicU64>,
}

impl Rows for Kernel {
    fn put(&mut self, id: SessionId, row: &Session) -> io::Result<()> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(io::Error::other("Argument list too long"));
        }
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.rows.lock().unwrap().insert(id, *row);
        Ok(())
    }

    fn remove(&mut self, id: SessionId) -> io::Result<()> {
        self.rows.lock().unwrap().remove(&id);
        Ok(())
    }
}

impl Kernel {
    fn sessions(&self) -> Sessions {
        let open = || Ok::<_, io::Error>(Box::new(self.clone()) as Box<dyn Rows>);
        let sessions = Sessions::new(7, open).unwrap();
        sessions.configure(1, RULES);
        sessions
    }

    fn rows(&self) -> BTreeMap<SessionId, Session> {
        self.rows.lock().unwrap().clone()
    }
}

fn id(number: u32) -> SessionId {
    SessionId(u128::from(number).to_be_bytes())
}

fn mapping(backend: u16) -> Mapping {
    Mapping { backend, generation: 1, tunnel: 0, class: 0 }
}

#[test]
fn mappings_are_written_at_once_and_counters_within_a_second() {
    let kernel = Kernel::default();
    let sessions = kernel.sessions();
    sessions.insert(0, 1, id(1), mapping(5));
    assert_eq!(kernel.rows()[&id(1)].backend, 5);
    for _ in 0..9 {
        sessions.request(1, 1, id(1));
        sessions.count(id(1), 1000);
    }
    assert_eq!(kernel.rows()[&id(1)].requests, 1);
    for _ in 0..SHARDS {
        sessions.maintain(2);
    }
    let row = kernel.rows()[&id(1)];
    assert_eq!((row.requests, row.bytes), (10, 9000));
    let puts = kernel.puts.load(Ordering::Relaxed);
    for _ in 0..SHARDS {
        sessions.maintain(3);
    }
    assert_eq!(kernel.puts.load(Ordering::Relaxed), puts, "what has not changed is not written");
    assert!(sessions.move_to(id(1), mapping(6)));
    assert_eq!(kernel.rows()[&id(1)].backend, 6);
    for _ in 0..SHARDS {
        sessions.maintain(20 * SECOND_NS);
    }
    assert!(kernel.rows().is_empty() && sessions.is_empty());
}

#[test]
fn a_restart_loses_no_session() {
    let kernel = Kernel::default();
    let before = kernel.sessions();
    for number in 0..1000 {
        before.insert(u64::from(number), 1, id(number), mapping(5));
        before.request(u64::from(number), 1, id(number));
    }
    before.flush();
    let after = kernel.sessions();
    after.adopt(SECOND_NS, kernel.rows());
    assert_eq!((after.len(), after.counters().adopted), (1000, 1000));
    for number in 0..1000 {
        assert_eq!(after.request(SECOND_NS, 1, id(number)), Some(mapping(5)));
        assert_eq!(after.row(id(number)).unwrap().requests, 3);
    }
    assert_eq!(after.counters().missing, 0);
}

#[test]
fn sessions_of_a_backend_move_together_and_the_others_stay() {
    let kernel = Kernel::default();
    let sessions = kernel.sessions();
    for number in 0..100 {
        let generation = if number % 10 == 9 { 2 } else { 1 };
        sessions.insert(0, 1, id(number), Mapping { generation, ..mapping(5 + u16::from(number % 2 == 1)) });
    }
    let mut picks = 0;
    let moved = sessions.move_all(1, (6, 1), |_, old| {
        picks += 1;
        (picks <= 30).then_some(Mapping { backend: 7, ..old })
    });
    // Fifty are at backend 6, ten of them of another generation.
    assert_eq!((moved, picks), (30, 40));
    let at = |backend| kernel.rows().values().filter(|row| row.backend == backend).count();
    assert_eq!((at(5), at(6), at(7)), (50, 20, 30));
}

#[test]
fn a_listing_keeps_to_its_limit_and_says_that_there_is_more() {
    let sessions = Kernel::default().sessions();
    for number in 0..40 {
        sessions.insert(0, 1, id(number), mapping(u16::try_from(number % 2).unwrap()));
    }
    let (found, more) = sessions.list(7, |_| true);
    assert_eq!((found.len(), more), (7, true));
    let (found, more) = sessions.list(20, |row| row.backend == 1);
    assert_eq!((found.len(), more), (20, false));
}

#[test]
fn a_refused_write_is_counted_and_hurts_no_request() {
    let kernel = Kernel::default();
    let sessions = kernel.sessions();
    kernel.refuses.store(true, Ordering::Relaxed);
    sessions.insert(0, 1, id(1), mapping(5));
    assert_eq!((sessions.failures(), sessions.request(1, 1, id(1))), (1, Some(mapping(5))));
    // The next pass writes what is missing, for the counters have changed.
    kernel.refuses.store(false, Ordering::Relaxed);
    sessions.flush();
    assert_eq!(kernel.rows()[&id(1)].requests, 2);
}

#[test]
fn tasks_at_once_agree_on_every_session() {
    const TASKS: u16 = 4;
    const IDS: u32 = 500;
    let kernel = Kernel::default();
    let sessions = kernel.sessions();
    let seen: Vec<Vec<Mapping>> = thread::scope(|scope| {
        let task = |own: u16| {
            let sessions = &sessions;
            scope.spawn(move || {
                let one = |number| {
                    let now_ns = u64::from(number);
                    let found = sessions.request(now_ns, 1, id(number));
                    let mapping = found.unwrap_or_else(|| sessions.insert(now_ns, 1, id(number), mapping(own)));
                    sessions.count(id(number), 1);
                    mapping
                };
                (0..IDS).map(one).collect()
            })
        };
        let tasks: Vec<_> = (0..TASKS).map(task).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    sessions.flush();
    for number in 0..IDS {
        let row = kernel.rows()[&id(number)];
        assert!(seen.iter().all(|of| of[number as usize].backend == row.backend));
        assert_eq!((row.requests, row.bytes), (u64::from(TASKS), u64::from(TASKS)));
    }
}
