//! Ties threads and programs to processors, so that what is measured has one core and its helpers another.

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use std::process::Command;

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
    sched_setaffinity(Pid::from_raw(0), &only(cpu)).with_context(|| format!("cannot use processor {cpu}"))
}

/// Lets the calling thread, and what it starts from now on, go before everything else: others on the machine shall not
/// be measured.
///
/// The real-time class does it, which the kernel keeps to 95 % of a core; niceness would count only within a session.
///
/// # Errors
/// If `chrt` cannot be started, or refuses.
pub fn go_first() -> Result<()> {
    let thread = nix::unistd::gettid().to_string();
    let output = Command::new("chrt").args(["--fifo", "--pid", "1", &thread]).output().context("cannot start chrt")?;
    ensure!(output.status.success(), "chrt: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Calls `start` while the calling thread is tied to the last core, which programs that it starts inherit.
///
/// # Errors
/// If the system does not allow it; what `start` returns is inside.
pub fn on_last<T>(start: impl FnOnce() -> T) -> Result<T> {
    let before = sched_getaffinity(Pid::from_raw(0)).context("the system does not say which processors may be used")?;
    let last = (0..CpuSet::count()).rev().find(|&cpu| sched_setaffinity(Pid::from_raw(0), &only(cpu)).is_ok());
    last.context("no processor may be used")?;
    let started = start();
    sched_setaffinity(Pid::from_raw(0), &before).context("cannot return to the processor used before")?;
    Ok(started)
}

fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    // Beyond the set's size nothing is set, and the system refuses an empty set.
    let _out_of_range = set.set(cpu);
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_on_the_last_core_leaves_the_thread_where_it_was() {
        let all = processors().unwrap();
        let seen = on_last(|| std::thread::spawn(processors).join().unwrap().unwrap()).unwrap();
        assert_eq!(seen, [*all.last().unwrap()]);
        assert_eq!(processors().unwrap(), all);
    }

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
