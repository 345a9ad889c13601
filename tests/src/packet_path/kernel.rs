//! Runs the decision in the kernel: the loaded program, on one frame at a time, by `BPF_PROG_TEST_RUN`.
//!
//! Nobody else meets it: its tables are pinned only while they are made, or for one test under a name of its own, and its
//! interfaces are in a network namespace that ends with the thread.

mod tables;

use std::{
    io::Write as _,
    panic,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use aya::{TestRun as _, TestRunOptions, maps::MapData, maps::RingBuf};
use dispatcher_common::{
    client_lock::ClientLock,
    event::{EventHeader, LARGE},
    service,
    table::{self, EVENT_BYTES},
};
use dispatcher_user::datapath::{
    load::{self, Object},
    pin::PinDirectory,
};
use nix::{
    sched::{CloneFlags, unshare},
    time::{ClockId, clock_gettime},
};
use zerocopy::FromBytes as _;

use self::tables::Tables;
use super::{
    host::{Action, Outcome},
    scene::{INTERFACES, WAN, client_key, from_client, stage},
    world::{RECORD_HEADER, Record, World},
};

/// Entries of each flow table: far more than any test makes, so that none is evicted.
const FLOWS: u32 = 65_536;
/// Bytes of the longest frame that a test run takes: a page without the room before and behind the frame.
pub const LONGEST_FRAME: usize = 3_520;
/// Bytes of the shortest frame that a test run takes: an Ethernet header. No driver hands over less.
pub const SHORTEST_FRAME: usize = 14;

/// The loaded program with its tables.
pub struct Kernel {
    object: Object,
    tables: Tables,
    events: RingBuf<MapData>,
    /// Position up to which `events` was read.
    position: u64,
}

/// Loads the program and hands it to `test`, in a thread and a network namespace of their own.
pub fn with_kernel<T: Send>(test: impl FnOnce(&mut Kernel) -> T + Send) -> T {
    isolated(|pins| {
        let mut kernel = Kernel::load(&pins);
        drop(pins);
        test(&mut kernel)
    })
}

/// As [`with_kernel`], with the pins of its tables for who opens them anew.
pub fn with_pinned_kernel<T: Send>(test: impl FnOnce(&mut Kernel, &PinDirectory) -> T + Send) -> T {
    isolated(|pins| test(&mut Kernel::load(&pins), &pins))
}

/// Runs `body` in a thread, a network namespace and a directory for pins of its own. What is pinned there is removed with
/// the directory's guard.
fn isolated<T: Send>(body: impl FnOnce(PinDirectory) -> T + Send) -> T {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(format!("/sys/fs/bpf/dispatcher-test-{}-{number}", std::process::id()));
    let body = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        make_interfaces();
        body(PinDirectory::open(&path).unwrap())
    };
    thread::scope(|scope| scope.spawn(body).join()).unwrap_or_else(|cause| panic::resume_unwind(cause))
}

/// Makes the interfaces of the scene; their far ends lead nowhere.
fn make_interfaces() {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let lines = INTERFACES.map(|index| format!("link add port{index} index {index} type veth peer name far{index}\n"));
    ip.stdin.take().unwrap().write_all(lines.concat().as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success(), "the interfaces cannot be made");
}

/// The coarse monotonic clock, which the program reads.
#[must_use]
pub fn coarse_now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    u64::try_from(now.tv_sec()).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap()
}

/// Waits for the coarse clock's next tick and gives its time, which then stands for some milliseconds.
#[must_use]
pub fn next_tick_ns() -> u64 {
    let before = coarse_now_ns();
    loop {
        let now = coarse_now_ns();
        if now != before {
            return now;
        }
        std::hint::spin_loop();
    }
}

impl Kernel {
    fn load(pins: &PinDirectory) -> Self {
        let mut object = load::load(pins, FLOWS).unwrap();
        let events = object.take_map(table::EVENTS).unwrap().try_into().unwrap();
        Self { tables: Tables::take(&mut object), object, events, position: 0 }
    }

    /// Position up to which the ring buffer was read.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Makes the tables those of `world`, whatever they were. The ring buffer stays.
    pub fn write(&mut self, world: &World) {
        self.tables.write(world);
    }

    /// Reads the tables that the program may change into `world`. The ring buffer stays.
    pub fn read(&self, world: &mut World) {
        self.tables.read(world);
    }

    /// Lets packets leave by these interfaces alone.
    pub fn open_ports(&mut self, ports: impl IntoIterator<Item = u32>) {
        self.tables.open_ports(ports);
    }

    /// Reads and zeroes the counters of the program.
    pub fn take_stats(&mut self) -> dispatcher_common::counter::Stats {
        self.tables.take_stats()
    }

    /// Runs the program on a frame that interface `ingress` received.
    ///
    /// XDP does not say where a redirected frame goes; where that matters, one port alone is open.
    pub fn run(&mut self, frame: &[u8], ingress: u32) -> Outcome {
        let length = u32::try_from(frame.len()).unwrap();
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, length, 0, ingress, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut out = vec![0; frame.len()];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let program = load::program(&mut self.object, load::ATTACHED).unwrap();
        let run = program.test_run(options).unwrap();
        assert_eq!(run.data_size_out, length, "a frame never changes its length");
        let action = match run.return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            3 => Action::Tx,
            4 => Action::Redirect(self.tables.only_port()),
            other => Action::Broken(other),
        };
        Outcome { action, frame: out }
    }

    /// Takes out what was sent up.
    pub fn consume(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(record) = self.events.next() {
            let (header, rest) = EventHeader::read_from_prefix(&record).unwrap();
            let frame = rest[..usize::from(header.length)].to_vec();
            records.push(Record { header, frame, size: record.len() });
            self.position += RECORD_HEADER + record.len() as u64;
        }
        records
    }

    /// Fills the ring buffer until not even the smallest record fits; gives how far it is filled then.
    pub fn fill_events(&mut self) -> u64 {
        let mut world = World::new(coarse_now_ns(), self.position);
        stage::<[u8; 4]>(&mut world, service::TCP);
        let expires_ns = world.now_ns + 60_000_000_000;
        world.locks.insert(client_key::<[u8; 4]>(), ClientLock { expires_ns, ..ClientLock::default() });
        self.write(&world);
        let mut packet = from_client::<[u8; 4]>(service::TCP);
        packet.payload = vec![0; LONGEST_FRAME - packet.frame().len() + packet.payload.len()];
        let frame = packet.frame();
        let step = RECORD_HEADER + LARGE as u64;
        let records = (EVENT_BYTES as u64 - 1) / step;
        for _ in 0..records {
            self.run(&frame, WAN);
        }
        self.position + records * step
    }
}
