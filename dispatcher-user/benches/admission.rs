//! What admission costs a request: CPU time of one ask and one finish, with slots free and with others waiting, and that
//! of the schedule alone whatever the number of those that wait.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench fails by panicking")]

use std::{collections::VecDeque, sync::Arc, time::Duration};

use dispatcher_user::{
    clock::monotonic_ns,
    qos::{
        Ask,
        admission::Admission,
        classes::Classes,
        scheduler::{Answer, Outcome, Scheduler},
        settings::{ClassId, ClassSettings, QueueBound, Settings, WindowSettings},
    },
};
use nix::time::{ClockId, clock_gettime};
use tokio::{runtime, task};

const REQUESTS: u64 = 1_000_000;

/// Tasks that ask at the same time, and slots for them.
const ROWS: [(&str, u64, WindowSettings); 5] = [
    ("1 task, slots free", 1, WindowSettings::Fixed(64)),
    ("1 task, slots free, window found", 1, WindowSettings::FOUND),
    ("4 tasks, slots free", 4, WindowSettings::Fixed(64)),
    ("4 tasks, 2 slots", 4, WindowSettings::Fixed(2)),
    ("64 tasks, 8 slots", 64, WindowSettings::Fixed(8)),
];

fn main() {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for (name, tasks, window) in ROWS {
        let (cpu_ns, wall_ns) = runtime.block_on(measure(tasks, window));
        println!("{name}: {cpu_ns} ns of CPU a request, {wall_ns} ns elapsed");
    }
    for depth in [10, 1_000, 100_000] {
        println!("schedule, {depth} wait: {} ns of CPU a request", scheduled(depth));
    }
}

/// CPU time of an ask, a finish, and the choice of whose turn it is, with `depth` requests of a tenth as many clients
/// waiting all the time.
fn scheduled(depth: u64) -> u64 {
    let queue = QueueBound { entries: u32::MAX, bytes: u64::MAX };
    let class = ClassSettings { queue, timeout: Duration::from_secs(3600), ..ClassSettings::new("default", 0) };
    let settings = Settings::new(vec![class], WindowSettings::Fixed(8));
    let mut scheduler = Scheduler::new(&settings, 0).unwrap();
    let mut running = VecDeque::new();
    let ask = |number: u64| Ask::new(ClassId(0), number % (depth / 10));
    for number in 0..depth + 8 {
        if let Answer::Go(ticket) = scheduler.ask(0, &ask(number), ()) {
            running.push_back(ticket);
        }
    }
    let cpu_ns = process_cpu_ns();
    for number in 0..REQUESTS {
        let now_ns = number * 1000;
        scheduler.finish(now_ns, running.pop_front().unwrap());
        let Some((next, Outcome::Go)) = scheduler.next(now_ns) else { panic!("one waits") };
        running.push_back(next);
        scheduler.ask(now_ns, &ask(number), ());
    }
    (process_cpu_ns() - cpu_ns) / REQUESTS
}

async fn measure(tasks: u64, window: WindowSettings) -> (u64, u64) {
    let names = ["default", "gold", "bronze"];
    let classes = names.iter().zip([1, 0, 2]).map(|(name, priority)| ClassSettings::new(name, priority)).collect();
    let classes = Classes::new(classes, monotonic_ns).unwrap();
    let admission = classes.admission(window).unwrap();
    let tender = task::spawn(admission.tend());
    let (cpu_ns, wall_ns) = (process_cpu_ns(), monotonic_ns());
    let asks = |client| requests(Arc::clone(&admission), client, REQUESTS / tasks);
    let all: Vec<_> = (0..tasks).map(|client| task::spawn(asks(client))).collect();
    for task in all {
        task.await.unwrap();
    }
    let spent = (process_cpu_ns() - cpu_ns, monotonic_ns() - wall_ns);
    tender.abort();
    (spent.0 / REQUESTS, spent.1 / REQUESTS)
}

async fn requests(admission: Arc<Admission>, client: u64, count: u64) {
    for _ in 0..count {
        let permit = admission.admit(Ask::new(ClassId(2), client)).await.unwrap();
        // Others get to run while the request is at the backend.
        task::consume_budget().await;
        permit.finish();
    }
}

fn process_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
    time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
}
