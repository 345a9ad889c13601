//! Session IDs: 128 bits that nobody can guess, written as 32 hexadecimal digits.

use std::{fmt, str::FromStr};

use dispatcher_common::session::SessionKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A session's ID. Whoever knows it can speak for the session, so that it is shown to operators alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

/// Why a text is no session ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no session ID: it has 32 hexadecimal digits")]
pub struct IdError(String);

impl SessionId {
    /// Its key in `dsp_sessions`.
    #[must_use]
    pub fn key(self) -> SessionKey {
        SessionKey { id: self.0 }
    }
}

impl From<SessionKey> for SessionId {
    fn from(key: SessionKey) -> Self {
        Self(key.id)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The first digits alone, so that a debug line gives no session away.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, two, three, four, ..] = self.0;
        write!(f, "{one:02x}{two:02x}{three:02x}{four:02x}…")
    }
}

impl FromStr for SessionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // `from_str_radix` would take a sign and fewer digits.
        let is_hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(|| IdError(text.to_owned()))
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let text = "00ff0123456789abcdef0123456789ab";
        let id: SessionId = text.parse().unwrap();
        assert_eq!((id.0[0], id.0[1], id.to_string().as_str()), (0, 0xff, text));
        assert_eq!(format!("{id:?}"), "00ff0123…");
        for text in ["", "00ff", "+0ff0123456789abcdef0123456789ab", "00ff0123456789abcdef0123456789ag"] {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
    }
}
