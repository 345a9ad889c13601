//! Remembers which processes a lab started, so that a later command ends those and no others.

use crate::LabError;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fmt, fs, fs::OpenOptions, io::Write as _, path::Path};

/// A process, told apart from a later one that got the same number by when it started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pid: i32,
    /// Clock ticks from boot, field 22 of /proc/PID/stat.
    start_ticks: u64,
    pub(crate) name: String,
}

impl Entry {
    /// Describes a process that runs now.
    pub(crate) fn of(pid: u32, name: &str) -> Option<Self> {
        let start_ticks = start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        Some(Self { pid: i32::try_from(pid).ok()?, start_ticks, name: name.to_owned() })
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let pid = words.next()?.parse().ok()?;
        let start_ticks = words.next()?.parse().ok()?;
        Some(Self { pid, start_ticks, name: words.next()?.to_owned() })
    }

    /// Whether that very process still runs. One that ended and was not collected yet does not.
    pub(crate) fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let is_zombie = after_name(&stat).is_some_and(|rest| rest.starts_with('Z'));
        start_ticks(&stat) == Some(self.start_ticks) && !is_zombie
    }

    /// Sends a signal, if that very process still runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It may end on its own between the look and the signal.
            let _outcome = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.pid, self.start_ticks, self.name)
    }
}

/// Adds a process to a record.
pub(crate) fn append(record: &Path, entry: &Entry) -> Result<(), LabError> {
    let mut file = OpenOptions::new().create(true).append(true).open(record).map_err(LabError::file(record))?;
    writeln!(file, "{entry}").map_err(LabError::file(record))
}

/// The processes of a record; none when there is no record.
pub(crate) fn read(record: &Path) -> Vec<Entry> {
    fs::read_to_string(record).unwrap_or_default().lines().filter_map(Entry::parse).collect()
}

fn start_ticks(stat: &str) -> Option<u64> {
    after_name(stat)?.split(' ').nth(19)?.parse().ok()
}

/// What follows the program's name, which may itself hold spaces and parentheses (proc(5)).
fn after_name(stat: &str) -> Option<&str> {
    Some(stat.rsplit_once(')')?.1.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_file() {
        let entry = Entry { pid: 17, start_ticks: 4711, name: "demo backend b1".to_owned() };
        assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
        assert_eq!(Entry::parse("nonsense"), None);
    }

    #[test]
    fn the_start_is_found_behind_any_program_name() {
        let stat = format!("17 (a) b (c) S {} 4711 0", ["0"; 18].join(" "));
        assert_eq!(start_ticks(&stat), Some(4711));
    }

    #[test]
    fn a_reused_number_is_not_the_process() {
        let this = Entry::of(std::process::id(), "test").unwrap();
        assert!(this.is_alive());
        let earlier = Entry { start_ticks: this.start_ticks - 1, ..this };
        assert!(!earlier.is_alive());
    }
}
