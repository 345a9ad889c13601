//! Ties threads and programs to processors, so that what is measured has one core and its helpers another.

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The processors that this process may use, least first.
///
/// # Errors
/// If the system does not say.
pub fn processors() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("the system does not say which processors may be used")?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

/// Ties the calling thread to one processor; threads and programs that it starts inherit that.
///
/// # Errors
/// If there is no such processor.
pub fn pin_thread(cpu: usize) -> Result<()> {
    pin(Pid::from_raw(0), cpu)
}

fn pin(pid: Pid, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).and_then(|()| sched_setaffinity(pid, &set)).with_context(|| format!("cannot use processor {cpu}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_one_processor() {
        let all = processors().unwrap();
        let last = *all.last().unwrap();
        let seen = std::thread::spawn(move || {
            pin_thread(last).unwrap();
            processors().unwrap()
        });
        assert_eq!(seen.join().unwrap(), [last]);
        assert_eq!(processors().unwrap(), all, "other threads keep theirs");
    }
}
