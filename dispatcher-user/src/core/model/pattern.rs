//! Patterns that operators write for requests: paths, hosts, header fields. Parsed once, matched without allocation.

mod glob;
mod header;
mod host;
mod path;
mod token;

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serializer, de};

pub use self::{
    header::HeaderPattern,
    host::{HostPattern, without_port},
    path::{PathPattern, RequestPath},
    token::Token,
};

/// The longest pattern, in bytes. Matching takes at most this many steps for each byte of what is matched.
const MAX_PATTERN: usize = 255;

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It has no letters, or too many.
    #[error("a pattern has 1 to {MAX_PATTERN} bytes, this one has {0}")]
    Length(usize),
    /// A path does not start at the root.
    #[error("`{0}` is no path pattern: it starts with `/`, such as /cart/**")]
    PathStart(String),
    /// A path holds what requests do not have in theirs.
    #[error("`{0}` is no path pattern: a path has no spaces, no `?` and no `#`")]
    PathByte(String),
    /// `**` beside something else, or more than once.
    #[error("`{0}` is no path pattern: `**` stands alone between two `/`, and once at most")]
    PathStars(String),
    /// `.` and `..` are resolved before a path is compared.
    #[error("`{0}` matches nothing: `.` and `..` are resolved before a path is compared")]
    PathDots(String),
    /// No host.
    #[error("`{0}` is no host pattern, such as shop.example.org or *.example.org; it has no port")]
    Host(String),
    /// No header field.
    #[error("`{0}` is no header pattern, such as `x-tier: gold` or `x-tier: *`")]
    Header(String),
    /// No token of RFC 9110.
    #[error("`{0}` is no token: it takes letters, digits and !#$%&'*+-.^_`|~")]
    Token(String),
}

/// Writes a pattern as its text.
fn write<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// Reads a pattern from its text.
fn read<'de, P: FromStr<Err = PatternError>, D: Deserializer<'de>>(deserializer: D) -> Result<P, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn check_length(text: &str) -> Result<(), PatternError> {
    if (1..=MAX_PATTERN).contains(&text.len()) { Ok(()) } else { Err(PatternError::Length(text.len())) }
}

/// Gives a pattern that keeps its text what every such type has: it is shown, compared and stored as that text.
macro_rules! as_text {
    ($($type:ident),+) => { $(
        impl $type {
            /// The pattern as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.text
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }

        impl Eq for $type {}

        impl serde::Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                write(&self.text, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read(deserializer)
            }
        }
    )+ };
}

as_text!(PathPattern, HostPattern, HeaderPattern, Token);
