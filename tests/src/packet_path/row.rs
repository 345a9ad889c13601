//! A row of the verdict table: tables and packets, and what must become of both on the host and in the kernel.

use super::{
    capable::is_capable,
    host::{self, Action, Outcome},
    kernel::{Kernel, coarse_now_ns, next_tick_ns, with_kernel},
    world::{Record, World},
};

/// Time of host runs: any will do.
const HOST_NOW_NS: u64 = 5_000_000_000_000;
/// How often a row is begun anew because the clock went on while a packet was in the kernel.
const ATTEMPTS: usize = 200;

type Change = Box<dyn Fn(&mut World) + Sync>;

/// Tables, then packets and other events in order.
pub struct Row {
    name: String,
    set_up: Change,
    steps: Vec<Step>,
    has_full_events: bool,
    /// Why it runs on the host alone, if it does.
    host_alone: Option<&'static str>,
}

enum Step {
    /// A packet comes in; `expected` gives what becomes of it and changes the tables as they must change.
    Packet { ingress: u32, frame: Vec<u8>, expected: Box<dyn Fn(&mut World) -> Outcome + Sync> },
    /// The daemon consumes all that was sent up.
    Consume,
    /// The daemon changes tables.
    Change(Change),
}

/// Why a row did not hold.
enum Failure {
    /// The clock went on, so that nothing was shown; the row is to begin anew.
    Tick,
    /// It is wrong.
    Wrong(String),
}

impl Row {
    /// A row that starts from the tables that `set_up` makes.
    pub fn new(name: impl Into<String>, set_up: impl Fn(&mut World) + Sync + 'static) -> Self {
        let (name, set_up) = (name.into(), Box::new(set_up));
        Self { name, set_up, steps: Vec::new(), has_full_events: false, host_alone: None }
    }

    /// Starts with a ring buffer that has no room.
    #[must_use]
    pub fn with_full_events(self) -> Self {
        Self { has_full_events: true, ..self }
    }

    /// Runs on the host alone, and why.
    #[must_use]
    pub fn on_the_host_alone(self, why: &'static str) -> Self {
        Self { host_alone: Some(why), ..self }
    }

    /// Then `frame` comes in by `ingress`. `expected` changes the tables as they must change, and gives the outcome.
    #[must_use]
    pub fn packet(
        mut self,
        ingress: u32,
        frame: Vec<u8>,
        expected: impl Fn(&mut World) -> Outcome + Sync + 'static,
    ) -> Self {
        self.steps.push(Step::Packet { ingress, frame, expected: Box::new(expected) });
        self
    }

    /// Then `frame` is handed to the kernel untouched; of the tables, `changed` changes.
    #[must_use]
    pub fn passes(self, ingress: u32, frame: Vec<u8>, changed: impl Fn(&mut World) + Sync + 'static) -> Self {
        self.stays(ingress, Action::Pass, frame, changed)
    }

    /// Then `frame` is dropped; of the tables, `changed` changes.
    #[must_use]
    pub fn drops(self, ingress: u32, frame: Vec<u8>, changed: impl Fn(&mut World) + Sync + 'static) -> Self {
        self.stays(ingress, Action::Drop, frame, changed)
    }

    fn stays(
        self,
        ingress: u32,
        action: Action,
        frame: Vec<u8>,
        changed: impl Fn(&mut World) + Sync + 'static,
    ) -> Self {
        self.packet(ingress, frame.clone(), move |world| {
            changed(world);
            Outcome { action, frame: frame.clone() }
        })
    }

    /// Then `frame` leaves as `out`; of the tables, `changed` changes.
    #[must_use]
    pub fn sends(
        self,
        ingress: u32,
        frame: Vec<u8>,
        (action, out): (Action, Vec<u8>),
        changed: impl Fn(&mut World) + Sync + 'static,
    ) -> Self {
        self.packet(ingress, frame, move |world| {
            changed(world);
            Outcome { action, frame: out.clone() }
        })
    }

    /// Then the daemon consumes all that was sent up.
    #[must_use]
    pub fn consume(mut self) -> Self {
        self.steps.push(Step::Consume);
        self
    }

    /// Then the daemon changes tables.
    #[must_use]
    pub fn change(mut self, change: impl Fn(&mut World) + Sync + 'static) -> Self {
        self.steps.push(Step::Change(Box::new(change)));
        self
    }

    /// What the row says that the program counts.
    #[must_use]
    pub fn expected_stats(&self) -> dispatcher_common::counter::Stats {
        let mut world = self.first_world(HOST_NOW_NS, 0);
        for step in &self.steps {
            match step {
                Step::Packet { expected, .. } => drop(expected(&mut world)),
                Step::Consume => drop(world.consume()),
                Step::Change(change) => change(&mut world),
            }
        }
        world.stats
    }

    fn first_world(&self, now_ns: u64, position: u64) -> World {
        let mut world = World::new(now_ns, position);
        (self.set_up)(&mut world);
        world
    }

