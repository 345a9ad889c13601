//! The dispatcher's daemon in a test bed, on a core of its own, with its counters and its processor time.

use super::bed::{BACKENDS, VIP};
use crate::affinity;
use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, MapData, PerCpuArray};
use dispatcher_common::{counter::Stats, table};
use dispatcher_lab::{Claim, Daemon, Namespace, RunDirectory, Suffix};
use std::{fmt::Write as _, fs, path::Path, process};

/// Services of the daemon: port, scheduler.
const SERVICES: [(u16, &str); 2] = [(super::contender::PORT, "rr"), (HASHED_PORT, "mh")];
/// The port of the VIP whose new flows the kernel places by hash.
pub(super) const HASHED_PORT: u16 = 54;

/// A running daemon, whose files go away with it.
pub(super) struct RunningDaemon {
    daemon: Daemon,
    files: Claim,
}

impl RunningDaemon {
    /// Starts the daemon on the last core that may be used.
    pub(super) fn start(namespace: &Namespace, binary: &Path, flows: u32) -> Result<Self> {
        let suffix: Suffix = format!("bench{}", process::id() % 1_000_000).parse()?;
        let files = RunDirectory::of(&suffix).claim(&suffix)?;
        let text = config(files.directory(), flows);
        let start = || Daemon::start(namespace, binary, files.directory(), &text);
        let daemon = affinity::on_last(start)?.context("the dispatcher is not ready")?;
        Ok(Self { daemon, files })
    }

    /// The programs' counters, all CPUs together.
    pub(super) fn stats(&self) -> Result<Stats> {
        let map = MapData::from_pin(self.files.directory().pins().join(table::STATS))?;
        let rows: PerCpuArray<_, Stats> = Map::PerCpuArray(map).try_into()?;
        let mut sum = Stats::default();
        rows.get(&0, 0)?.iter().for_each(|cpu| sum.merge(cpu));
        Ok(sum)
    }

    /// Nanoseconds that the daemon's threads have had a processor.
    pub(super) fn processor_ns(&mut self) -> Result<u64> {
        let folder = format!("/proc/{}/task", self.daemon.process().id());
        let mut sum = 0;
        for thread in fs::read_dir(&folder).with_context(|| folder.clone())? {
            // A thread that has just ended has no file any more.
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            sum += text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        ensure!(sum > 0, "the system does not say how long the daemon has had a processor");
        Ok(sum)
    }
}

fn config(directory: &RunDirectory, flows: u32) -> String {
    let mut text = format!(
        "[daemon]\nsocket = \"{}\"\nstate = \"{}\"\npins = \"{}\"\nflows = {}\n",
        directory.socket().display(),
        directory.state().display(),
        directory.pins().display(),
        flows.max(65_536) * 4
    );
    for interface in ["in0", "out1", "out2"] {
        let _infallible = write!(text, "\n[[interface]]\nname = \"{interface}\"\nmode = \"native\"\n");
    }
    for (port, scheduler) in SERVICES {
        let _infallible = write!(
            text,
            "\n[[service]]\nname = \"{scheduler}\"\nvip = \"{VIP}:{port}\"\nprotocol = \"udp\"\n\
             scheduler = \"{scheduler}\"\nforward = \"nat\"\naffinity = \"none\"\n"
        );
        for (number, address) in (1..).zip(BACKENDS) {
            let _infallible = write!(text, "\n[[service.backend]]\nname = \"b{number}\"\naddress = \"{address}\"\n");
        }
    }
    text
}
