//! curl, alone or in a crowd.

use crate::http::Answer;
use dispatcher_lab::{Namespace, wait_until};
use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The longest that a transfer may take, on any machine.
const LONGEST: Duration = Duration::from_secs(120);

/// A call of curl that fails for every answer but a good one, and ends.
#[must_use]
pub fn command(arguments: &[&str]) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--globoff", "--max-time", "60"]).args(arguments);
    curl
}

/// What curl prints.
///
/// # Panics
/// When it fails.
pub fn curl(from: &Namespace, arguments: &[&str]) -> String {
    from.succeed(&mut command(arguments)).unwrap_or_else(|error| panic!("{error}"))
}

/// What a demo backend answers to curl.
///
/// # Panics
/// When curl fails.
pub fn answer(from: &Namespace, arguments: &[&str]) -> Answer {
    Answer::read(curl(from, arguments).as_bytes())
}

/// Transfers of one curl, all at the same time, each on a connection of its own.
#[derive(Debug)]
pub struct Downloads {
    curl: Child,
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// What curl would exit with for this one alone.
    pub exit: u32,
    /// The status of HTTP.
    pub code: u32,
    /// The length of the body.
    pub bytes: u64,
}

impl Downloads {
    /// Starts so many transfers, at most 300, the most that curl does at a time.
    ///
    /// # Panics
    /// When curl cannot be started.
    #[must_use]
    pub fn start(from: &Namespace, url: &str, count: u64) -> Self {
        assert!(count <= 300, "curl holds the rest back");
        let seconds = LONGEST.as_secs().to_string();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--parallel", "--parallel-immediate", "--parallel-max", "300", "--max-time", &seconds]);
        curl.args(["--output", "/dev/null", "--write-out", "%{exitcode} %{http_code} %{size_download}\n"]);
        // Its own globbing repeats the address; a fragment is not sent.
        curl.arg(format!("{}#[1-{count}]", url.replace('[', "\\[").replace(']', "\\]")));
        let curl = curl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { curl: from.spawn(curl).unwrap_or_else(|error| panic!("{error}")) }
    }

    /// Whether they are still on their way.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn are_running(&mut self) -> bool {
        self.curl.try_wait().unwrap().is_none()
    }

    /// Waits for their end.
    ///
    /// # Panics
    /// When they do not end.
    #[must_use]
    pub fn finish(mut self) -> Vec<Download> {
        wait_until("the end of all downloads", LONGEST, || !self.are_running())
            .unwrap_or_else(|error| panic!("{error}"));
        let mut report = String::new();
        if let Some(mut stdout) = self.curl.stdout.take() {
            std::io::Read::read_to_string(&mut stdout, &mut report).unwrap();
        }
        report.lines().map(Download::read).collect()
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        // Ended already, where the test went well.
        self.curl.kill().ok();
        self.curl.wait().ok();
    }
}

impl Download {
    /// A transfer of so many bytes without a fault.
    #[must_use]
    pub const fn whole(bytes: u64) -> Self {
        Self { exit: 0, code: 200, bytes }
    }

    fn read(line: &str) -> Self {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_else(|| panic!("{line:?} is not a report"));
        let (exit, code) = (next().parse().unwrap(), next().parse().unwrap());
        Self { exit, code, bytes: next().parse().unwrap() }
    }
}
