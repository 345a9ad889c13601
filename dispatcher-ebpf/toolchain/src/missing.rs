//! What a machine lacks before it can build the eBPF program, as one sentence.

use std::fmt;

/// What is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Why each compiler that was looked at will not do; empty when one will.
    pub compiler: Vec<String>,
    /// Why there is no linker that fits; none when there is one.
    pub linker: Option<String>,
}

impl Missing {
    /// All reasons, separated by semicolons.
    #[must_use]
    pub fn reasons(&self) -> String {
        let reasons: Vec<&str> = self.compiler.iter().chain(&self.linker).map(String::as_str).collect();
        reasons.join("; ")
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the eBPF program cannot be built here ({}): run `cargo xtask setup`.", self.reasons())
    }
}

impl std::error::Error for Missing {}
