//! Runs a program to its end and turns a failure into an error that says what it said.

use crate::LabError;
use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

/// Runs a command, with optional input; returns what it printed.
pub(crate) fn succeed(command: &mut Command, input: Option<&str>) -> Result<String, LabError> {
    let output = match input {
        Some(input) => feed(command, input)?,
        None => command.stdin(Stdio::null()).output().map_err(|source| start_error(command, source))?,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Failed {
        command: describe(command),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// The error of a program that could not be started.
pub(crate) fn start_error(command: &Command, source: std::io::Error) -> LabError {
    LabError::Start { program: command.get_program().display().to_string(), source }
}

fn feed(command: &mut Command, input: &str) -> Result<Output, LabError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| start_error(command, source))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early closes its input; how it ended says more than this write.
        let _outcome = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().map_err(|source| start_error(command, source))
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
