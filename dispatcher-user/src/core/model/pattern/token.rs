//! Tokens of HTTP (RFC 9110, 5.6.2): methods, and names of header fields and cookies.

use std::str::FromStr;

use super::{PatternError, check_length};

/// A method, or the name of a header field or cookie.
#[derive(Clone, Debug)]
pub struct Token {
    pub(in crate::core::model) text: String,
}

impl FromStr for Token {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.bytes().all(is_part) {
            Ok(Self { text: text.to_owned() })
        } else {
            Err(PatternError::Token(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_no_separators() {
        for text in ["GET", "x-tier", "__Host-sid", "M-SEARCH", "a!#$%&'*+-.^_`|~9"] {
            assert_eq!(text.parse::<Token>().unwrap().as_str(), text);
        }
        for text in ["a b", "a:", "a=b", "a;b", "ä", "a\n", "\"a\"", "a/b", "a,b"] {
            assert_eq!(text.parse::<Token>().unwrap_err(), PatternError::Token(text.into()));
        }
        assert_eq!("".parse::<Token>().unwrap_err(), PatternError::Length(0));
    }
}
