//! What the kernel says: processor time of processes, and pinned tables by bpftool.

use dispatcher_lab::RunDirectory;
use serde_json::Value;
use std::{fs, path::Path, process::Command, time::Duration};

/// The processor time of a process, its threads and the kernel's work for it included, in steps of 10 ms (proc(5)).
///
/// # Panics
/// When the process has ended.
#[must_use]
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything, utime and stime are fields 14 and 15 of 52.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    Duration::from_millis(ticks * 1000 / u64::try_from(per_second).unwrap())
}

/// What bpftool prints of a pinned table.
///
/// # Panics
/// When there is no such table.
#[must_use]
pub fn dump(directory: &RunDirectory, table: &str) -> String {
    bpftool(&["map", "dump", "pinned"], &directory.pins().join(table))
}

/// The entries of a pinned table, with their fields by name: what bpftool's JSON has under `formatted`.
///
/// # Panics
/// As [`dump`].
#[must_use]
pub fn entries(directory: &RunDirectory, table: &str) -> Vec<Value> {
    let text = bpftool(&["--json", "map", "dump", "pinned"], &directory.pins().join(table));
    let mut entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    entries.iter_mut().map(|entry| entry["formatted"].take()).collect()
}

/// A counter of `dsp_stats`, all processors together, without asking a daemon.
///
/// # Panics
/// When there is none of that name.
#[must_use]
pub fn counter(directory: &RunDirectory, name: &str) -> u64 {
    let entries = entries(directory, "dsp_stats");
    let copies = entries[0]["values"].as_array().unwrap();
    copies.iter().map(|copy| copy["value"][name].as_u64().unwrap()).sum()
}

fn bpftool(words: &[&str], path: &Path) -> String {
    let output = Command::new("bpftool").args(words).arg(path).output().unwrap();
    assert!(output.status.success(), "{words:?} {}: {}", path.display(), String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}
