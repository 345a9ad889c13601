//! A dispatcher that runs in a namespace and is ready when its owner has it.

use crate::{LabError, Namespace, Process, RunDirectory, wait_until};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    time::Duration,
};

const READY_WITHIN: Duration = Duration::from_secs(20);
/// The daemon's name among the lab's logs and processes.
pub(crate) const NAME: &str = "dispatcher";
/// How many lines of a log an error shows.
const LAST_WORDS: usize = 20;

/// A running dispatcher.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    binary: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Writes the configuration, starts `dispatcher run`, and waits until `dispatcher status` answers.
    ///
    /// # Errors
    /// When it ends instead, or is not ready in time; the error holds the end of its log.
    pub fn start(
        namespace: &Namespace,
        binary: &Path,
        directory: &RunDirectory,
        config: &str,
    ) -> Result<Self, LabError> {
        crate::process::require(binary)?;
        let file = directory.config();
        fs::write(&file, config).map_err(LabError::file(&file))?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(file);
        let process = Process::start(namespace, &mut command, directory, NAME)?;
        let log = directory.log(NAME);
        let mut daemon = Self { process, binary: binary.to_owned(), socket: directory.socket(), log };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<(), LabError> {
        let mut ended = None;
        let outcome = wait_until("an answer to `dispatcher status`", READY_WITHIN, || {
            ended = self.process.ended().ok().flatten();
            ended.is_some() || self.answers()
        });
        match (ended, outcome) {
            (Some(status), _) => Err(self.failed(&format!("ended with {status} before it was ready"))),
            (None, Err(timeout)) => Err(self.failed(&format!("is not ready ({timeout})"))),
            (None, Ok(())) => Ok(()),
        }
    }

    fn answers(&self) -> bool {
        let mut status = self.cli(&["status"]);
        status.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        status.status().is_ok_and(|status| status.success())
    }

    /// A call of the command line that speaks to this dispatcher.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--socket").arg(&self.socket).args(arguments);
        command
    }

    /// Calls the command line, to its end.
    ///
    /// # Errors
    /// When it cannot be started; how it ends is up to the caller.
    pub fn call(&self, arguments: &[&str]) -> Result<Output, LabError> {
        let mut command = self.cli(arguments);
        command.output().map_err(|source| crate::command::start_error(&command, source))
    }

    /// The program itself.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.process.ended()
    }

    /// An error that ends in this dispatcher's last words.
    #[must_use]
    pub fn failed(&self, problem: &str) -> LabError {
        LabError::Daemon { problem: problem.to_owned(), log: last_lines(&self.log) }
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LAST_WORDS)..).unwrap_or_default().join("\n")
}
