//! What a bench ran on: machine, kernel, versions, and how busy all of it was.

use serde::Serialize;
use std::{fs, process::Command};

/// The facts that numbers cannot be read without.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Machine {
    /// When the run began, as the shell's `date` writes it.
    pub date: String,
    /// The commit that was measured, with a mark if files differed from it.
    pub commit: String,
    /// The processor's name.
    pub processor: String,
    /// How many of them this process may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Load average of the last minute before the run.
    pub load_before: String,
    /// Load average of the last minute after it.
    pub load_after: String,
    /// Other programs that took part, with their versions, and those that are missing.
    pub programs: Vec<(String, String)>,
}

impl Machine {
    /// Looks around before a run.
    #[must_use]
    pub fn look() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            date: first_line_of("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            commit: commit(),
            processor: field(&processor, "model name"),
            cores: crate::affinity::processors().map_or(0, |all| all.len()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load_before: load(),
            load_after: String::new(),
            programs: Vec::new(),
        }
    }

    /// Adds a program that took part, by the first line that it prints.
    pub fn add_program(&mut self, name: &str, arguments: &[&str]) {
        self.programs.push((name.to_owned(), first_line_of(name, arguments)));
    }

    /// Looks again after the run.
    pub fn look_again(&mut self) {
        self.load_after = load();
    }

    /// The facts, each with its name.
    #[must_use]
    pub fn facts(&self) -> Vec<(&str, &str)> {
        let mut facts = vec![
            ("date", self.date.as_str()),
            ("commit", &self.commit),
            ("processor", &self.processor),
            ("kernel", &self.kernel),
            ("load average before", &self.load_before),
            ("load average after", &self.load_after),
        ];
        facts.extend(self.programs.iter().map(|(name, version)| (name.as_str(), version.as_str())));
        facts
    }
}

fn load() -> String {
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name));
    value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn commit() -> String {
    let hash = first_line_of("git", &["rev-parse", "--short=12", "HEAD"]);
    let changes = first_line_of("git", &["status", "--porcelain", "--untracked-files=no"]);
    if changes.is_empty() { hash } else { format!("{hash} with changes") }
}

/// The first line that a program prints; that it is missing where it cannot be started.
fn first_line_of(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "missing".to_owned() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let mut machine = Machine::look();
        machine.add_program("no-such-program-of-anybody", &[]);
        assert!(machine.cores > 0);
        assert!(machine.kernel.starts_with(|first: char| first.is_ascii_digit()), "{}", machine.kernel);
        assert!(machine.load_before.parse::<f64>().is_ok(), "{}", machine.load_before);
        assert!(machine.facts().contains(&("no-such-program-of-anybody", "missing")));
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t: 17\nmodel name\t: Some Processor: fast\n";
        assert_eq!(field(text, "model name"), "Some Processor: fast");
        assert_eq!(field(text, "stepping"), "unknown");
    }
}
