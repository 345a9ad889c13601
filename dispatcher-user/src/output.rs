//! Where the command line writes: data to stdout, words to stderr.

pub(crate) mod rows;
mod table;
pub(crate) mod units;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use self::table::{Row, columns};
use crate::{cli::args::Format, failure::Failure};

/// Version of the JSON output.
const VERSION: u32 = 1;

/// How a command's results are written.
pub(crate) struct Output {
    format: Format,
    quiet: bool,
    verbose: bool,
    colour: bool,
}

/// JSON output: a version, and a list whatever was asked.
#[derive(Serialize)]
struct Document<'a, T> {
    version: u32,
    items: &'a [T],
}

impl Output {
    /// Writes in `format`. Colours are for terminals alone, and only unless `NO_COLOR` is set (no-color.org).
    pub(crate) fn new(format: Format, quiet: bool, verbose: bool, no_colour: bool) -> Self {
        let forbidden = no_colour || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { format, quiet, verbose, colour: !forbidden && io::stderr().is_terminal() }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Writes rows, as the format says.
    pub(crate) fn rows<T: Row>(&self, rows: &[T]) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(rows),
            Format::Table | Format::Wide => text(&columns(rows, self.format == Format::Wide)),
        }
    }

    /// Writes items as JSON, whatever the format.
    pub(crate) fn json<T: Serialize>(&self, items: &[T]) -> io::Result<()> {
        let mut line = serde_json::to_string(&Document { version: VERSION, items })?;
        line.push('\n');
        text(&line)
    }

    /// Says something that is not data.
    pub(crate) fn note(&self, words: &str) {
        if !self.quiet {
            say(words);
        }
    }

    /// Says something that only the curious want.
    pub(crate) fn detail(&self, words: &str) {
        if self.verbose {
            say(words);
        }
    }

    /// Says what failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        let told = failure.to_string();
        match told.split_once(':') {
            Some((head, rest)) if self.colour => say(&format!("\x1b[1;31m{head}\x1b[0m:{rest}")),
            _ => say(&told),
        }
    }
}

/// Writes data.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes words. That stderr is closed is nothing that could still be told to anybody.
fn say(words: &str) {
    writeln!(io::stderr().lock(), "{words}").ok();
}
