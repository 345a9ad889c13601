//! Frames that nobody should send, in the kernel: what must hold for every frame holds, and the host agrees on all of it.

use dispatcher_common::counter::Stats;
use dispatcher_tests::packet_path::{
    capable::is_capable,
    host::{self, Action, Outcome},
    junk::{Case, SEED_VARIABLE, Tally, has_flow, mutate, seed, templates, world},
    kernel::{Kernel, LONGEST_FRAME, SHORTEST_FRAME, coarse_now_ns, with_kernel},
    row::hex,
    world::World,
};

/// Frames of the mutated kind.
const FRAMES: usize = 100_000;
/// Frames after which the tables begin anew.
const BATCH: usize = 500;
/// How long a batch may take before its locks might run out on one side and not yet on the other.
const BATCH_NS: u64 = 500_000_000;

/// The same tables in memory and in the kernel.
struct Both<'a> {
    kernel: &'a mut Kernel,
    world: World,
    begun_ns: u64,
    frames: usize,
    tally: Tally,
}

impl<'a> Both<'a> {
    fn new(kernel: &'a mut Kernel) -> Self {
        let world = world(0, 0);
        let mut both = Self { kernel, world, begun_ns: 0, frames: 0, tally: Tally::default() };
        both.begin();
        both
    }

    fn begin(&mut self) {
        self.kernel.consume();
        self.begun_ns = coarse_now_ns();
        self.world = world(self.begun_ns, self.kernel.position());
        self.kernel.write(&self.world);
        self.frames = 0;
    }

    /// Runs a frame on both sides and checks what must hold.
    fn run(&mut self, frame: &[u8], ingress: u32) -> Result<(), String> {
        if self.frames == BATCH {
            self.compare_tables()?;
            self.begin();
        }
        let mut in_kernel = self.run_in_kernel(frame, ingress);
        if coarse_now_ns() - self.begun_ns > BATCH_NS {
            self.begin();
            in_kernel = self.run_in_kernel(frame, ingress);
        }
        self.frames += 1;
        let has_flow = has_flow(&self.world, frame);
        self.world.stats = Stats::default();
        self.world.now_ns = coarse_now_ns();
        let mut on_host = host::run(&mut self.world, frame, ingress);
        if let Action::Redirect(port) = &mut on_host.action {
            // XDP does not say where, and all ports are open.
            *port = 0;
        }
        let (outcome, stats, up) = in_kernel;
        let sent_up: Vec<Vec<u8>> = self.world.consume().into_iter().map(|record| record.frame).collect();
        self.tally.add(&outcome, &stats);
        if (&outcome, &stats, &up) != (&on_host, &self.world.stats, &sent_up) {
            return Err(format!("kernel: {outcome:?} {stats:?}\nhost: {on_host:?} {:?}", self.world.stats));
        }
        let is_up = !up.is_empty();
        // Entries are compared batch by batch.
        Case { frame, outcome: &outcome, stats: &stats, is_up, made_entries: false, has_flow }.check()
    }

    fn run_in_kernel(&mut self, frame: &[u8], ingress: u32) -> (Outcome, Stats, Vec<Vec<u8>>) {
        let outcome = self.kernel.run(frame, ingress);
        let up = self.kernel.consume().into_iter().map(|record| record.frame).collect();
        (outcome, self.kernel.take_stats(), up)
    }

    /// Times aside, which differ by how long the two sides took.
    fn compare_tables(&mut self) -> Result<(), String> {
        let mut in_kernel = World::new(0, 0);
        self.kernel.read(&mut in_kernel);
        for world in [&mut in_kernel, &mut self.world] {
            world.stats = Stats::default();
            world.locks.values_mut().for_each(|lock| lock.expires_ns = 0);
            world.clients.values_mut().for_each(|client| client.expires_ns = 0);
            world.flows4.values_mut().for_each(|flow| flow.last_seen_ns = 0);
            world.flows6.values_mut().for_each(|flow| flow.last_seen_ns = 0);
        }
        let difference = self.world.difference(&in_kernel);
        if difference.is_empty() { Ok(()) } else { Err(format!("the tables differ:\n{}", difference.join("\n"))) }
    }
}

#[test]
fn frames_cut_off_at_every_byte_do_no_harm() {
    if !is_capable() {
        return;
    }
    with_kernel(|kernel| {
        let mut both = Both::new(kernel);
        for (ingress, frame) in templates() {
            for length in SHORTEST_FRAME..=frame.len() {
                let cut = &frame[..length];
                both.run(cut, ingress).unwrap_or_else(|what| panic!("{what}: {}", hex(cut)));
            }
        }
        both.compare_tables().unwrap();
    });
}

#[test]
fn mutated_frames_do_no_harm() {
    if !is_capable() {
        return;
    }
    let seed = seed();
    let templates = templates();
    with_kernel(|kernel| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut both = Both::new(kernel);
        for number in 0..FRAMES {
            let (ingress, mut frame) = rng.choice(&templates).unwrap().clone();
            mutate(&mut rng, &mut frame);
            frame.resize(frame.len().clamp(SHORTEST_FRAME, LONGEST_FRAME), 0);
            both.run(&frame, ingress)
                .unwrap_or_else(|what| panic!("{SEED_VARIABLE}={seed}, frame {number}: {what}\n{}", hex(&frame)));
        }
        both.compare_tables().unwrap_or_else(|what| panic!("{SEED_VARIABLE}={seed}: {what}"));
        both.tally.assert_variety();
    });
}
