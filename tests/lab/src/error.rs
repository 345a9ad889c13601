//! What can go wrong in a lab, with the facts.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

/// Why a lab, or a part of one, could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Network namespaces need root.
    #[error("network namespaces need root: run the same command with sudo")]
    NotRoot,
    /// Another lab of the same suffix is up, or left something behind.
    #[error(
        "{what} exists already: a lab of this name is up, or a crash left it behind; `cargo xtask lab down{flag}` removes it"
    )]
    Exists {
        /// The namespace or folder that was found.
        what: String,
        /// The option that names this lab, with a space before it.
        flag: String,
    },
    /// There is no such lab.
    #[error("no lab is up here: `cargo xtask lab up{flag}` starts one")]
    NotUp {
        /// The option that names this lab, with a space before it.
        flag: String,
    },
    /// There is no such namespace.
    #[error("there is no network namespace {0}")]
    NoNamespace(String),
    /// A suffix would not fit into names of namespaces and files.
    #[error("suffix {0:?} is not 1 to 12 letters a–z, digits or hyphens")]
    Suffix(String),
    /// The farm has room for this many backends.
    #[error("{wanted} backends were asked for; a lab has 1 to {most}")]
    BackendCount {
        /// How many were asked for.
        wanted: u8,
        /// How many there can be.
        most: u8,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` ended with {status}: {stderr}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// A file could not be used.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: nix::Error,
    },
    /// A condition did not come true in time.
    #[error("{what} did not happen within {bound:?}")]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was waited for.
        bound: Duration,
    },
    /// The dispatcher ended, or never became ready.
    #[error("the dispatcher {problem}; its last words:\n{log}")]
    Daemon {
        /// What happened.
        problem: String,
        /// The end of its log.
        log: String,
    },
}

impl LabError {
    /// Wraps an I/O error with the path it is about.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
