//! The architecture's invariants, each stated as an absence and looked for in the sources.

use super::source::{Source, read_all};
use crate::workspace;
use anyhow::{Result, bail};
use std::fmt;

/// A place where an invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    path: String,
    line: usize,
    why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.why)
    }
}

type Rule = fn(&[Source]) -> Vec<Violation>;

const RULES: [Rule; 8] = [
    common_is_pure,
    core_is_pure,
    only_datapath_knows_aya,
    unsafe_is_in_three_files,
    no_queue_is_unbounded,
    files_are_short,
    documents_are_short,
    no_machine_is_named,
];

/// The only files that may hold unsafe code without saying why at each place.
const UNSAFE_FILES: [&str; 3] =
    ["dispatcher-common/src/pod.rs", "dispatcher-ebpf/src/frame.rs", "dispatcher-ebpf/src/tables.rs"];
const LONGEST_FILE: usize = 500;
const DOCUMENTS: [(&str, usize); 2] = [("ARCHITECTURE.md", 200), ("CONTRIBUTING.md", 150)];

/// Looks at the whole repository.
pub(super) fn check() -> Result<()> {
    let sources = read_all(&workspace::root()?)?;
    let violations: Vec<Violation> = RULES.iter().flat_map(|rule| rule(&sources)).collect();
    for violation in &violations {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        bail!("{} places break an invariant of the architecture", violations.len());
    }
    Ok(())
}

/// dispatcher-common runs in the kernel: no standard library, no I/O, no clock, no aya.
fn common_is_pure(sources: &[Source]) -> Vec<Violation> {
    let files = || sources.iter().filter(|source| source.is_rust() && source.is_below("dispatcher-common/src"));
    let mut violations = absent(files().filter(|source| source.path != UNSAFE_FILES[0]), &["std", "tokio", "aya"]);
    // Only the promise that layouts are plain is made to aya, for userspace.
    violations.extend(absent(files().filter(|source| source.path == UNSAFE_FILES[0]), &["std", "tokio"]));
    let roots = sources.iter().filter(|source| source.path == "dispatcher-common/src/lib.rs");
    let with_std = roots.filter(|source| !source.text.contains("#![no_std]"));
    violations.extend(with_std.map(|source| violation(source, 1, "dispatcher-common is no_std".to_owned())));
    violations
}

/// The core is handed time, randomness and events; it fetches none.
fn core_is_pure(sources: &[Source]) -> Vec<Violation> {
    const WORDS: [&str; 14] = [
        "tokio",
        "aya",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "UnixListener",
        "Instant",
        "SystemTime",
        "rand",
        "getrandom",
        "fastrand",
        "fs",
        "thread",
    ];
    absent(rust_below(sources, "dispatcher-user/src/core"), &WORDS)
}

fn only_datapath_knows_aya(sources: &[Source]) -> Vec<Violation> {
    const DATAPATH: &str = "dispatcher-user/src/datapath";
    let is_outside = |source: &&Source| !source.is_below(DATAPATH) && source.path != format!("{DATAPATH}.rs");
    absent(rust_below(sources, "dispatcher-user/src").filter(is_outside), &["aya", "aya_obj", "aya_log"])
}

fn unsafe_is_in_three_files(sources: &[Source]) -> Vec<Violation> {
    let others = sources.iter().filter(|source| source.is_rust() && !UNSAFE_FILES.contains(&source.path.as_str()));
    let mut violations = Vec::new();
    for source in others {
        let is_excused = source.text.contains("expect(unsafe_code, reason =");
        for (line, code) in source.code() {
            if code.contains("allow(unsafe_code") || has_word(&code, "unsafe") && !is_excused {
                let why = "unsafe code is in three files; elsewhere #[expect(unsafe_code, reason = …)] says why";
                violations.push(violation(source, line, why.to_owned()));
            }
        }
    }
    violations
}

fn no_queue_is_unbounded(sources: &[Source]) -> Vec<Violation> {
    let mut violations = absent(sources.iter().filter(|source| source.is_rust()), &["unbounded", "unbounded_channel"]);
    for source in sources.iter().filter(|source| source.is_rust()) {
        let without_bound =
            |code: &str| code.contains("mpsc::channel()") || code.contains("mpsc::channel::<") && code.contains(">()");
        let lines = source.code().into_iter().filter(|(_, code)| without_bound(code));
        violations.extend(lines.map(|(line, _)| violation(source, line, "every queue has a bound".to_owned())));
    }
    violations
}

fn files_are_short(sources: &[Source]) -> Vec<Violation> {
    let long = sources.iter().filter(|source| source.is_rust() && source.text.lines().count() > LONGEST_FILE);
    long.map(|source| violation(source, LONGEST_FILE + 1, format!("no file is over {LONGEST_FILE} lines"))).collect()
}

/// The documents that describe the repository exist, and can be read in one sitting.
fn documents_are_short(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, limit) in DOCUMENTS {
        let Some(source) = sources.iter().find(|source| source.path == path) else {
            violations.push(Violation { path: path.to_owned(), line: 0, why: "is not there".to_owned() });
            continue;
        };
        if source.text.lines().count() >= limit {
            violations.push(violation(source, limit, format!("has fewer than {limit} lines")));
        }
    }
    violations
}

/// A path that exists on one machine alone helps nobody else.
fn no_machine_is_named(sources: &[Source]) -> Vec<Violation> {
    // In two parts, so that this file does not hold what it looks for.
    let places = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("../sha", "red")];
    let mut violations = Vec::new();
    for source in sources {
        for (line, text) in (1..).zip(source.text.lines()) {
            for place in places.into_iter().filter(|place| text.contains(place)) {
                violations.push(violation(source, line, format!("{place} is a path of one machine")));
            }
        }
    }
    violations
}

fn rust_below<'a>(sources: &'a [Source], folder: &'a str) -> impl Iterator<Item = &'a Source> {
    let is_root = move |source: &Source| source.path == format!("{folder}.rs");
    sources.iter().filter(move |source| source.is_rust() && (source.is_below(folder) || is_root(source)))
}

/// Every line of code, tests left out, that holds one of the words.
fn absent<'a>(sources: impl Iterator<Item = &'a Source>, words: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        for (line, code) in source.code_without_tests() {
            for word in words.iter().filter(|word| has_word(&code, word)) {
                violations.push(violation(source, line, format!("`{word}` has no place here")));
            }
        }
    }
    violations
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|each: char| !each.is_alphanumeric() && each != '_').any(|part| part == word)
}

fn violation(source: &Source, line: usize, why: String) -> Violation {
    Violation { path: source.path.clone(), line, why }
}

#[cfg(test)]
mod tests;