    fn run(&self, mut kernel: Option<&mut Kernel>) -> Result<(), Failure> {
        let kernel = &mut kernel;
        let (mut now_ns, mut produced) = (HOST_NOW_NS, None);
        if let Some(kernel) = kernel {
            kernel.consume();
            produced = self.has_full_events.then(|| kernel.fill_events());
            now_ns = coarse_now_ns();
        }
        let mut expected = self.first_world(now_ns, kernel.as_ref().map_or(0, |kernel| kernel.position()));
        if self.has_full_events {
            // As far as the kernel's rule for room lets it be filled, when there is no kernel to do it.
            expected.produced = produced.unwrap_or(dispatcher_common::table::EVENT_BYTES as u64 - 1);
        }
        if let Some(kernel) = kernel {
            kernel.write(&expected);
        }
        let mut in_memory = expected.clone();
        for (number, step) in (1..).zip(&self.steps) {
            match step {
                Step::Packet { ingress, frame, expected: outcome } => {
                    expected.now_ns = if kernel.is_some() { next_tick_ns() } else { expected.now_ns + 1_000_000 };
                    in_memory.now_ns = expected.now_ns;
                    let wanted = outcome(&mut expected);
                    if let Some(kernel) = kernel {
                        run_in_kernel(kernel, (*ingress, frame), &wanted, &expected)
                            .map_err(|failure| failure.at(number, "kernel"))?;
                    }
                    let got = host::run(&mut in_memory, frame, *ingress);
                    compare(&wanted, &got, &expected, &in_memory).map_err(|failure| failure.at(number, "host"))?;
                }
                Step::Consume => {
                    let (wanted, got) = (expected.consume(), in_memory.consume());
                    same_records(&wanted, &got).map_err(|failure| failure.at(number, "host"))?;
                    if let Some(kernel) = kernel {
                        same_records(&wanted, &kernel.consume()).map_err(|failure| failure.at(number, "kernel"))?;
                    }
                }
                Step::Change(change) => {
                    change(&mut expected);
                    change(&mut in_memory);
                    if let Some(kernel) = kernel {
                        kernel.write(&expected);
                    }
                }
            }
        }
        same_records(&expected.records, &in_memory.records).map_err(|failure| failure.at(0, "host"))?;
        if let Some(kernel) = kernel.as_mut().filter(|_| !self.has_full_events) {
            same_records(&expected.records, &kernel.consume()).map_err(|failure| failure.at(0, "kernel"))?;
        }
        Ok(())
    }
}

impl Failure {
    fn at(self, step: usize, place: &str) -> Self {
        match self {
            Self::Tick => Self::Tick,
            Self::Wrong(what) => Self::Wrong(format!("step {step}, {place}: {what}")),
        }
    }
}

/// Runs every row on the host and, where that can be, in the kernel.
///
/// # Panics
/// With all rows that do not hold.
pub fn check(rows: &[Row]) {
    let mut failures = run_all(rows.iter(), None);
    for row in rows {
        if let Some(why) = row.host_alone {
            eprintln!("on the host alone: {}: {why}", row.name);
        }
    }
    if is_capable() {
        let in_kernel = rows.iter().filter(|row| row.host_alone.is_none());
        failures.extend(with_kernel(|kernel| run_all(in_kernel, Some(kernel))));
    }
    assert!(failures.is_empty(), "{} rows do not hold:\n{}", failures.len(), failures.join("\n"));
}

fn run_all<'a>(rows: impl Iterator<Item = &'a Row>, mut kernel: Option<&mut Kernel>) -> Vec<String> {
    let mut failures = Vec::new();
    for row in rows {
        let mut outcome = Err(Failure::Tick);
        for _ in 0..ATTEMPTS {
            outcome = row.run(kernel.as_deref_mut());
            if !matches!(outcome, Err(Failure::Tick)) {
                break;
            }
        }
        match outcome {
            Ok(()) => {}
            Err(Failure::Tick) => failures.push(format!("{}: the clock never stood still", row.name)),
            Err(Failure::Wrong(what)) => failures.push(format!("{}: {what}", row.name)),
        }
    }
    failures
}

fn run_in_kernel(
    kernel: &mut Kernel,
    (ingress, frame): (u32, &[u8]),
    wanted: &Outcome,
    expected: &World,
) -> Result<(), Failure> {
    // With one port open a redirect can go there alone.
    if let Action::Redirect(port) = wanted.action {
        kernel.open_ports(expected.ports.contains(&port).then_some(port));
    } else {
        kernel.open_ports(expected.ports.iter().copied());
    }
    let got = kernel.run(frame, ingress);
    if coarse_now_ns() != expected.now_ns {
        return Err(Failure::Tick);
    }
    let mut tables = World::new(expected.now_ns, 0);
    kernel.read(&mut tables);
    compare(wanted, &got, expected, &tables)
}

fn compare(wanted: &Outcome, got: &Outcome, expected: &World, tables: &World) -> Result<(), Failure> {
    let mut lines = Vec::new();
    if wanted.action != got.action {
        lines.push(format!("  {:?} instead of {:?}", got.action, wanted.action));
    }
    if wanted.frame != got.frame {
        lines.push(format!("  - frame {}\n  + frame {}", hex(&wanted.frame), hex(&got.frame)));
    }
    lines.extend(expected.difference(tables));
    if lines.is_empty() { Ok(()) } else { Err(Failure::Wrong(format!("\n{}", lines.join("\n")))) }
}

fn same_records(wanted: &[Record], got: &[Record]) -> Result<(), Failure> {
    if wanted == got {
        return Ok(());
    }
    Err(Failure::Wrong(format!("sent up\n  - {wanted:?}\n  + {got:?}")))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
