//! The bench's own eBPF programs, loaded: harness, floors, generator, sink.

use super::layout::{self, Arrivals, Course, LeanFlow, LeanKey, Template};
use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunAttrs, TestRunOptions, include_bytes_aligned,
    maps::{Array, DevMap, HashMap, MapData, PerCpuArray, ProgramArray},
    programs::{ProgramFd, Xdp, XdpMode},
};

/// The object, built together with this binary.
static OBJECT: &[u8] = include_bytes_aligned!(env!("BENCH_OBJECT"));
/// What the harness is handed; its programs write the frame themselves.
const BLANK: [u8; 60] = [0; 60];
/// Frames that the generator sends before they are handled: what a virtual cable's ring holds several times.
const BATCH: u32 = 64;

/// The programs of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgramName {
    /// Writes the next packet and continues with the program to be measured.
    Restore,
    /// Sends the next packet.
    Generate,
    /// Counts and drops.
    Sink,
    /// Does nothing.
    Pass,
    /// Sends back out what came in.
    Tx,
    /// Sends on, to one of two interfaces.
    Redirect,
    /// Translates the destination, with the least that takes.
    LeanDnat,
    /// Writes a flow's entry, and sends on.
    LeanInsert,
}

impl ProgramName {
    const ALL: [Self; 8] = [
        Self::Restore,
        Self::Generate,
        Self::Sink,
        Self::Pass,
        Self::Tx,
        Self::Redirect,
        Self::LeanDnat,
        Self::LeanInsert,
    ];

    const fn symbol(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Generate => "generate",
            Self::Sink => "sink",
            Self::Pass => "pass",
            Self::Tx => "tx",
            Self::Redirect => "redirect",
            Self::LeanDnat => "lean_dnat",
            Self::LeanInsert => "lean_insert",
        }
    }
}

/// One load of the object, with tables of its own.
pub(super) struct Programs {
    ebpf: Ebpf,
}

impl Programs {
    /// Loads the object, with a flow table for the floor programs of that capacity.
    pub(super) fn load(lean_flows: u32) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        let mut ebpf = loader.map_max_entries("bench_flows", lean_flows).load(OBJECT)?;
        for name in ProgramName::ALL {
            program(&mut ebpf, name)?.load().with_context(|| format!("the kernel refuses {name:?}"))?;
        }
        Ok(Self { ebpf })
    }

    /// Attaches a program to an interface of the calling thread's namespace until this value is dropped.
    ///
    /// While a program is attached anywhere, running it by test_run does not wait for the kernel to patch itself.
    pub(super) fn attach(&mut self, name: ProgramName, ifindex: u32) -> Result<()> {
        let attached = program(&mut self.ebpf, name)?.attach_to_if_index(ifindex, XdpMode::Driver);
        attached.map(drop).with_context(|| format!("cannot attach {name:?} to interface {ifindex}"))
    }

    /// Makes one of the bench's programs one that the harness can continue with.
    pub(super) fn choose(&mut self, slot: u32, name: ProgramName) -> Result<()> {
        let descriptor = program(&mut self.ebpf, name)?.fd()?.try_clone()?;
        self.choose_foreign(slot, &descriptor)
    }

    /// Makes any program one that the harness can continue with.
    pub(super) fn choose_foreign(&mut self, slot: u32, program: &ProgramFd) -> Result<()> {
        let map = self.ebpf.map_mut("bench_programs").context("the object has no bench_programs")?;
        ProgramArray::try_from(map)?.set(slot, program, 0).context("the harness cannot continue with the program")
    }

    /// Lets frames leave by an interface of the calling thread's namespace.
    pub(super) fn open_port(&mut self, slot: u32, ifindex: u32) -> Result<()> {
        let map = self.ebpf.map_mut("bench_ports").context("the object has no bench_ports")?;
        Ok(DevMap::try_from(map)?.set(slot, ifindex, None, 0)?)
    }

    /// Says what the packets of even and odd flows look like.
    pub(super) fn write_templates(&mut self, templates: [Template; 2]) -> Result<()> {
        let map = self.ebpf.map_mut("bench_templates").context("the object has no bench_templates")?;
        let mut rows: Array<_, Template> = map.try_into()?;
        for (row, template) in (0..).zip(templates) {
            rows.set(row, template, 0)?;
        }
        Ok(())
    }

    /// The floor programs' flow table.
    pub(super) fn lean_flows(&mut self) -> Result<HashMap<&mut MapData, LeanKey, LeanFlow>> {
        Ok(self.ebpf.map_mut("bench_flows").context("the object has no bench_flows")?.try_into()?)
    }

    /// Runs the harness so many times, and returns what it measured.
    pub(super) fn run(&mut self, runs: u32, course: &Course) -> Result<Course> {
        self.write_course(course)?;
        let options = TestRunOptions { data_in: Some(&BLANK), repeat: runs, ..TestRunOptions::default() };
        program(&mut self.ebpf, ProgramName::Restore)?.test_run(options)?;
        let course = self.read_course()?;
        ensure!(course.runs == u64::from(runs), "{} of {runs} runs took place", course.runs);
        Ok(course)
    }

    /// Sends so many frames.
    pub(super) fn generate(&mut self, frames: u32, course: &Course) -> Result<()> {
        self.write_course(course)?;
        let attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        let options = TestRunOptions { data_in: Some(&BLANK), repeat: frames, attrs, ..TestRunOptions::default() };
        program(&mut self.ebpf, ProgramName::Generate)?.test_run(options)?;
        Ok(())
    }

    fn write_course(&mut self, course: &Course) -> Result<()> {
        let map = self.ebpf.map_mut("bench_course").context("the object has no bench_course")?;
        Ok(Array::<_, Course>::try_from(map)?.set(0, course, 0)?)
    }

    fn read_course(&self) -> Result<Course> {
        let map = self.ebpf.map("bench_course").context("the object has no bench_course")?;
        Ok(Array::<_, Course>::try_from(map)?.get(&0, 0)?)
    }

    /// What the sink has counted on an interface.
    pub(super) fn arrivals(&self, ifindex: u32) -> Result<Arrivals> {
        let map = self.ebpf.map("bench_arrivals").context("the object has no bench_arrivals")?;
        let rows: PerCpuArray<_, Arrivals> = map.try_into()?;
        let mut sum = Arrivals::default();
        for cpu in rows.get(&(ifindex % layout::INTERFACES), 0)?.iter() {
            sum.packets += cpu.packets;
            sum.bytes += cpu.bytes;
        }
        Ok(sum)
    }
}

fn program(ebpf: &mut Ebpf, name: ProgramName) -> Result<&mut Xdp> {
    Ok(ebpf.program_mut(name.symbol()).with_context(|| format!("the object has no {name:?}"))?.try_into()?)
}
