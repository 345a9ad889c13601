//! Reads the repository's files, and tells a Rust file's code from its comments, texts and tests.

use anyhow::{Context as _, Result};
use std::{fs, path::Path};

/// A text file of the repository.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its path below the repository's folder.
    pub(super) path: String,
    /// What it holds.
    pub(super) text: String,
}

impl Source {
    pub(super) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    pub(super) fn is_below(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The lines of code, numbered from 1, without comments and texts.
    pub(super) fn code(&self) -> Vec<(usize, String)> {
        (1..).zip(blank(&self.text).lines().map(str::to_owned)).collect()
    }

    /// As [`Source::code`], up to the unit tests at the end of the file.
    pub(super) fn code_without_tests(&self) -> Vec<(usize, String)> {
        self.code().into_iter().take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]")).collect()
    }
}

/// All text files of the repository that are neither made by a tool nor hidden.
pub(super) fn read_all(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    collect(root, "", &mut sources).with_context(|| format!("cannot read {}", root.display()))?;
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

fn collect(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> std::io::Result<()> {
    /// What other tools own.
    const SKIPPED: [&str; 3] = [".git", "target", "corpus"];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), sources)?;
        } else if kind.is_file()
            && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
        {
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

/// What a piece of Rust text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Code,
    LineComment,
    /// With its depth: block comments nest.
    BlockComment(u32),
    Text,
    /// With the number of its hashes.
    RawText(usize),
}

/// Replaces comments and the contents of texts by spaces; keeps every line where it is.
fn blank(text: &str) -> String {
    let mut rest = text;
    let mut piece = Piece::Code;
    let mut blanked = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let (length, next) = step(rest, first, piece);
        let (taken, remaining) = rest.split_at(length);
        let is_code = piece == Piece::Code && next == Piece::Code;
        blanked.extend(taken.chars().map(|each| if is_code || each == '\n' { each } else { ' ' }));
        (rest, piece) = (remaining, next);
    }
    blanked
}

/// How much of the rest belongs together, and what comes after it.
fn step(rest: &str, first: char, piece: Piece) -> (usize, Piece) {
    let width = first.len_utf8();
    match piece {
        Piece::Code => step_in_code(rest, first),
        Piece::LineComment if first == '\n' => (width, Piece::Code),
        Piece::BlockComment(1) if rest.starts_with("*/") => (2, Piece::Code),
        Piece::BlockComment(depth) if rest.starts_with("*/") => (2, Piece::BlockComment(depth - 1)),
        Piece::BlockComment(depth) if rest.starts_with("/*") => (2, Piece::BlockComment(depth + 1)),
        Piece::Text if first == '\\' => (width + rest.chars().nth(1).map_or(0, char::len_utf8), Piece::Text),
        Piece::Text if first == '"' => (width, Piece::Code),
        Piece::RawText(hashes) if rest.starts_with(&format!("\"{}", "#".repeat(hashes))) => (1 + hashes, Piece::Code),
        Piece::LineComment | Piece::BlockComment(_) | Piece::Text | Piece::RawText(_) => (width, piece),
    }
}

fn step_in_code(rest: &str, first: char) -> (usize, Piece) {
    if rest.starts_with("//") {
        return (2, Piece::LineComment);
    }
    if rest.starts_with("/*") {
        return (2, Piece::BlockComment(1));
    }
    if first == '"' {
        return (1, Piece::Text);
    }
    if let Some(after) = rest.strip_prefix('r') {
        let hashes = after.chars().take_while(|&each| each == '#').count();
        if after.chars().nth(hashes) == Some('"') {
            return (2 + hashes, Piece::RawText(hashes));
        }
    }
    // A word is taken whole, so that an r at its end begins no raw text.
    if first.is_alphanumeric() || first == '_' {
        let end = rest.find(|each: char| !each.is_alphanumeric() && each != '_').unwrap_or(rest.len());
        return (end, Piece::Code);
    }
    if first == '\'' {
        return (character_length(rest), Piece::Code);
    }
    (first.len_utf8(), Piece::Code)
}

/// The length of a character literal; of a lifetime, only its mark.
fn character_length(rest: &str) -> usize {
    let mut inside = rest.chars().skip(1);
    match (inside.next(), inside.next()) {
        (Some('\\'), Some(escaped)) => {
            let start = 2 + escaped.len_utf8();
            rest.get(start..).and_then(|after| after.find('\'')).map_or(1, |end| start + end + 1)
        }
        (Some(each), Some('\'')) => 2 + each.len_utf8(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left_and_lines_keep_their_numbers() {
        let text = "a // b\n/* c /* d */ e\n*/ f \"g \\\" h\" i r#\"j \" k\"# l '\"' m 'n \"o\" var\"p\"\n";
        let source = Source { path: "x.rs".to_owned(), text: text.to_owned() };
        let words: Vec<(usize, Vec<String>)> = source
            .code()
            .into_iter()
            .map(|(line, code)| {
                let is_part = |each: char| !each.is_alphanumeric();
                (line, code.split(is_part).filter(|word| !word.is_empty()).map(str::to_owned).collect())
            })
            .collect();
        let expected = [vec!["a"], vec![], vec!["f", "i", "l", "m", "n", "var"]];
        assert_eq!(words.into_iter().map(|(_, words)| words).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn unit_tests_can_be_left_out() {
        let text = "one\n#[cfg(test)]\nmod tests {}\n".to_owned();
        let source = Source { path: "x.rs".to_owned(), text };
        assert_eq!(source.code_without_tests(), [(1, "one".to_owned())]);
    }
}
