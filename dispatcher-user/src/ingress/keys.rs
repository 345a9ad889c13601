//! The secrets that cookies and TLS tickets are sealed with: one a day, kept in a file for as long as something that was
//! sealed with them may come back.
//!
//! ```text
//!             a day old, or used up                  the longest session is over
//!   newest: seals and opens ──────────────▶ opens ──────────────────────────────▶ gone
//! ```
//!
//! What is sealed with a secret is sealed with a key that is derived from it (HKDF, RFC 5869) for one purpose, so that
//! nothing that was made for one is good for another.

mod file;

use std::{fmt, time::Duration};

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand,
};

pub use self::file::KeyFile;

/// How long a secret is the newest.
pub const ROTATION: Duration = Duration::from_secs(86_400);
/// Secrets at one time: more than days in the longest session.
pub const MAX_SECRETS: usize = 64;

/// Names a secret within what was sealed with it.
pub type SecretId = [u8; 4];

/// A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub id: SecretId,
    /// When it was made; seconds since 1970.
    pub created_s: i64,
    bytes: [u8; 32],
}

/// The system has no random numbers to give, or the library refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key can be made")]
pub struct KeyError;

/// All secrets, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets(Vec<Secret>);

impl Secret {
    /// A new secret.
    ///
    /// # Errors
    /// The system has no random numbers to give.
    pub fn random(now_s: i64) -> Result<Self, KeyError> {
        let (mut id, mut bytes) = (SecretId::default(), [0; 32]);
        rand::fill(&mut id).and_then(|()| rand::fill(&mut bytes)).or(Err(KeyError))?;
        Ok(Self { id, created_s: now_s, bytes })
    }

    /// A key for one purpose.
    ///
    /// # Errors
    /// The library refuses.
    pub fn derive<const BYTES: usize>(&self, purpose: &str) -> Result<[u8; BYTES], KeyError> {
        struct Length(usize);
        impl KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut key = [0; BYTES];
        let secret = Salt::new(HKDF_SHA256, b"dispatcher").extract(&self.bytes);
        let derived = secret.expand(&[purpose.as_bytes()], Length(BYTES)).and_then(|okm| okm.fill(&mut key));
        derived.or(Err(KeyError))?;
        Ok(key)
    }
}

/// Never the secret itself: it would end up in a log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).field("created_s", &self.created_s).finish_non_exhaustive()
    }
}

impl Secrets {
    /// One new secret.
    ///
    /// # Errors
    /// The system has no random numbers to give.
    pub fn random(now_s: i64) -> Result<Self, KeyError> {
        Ok(Self(vec![Secret::random(now_s)?]))
    }

    /// The newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }

    /// True if the newest secret is a day old, or of a time that has not come: the clock was wrong when it was made.
    fn is_due(&self, now_s: i64) -> bool {
        let day_s = i64::try_from(ROTATION.as_secs()).unwrap_or(i64::MAX);
        self.0.first().is_none_or(|newest| !(0..day_s).contains(&now_s.saturating_sub(newest.created_s)))
    }

    /// A new secret in front of these, and without those of which nothing can come back: what is sealed is worth nothing
    /// once it is `keep` old.
    fn rotated(&self, now_s: i64, keep: Duration) -> Result<Self, KeyError> {
        let mut secrets = vec![Secret::random(now_s)?];
        // A secret seals until the next one is made, and what it sealed last is good for `keep` from then on.
        let mut replaced_s = now_s;
        for secret in &self.0 {
            let age_s = u64::try_from(now_s.saturating_sub(replaced_s)).unwrap_or(0);
            if age_s <= keep.as_secs() {
                secrets.push(secret.clone());
            }
            replaced_s = secret.created_s;
        }
        secrets.truncate(MAX_SECRETS);
        Ok(Self(secrets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;

    #[test]
    fn a_purpose_gives_one_key_and_another_gives_another() {
        let secret = Secret { id: [1; 4], created_s: 0, bytes: [2; 32] };
        let key: [u8; 32] = secret.derive("cookie").unwrap();
        assert_eq!(key, secret.derive::<32>("cookie").unwrap());
        assert_ne!(key, secret.derive::<32>("ticket").unwrap());
        assert_ne!(key, Secret { bytes: [3; 32], ..secret.clone() }.derive::<32>("cookie").unwrap());
        assert_ne!(key, [2; 32]);
        assert!(!format!("{secret:?}").contains("bytes"));
    }

    #[test]
    fn secrets_stay_for_as_long_as_something_may_come_back() {
        let keep = Duration::from_secs(3 * 86_400);
        let mut secrets = Secrets::random(0).unwrap();
        for day in 1..10 {
            secrets = secrets.rotated(day * DAY_S, keep).unwrap();
        }
        let days: Vec<i64> = secrets.iter().map(|secret| secret.created_s / DAY_S).collect();
        // That of day 5 sealed until day 6 began, and what it sealed then is good until day 9 begins.
        assert_eq!(days, [9, 8, 7, 6, 5]);
    }

    #[test]
    fn a_clock_that_was_wrong_hinders_no_rotation() {
        let secrets = Secrets::random(100 * DAY_S).unwrap();
        assert!(!secrets.is_due(100 * DAY_S) && !secrets.is_due(101 * DAY_S - 1));
        assert!(secrets.is_due(101 * DAY_S));
        assert!(secrets.is_due(100 * DAY_S - 1), "it was made tomorrow");
        let rotated = secrets.rotated(50 * DAY_S, Duration::from_secs(60)).unwrap();
        assert_eq!(rotated.iter().count(), 2, "what it sealed may still come back");
    }

    #[test]
    fn there_are_never_too_many() {
        let mut secrets = Secrets::random(0).unwrap();
        for second in 0..100 {
            secrets = secrets.rotated(second, Duration::MAX).unwrap();
        }
        assert_eq!((secrets.iter().count(), secrets.0[0].created_s), (MAX_SECRETS, 99));
    }
}
