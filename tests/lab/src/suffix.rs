//! The part of a lab's names that lets several labs stand side by side.

use crate::LabError;
use std::{fmt, str::FromStr};

/// Empty, or `-` and a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suffix(String);

impl Suffix {
    /// A name of this lab.
    #[must_use]
    pub fn apply(&self, base: &str) -> String {
        format!("{base}{}", self.0)
    }

    /// The command-line option that names this lab, with a space before it; empty for the lab without a suffix.
    #[must_use]
    pub fn flag(&self) -> String {
        self.0.strip_prefix('-').map_or_else(String::new, |word| format!(" --suffix {word}"))
    }
}

impl FromStr for Suffix {
    type Err = LabError;

    fn from_str(word: &str) -> Result<Self, LabError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match word.len() {
            0 => Ok(Self::default()),
            1..=12 if word.bytes().all(fits) => Ok(Self(format!("-{word}"))),
            _ => Err(LabError::Suffix(word.to_owned())),
        }
    }
}

impl fmt::Display for Suffix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Suffix;

    #[test]
    fn names_and_options_carry_the_suffix() {
        let suffix: Suffix = "x1".parse().unwrap();
        assert_eq!(suffix.apply("dsp-client"), "dsp-client-x1");
        assert_eq!(suffix.flag(), " --suffix x1");
        assert_eq!(Suffix::default().apply("dsp-client"), "dsp-client");
        assert_eq!(Suffix::default().flag(), "");
    }

    #[test]
    fn a_suffix_cannot_leave_its_folder() {
        for word in ["../x", "a/b", "A", "a b", "abcdefghijklm"] {
            assert!(word.parse::<Suffix>().is_err(), "{word}");
        }
    }
}
