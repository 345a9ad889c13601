//! Patterns of header fields: `x-tier: gold`, `user-agent: *bot*`.

use std::str::FromStr;

use super::{PatternError, Token, check_length, glob::Glob};

/// A pattern of a header field: its name, and its value with `*` for any bytes.
#[derive(Clone, Debug)]
pub struct HeaderPattern {
    pub(super) text: String,
    name: String,
    value: Glob,
}

impl HeaderPattern {
    /// The field's name, in lower case: names are alike in upper and lower case (RFC 9110, 5.1).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if it matches the value of one field line. Upper and lower case differ: few fields say that theirs do not.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        self.value.matches(value.trim_ascii().iter().copied())
    }
}

impl FromStr for HeaderPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        let wrong = || PatternError::Header(text.to_owned());
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        let (name, value) = (name.trim_ascii().to_ascii_lowercase(), value.trim_ascii());
        let is_value = !value.is_empty() && value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | 0x80..));
        if name.parse::<Token>().is_err() || !is_value {
            return Err(wrong());
        }
        let text = format!("{name}: {value}");
        Ok(Self { value: Glob::new(value, str::bytes), text, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_alike_and_values_differ() {
        let pattern: HeaderPattern = "X-Tier:  gold*".parse().unwrap();
        assert_eq!(pattern.as_str(), "x-tier: gold*");
        assert_eq!(pattern.name(), "x-tier");
        for value in ["gold", " gold ", "goldfish", "gold\u{e4}"] {
            assert!(pattern.matches(value.as_bytes()), "{value}");
        }
        for value in ["", "Gold", "a gold"] {
            assert!(!pattern.matches(value.as_bytes()), "{value}");
        }
        let present: HeaderPattern = "x-tier: *".parse().unwrap();
        assert!(present.matches(b"\xff"));
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for text in ["x-tier", ": gold", "x tier: gold", "x-tier:", "x-tier: \u{1}", "x-tier: a\nb"] {
            assert_eq!(text.parse::<HeaderPattern>().unwrap_err(), PatternError::Header(text.into()), "{text}");
        }
    }
}
