//! A program of the lab that is ended when its owner is dropped.

use crate::{LabError, Namespace, RunDirectory, command, record, record::Entry, wait_until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::File,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// How long a program may take to end by itself before it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ended_on_drop: bool,
}

impl Process {
    /// Starts a program in a namespace, with its output in the lab's log of that name, and notes it in
    /// the lab's record, so that it can be ended after a crash of its owner.
    ///
    /// It gets a process group of its own, so that Ctrl-C in the terminal reaches it only through its owner.
    ///
    /// # Errors
    /// When the files cannot be written or the program not started.
    pub fn start(
        namespace: &Namespace,
        program: &mut Command,
        directory: &RunDirectory,
        name: &str,
    ) -> Result<Self, LabError> {
        let log = directory.log(name);
        let output = File::options().create(true).append(true).open(&log).map_err(LabError::file(&log))?;
        let errors = output.try_clone().map_err(LabError::file(&log))?;
        program.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let process = Self { child: namespace.spawn(program)?, ended_on_drop: true };
        if let Some(entry) = Entry::of(process.id(), name) {
            record::append(&directory.record(), &entry)?;
        }
        Ok(process)
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.child.try_wait().map_err(LabError::file(format!("/proc/{}", self.child.id())))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the program has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let system = |source| LabError::System { what: format!("cannot send {signal}"), source };
        let Ok(pid) = i32::try_from(self.child.id()) else {
            return Err(system(nix::Error::ESRCH));
        };
        kill(Pid::from_raw(pid), signal).map_err(system)
    }

    /// Asks the program to end, waits, and kills it when it does not.
    ///
    /// # Errors
    /// When it had to be killed, or the system does not say how it ended.
    pub fn end(&mut self) -> Result<(), LabError> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        self.signal(Signal::SIGTERM)?;
        let outcome = wait_until("the end of a program after SIGTERM", ENDS_WITHIN, || {
            matches!(self.child.try_wait(), Ok(Some(_)))
        });
        if outcome.is_err() {
            let subject = format!("/proc/{}", self.child.id());
            self.child.kill().and_then(|()| self.child.wait()).map_err(LabError::file(subject))?;
        }
        outcome
    }

    /// Lets the program live on after this value.
    pub fn keep(&mut self) {
        self.ended_on_drop = false;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended_on_drop
            && let Err(error) = self.end()
        {
            eprintln!("{error}");
        }
    }
}

/// The error of a program whose file cannot be run at all is found out before anything is built for it.
pub(crate) fn require(program: &Path) -> Result<(), LabError> {
    let missing = |source| command::start_error(&Command::new(program), source);
    program.metadata().map(|_| ()).map_err(missing)
}
