//! Runs the tests of one tier with cargo, and adds up what their runners say.

use crate::{
    privilege::{self, BINARY_VARIABLE},
    workspace,
};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    env, fmt,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The variable that names this program to tests: its `demo-backend` serves their labs, its `lab` is tested itself.
const XTASK_VARIABLE: &str = "DISPATCHER_XTASK";
/// The crates whose integration tests need a kernel to load into and namespaces to send through.
const SYSTEM_CRATES: [&str; 3] = ["dispatcher-tests", "dispatcher-lab", "dispatcher-bench"];

/// A kind of tests that needs the same things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// Unit and property tests, simulations, documentation.
    Host,
    /// Tests that load the program into the kernel and run it on packets.
    Kernel,
    /// Tests that run the real daemon in namespaces.
    EndToEnd,
}

impl Tier {
    pub(super) const ALL: [Self; 3] = [Self::Host, Self::Kernel, Self::EndToEnd];

    pub(super) const fn needs_root(self) -> bool {
        !matches!(self, Self::Host)
    }

    /// The tier of an integration test of [`SYSTEM_CRATES`], by the first word of its name.
    fn of(test: &str) -> Self {
        match test.split('_').next() {
            Some("host" | "property" | "simulation") => Self::Host,
            Some("kernel" | "verdicts") => Self::Kernel,
            _ => Self::EndToEnd,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Host => "host",
            Self::Kernel => "kernel",
            Self::EndToEnd => "end to end",
        })
    }
}

/// How a tier went.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was run.
    Ran { counts: Counts, took: Duration, succeeded: bool },
    /// It was not, and why.
    Skipped(&'static str),
}

impl Outcome {
    /// In CI nobody reads that something was skipped, so it is a failure there.
    pub(super) const fn is_failure(&self, in_ci: bool) -> bool {
        match self {
            Self::Ran { succeeded, .. } => !*succeeded,
            Self::Skipped(_) => in_ci,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(why) => write!(out, "skipped: {why}"),
            Self::Ran { counts, took, succeeded } => {
                let Counts { runners, passed, failed, ignored } = counts;
                let verdict = if *succeeded { "ok" } else { "FAILED" };
                let seconds = took.as_secs();
                write!(out, "{verdict}. {passed} passed; {failed} failed; {ignored} ignored; ")?;
                write!(out, "{runners} runners in {}m{:02}s", seconds / 60, seconds % 60)
            }
        }
    }
}

/// The sum of runners' closing lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    runners: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Counts {
    /// Adds a line if it is one: `test result: ok. 3 passed; 0 failed; 1 ignored; …`
    fn add(&mut self, line: &str) {
        let Some((_, rest)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        self.runners += 1;
        for part in rest.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Runs a tier to its end, whatever fails on the way.
#[expect(clippy::disallowed_methods, reason = "how long real tests take is told in real time")]
pub(super) fn run(tier: Tier, filter: &str, binary: &Path) -> Result<Outcome> {
    eprintln!("test: {tier}");
    let start = Instant::now();
    let (mut counts, mut succeeded) = (Counts::default(), true);
    for mut command in commands(tier)? {
        command.env(BINARY_VARIABLE, binary);
        command.env(XTASK_VARIABLE, env::current_exe().context("the system does not say which program this is")?);
        if tier.needs_root() && !privilege::is_root() {
            run_as_root(&mut command)?;
        }
        if !filter.is_empty() {
            command.arg("--").arg(filter);
        }
        succeeded &= watch(&mut command, &mut counts)?;
    }
    Ok(Outcome::Ran { counts, took: start.elapsed(), succeeded })
}

/// Lets cargo build as this user and start the tests through sudo, with their variables.
fn run_as_root(cargo: &mut Command) -> Result<()> {
    let (sudo, options) = privilege::sudo().context("there is no sudo")?;
    let runner = format!("{} {} --preserve-env", sudo.display(), options.join(" "));
    let host = format!("{}_UNKNOWN_LINUX_GNU", env::consts::ARCH.to_uppercase());
    cargo.env(format!("CARGO_TARGET_{host}_RUNNER"), runner);
    Ok(())
}

/// The calls of cargo that run a tier.
fn commands(tier: Tier) -> Result<Vec<Command>> {
    let test = || -> Result<Command> {
        let mut cargo = workspace::cargo()?;
        cargo.args(["test", "--no-fail-fast"]);
        Ok(cargo)
    };
    let mut commands = Vec::new();
    if tier == Tier::Host {
        let mut others = test()?;
        others.arg("--workspace");
        let mut libraries = test()?;
        libraries.arg("--lib");
        for name in SYSTEM_CRATES {
            others.args(["--exclude", name]);
            libraries.args(["--package", name]);
        }
        commands.extend([others, libraries]);
    }
    for (package, name) in system_tests()?.into_iter().filter(|(_, name)| Tier::of(name) == tier) {
        let mut one = test()?;
        one.args(["--package", &package, "--test", &name]);
        if tier == Tier::EndToEnd {
            // They share the machine's two directions of every cable, and some measure.
            one.env("RUST_TEST_THREADS", "1");
        }
        commands.push(one);
    }
    Ok(commands)
}

/// Packages and names of the integration tests of [`SYSTEM_CRATES`].
fn system_tests() -> Result<Vec<(String, String)>> {
    let mut cargo = workspace::cargo()?;
    let described = workspace::stdout_of(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let described: Value = serde_json::from_str(&described).context("cargo metadata is not JSON")?;
    let mut tests = Vec::new();
    for package in array(&described, "packages") {
        let name = text(package, "name");
        for target in array(package, "targets").iter().filter(|_| SYSTEM_CRATES.contains(&name)) {
            if array(target, "kind").iter().any(|kind| kind == "test") {
                tests.push((name.to_owned(), text(target, "name").to_owned()));
            }
        }
    }
    if tests.is_empty() {
        bail!("cargo metadata lists no test of {}", SYSTEM_CRATES.join(" and "));
    }
    Ok(tests)
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Runs a command, passes its lines on, and counts; returns whether it succeeded.
fn watch(command: &mut Command, counts: &mut Counts) -> Result<bool> {
    let about = workspace::describe(command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| about.clone())?;
    let stdout = child.stdout.take().with_context(|| format!("{about} has no output"))?;
    for line in BufReader::new(stdout).lines() {
        let line = line.with_context(|| about.clone())?;
        println!("{line}");
        counts.add(&line);
    }
    Ok(child.wait().with_context(|| about)?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s");
        counts.add("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        counts.add("test decide ... ok");
        assert_eq!(counts, Counts { runners: 2, passed: 5, failed: 1, ignored: 1 });
    }

    #[test]
    fn a_skipped_tier_fails_in_ci_alone() {
        let skipped = Outcome::Skipped("it needs root");
        assert!(skipped.is_failure(true) && !skipped.is_failure(false));
    }

    #[test]
    fn tests_find_their_tier_by_name() {
        assert_eq!(Tier::of("verdicts"), Tier::Kernel);
        assert_eq!(Tier::of("simulation"), Tier::Host);
        assert_eq!(Tier::of("drain"), Tier::EndToEnd);
    }
}
