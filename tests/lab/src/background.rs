//! Looks at and removes labs that this process did not start: those in the background, and those a crash left behind.

use crate::{
    LabError, RunDirectory, Suffix, addresses::MOST_BACKENDS, namespace, namespace_names, record, record::Entry,
    wait_until,
};
use nix::sys::signal::Signal;
use std::time::Duration;

const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// What there is of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its namespaces.
    pub namespaces: Vec<String>,
    /// Its programs that run.
    pub running: Vec<String>,
    /// Its programs that have ended.
    pub ended: Vec<String>,
}

impl Status {
    /// Looks at the lab of that suffix.
    #[must_use]
    pub fn of(suffix: &Suffix) -> Self {
        let (running, ended): (Vec<Entry>, Vec<Entry>) =
            record::read(&RunDirectory::of(suffix).record()).into_iter().partition(Entry::is_alive);
        let names = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.name).collect();
        Self { namespaces: existing(suffix), running: names(running), ended: names(ended) }
    }

    /// Whether there is nothing of it.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.namespaces.is_empty() && self.running.is_empty() && self.ended.is_empty()
    }
}

/// Removes what there is of a lab, in whatever state it is: programs, namespaces, pins, files.
/// Says whether there was anything.
///
/// # Errors
/// Without root, or when something resists.
pub fn remove(suffix: &Suffix) -> Result<bool, LabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    let directory = RunDirectory::of(suffix);
    let programs = record::read(&directory.record());
    // The dispatcher first, and alone: it detaches from interfaces that still exist.
    let (dispatcher, backends): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|entry| entry.name == crate::daemon::NAME);
    end(&dispatcher)?;
    end(&backends)?;
    let namespaces = existing(suffix);
    for name in &namespaces {
        namespace::delete(name)?;
    }
    let had_files = directory.remove()?;
    Ok(had_files || !namespaces.is_empty())
}

fn end(programs: &[Entry]) -> Result<(), LabError> {
    programs.iter().for_each(|entry| entry.signal(Signal::SIGTERM));
    let all_ended = || !programs.iter().any(Entry::is_alive);
    if wait_until("the end of the lab's programs", ENDS_WITHIN, all_ended).is_ok() {
        return Ok(());
    }
    programs.iter().for_each(|entry| entry.signal(Signal::SIGKILL));
    wait_until("the end of the lab's programs after SIGKILL", ENDS_WITHIN, all_ended)
}

fn existing(suffix: &Suffix) -> Vec<String> {
    namespace_names(suffix, MOST_BACKENDS).into_iter().filter(|name| namespace::exists(name)).collect()
}
