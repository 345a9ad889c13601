//! The cookie: a session's ID and the backend that has it, sealed, so that a table that was lost is made again from what
//! clients bring.
//!
//! ```text
//! base64url( version 1 ‖ secret's id 4 ‖ nonce 12 ‖ AES-256-GCM( claims ) 32 ‖ tag 16 )
//! claims = session 16 ‖ backend 2 ‖ generation 2 ‖ mark 4 ‖ expires_s 8
//! ```
//!
//! The service's name is bound into the seal: a cookie of one service says nothing at another. There is no address in it,
//! and nothing that a client can read, change or make. One that cannot be opened, for whatever reason, is as good as none.

mod claims;
mod counters;
mod header;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use data_encoding::BASE64URL_NOPAD;
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes};

use self::claims::ClaimsBytes;
pub use self::{
    claims::{Claims, mark},
    counters::{Counters, Counts},
    header::{set_cookie, strip, values},
};
use super::keys::{KeyError, Secret, SecretId, Secrets};

/// The first byte of every cookie.
const VERSION: u8 = 1;
const TAG_LEN: usize = 16;
/// Letters of a cookie's value.
pub const VALUE_LEN: usize = (size_of::<Bytes>() * 8).div_ceil(6);
/// Random nonces of 96 bits may be drawn 2^32 times for a key (NIST SP 800-38D, 8.3); it is replaced long before.
const MAX_SEALS: u64 = 1 << 31;

/// A cookie's bytes.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable)]
struct Bytes {
    version: u8,
    id: SecretId,
    nonce: [u8; NONCE_LEN],
    body: Body,
}

/// What is sealed.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable)]
struct Body {
    claims: ClaimsBytes,
    tag: [u8; TAG_LEN],
}

/// A cookie's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value([u8; VALUE_LEN]);

impl Value {
    /// The value as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Base64 has letters of ASCII alone.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What a cookie turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It says this.
    Valid(Claims),
    /// It was sealed here, and its time is over.
    Expired,
    /// It was not sealed here for this service, or was changed.
    Forged,
    /// It names a secret that is not, or no longer, there.
    UnknownKey,
    /// It is not shaped like one.
    Malformed,
}

/// What a service's cookies are bound to.
#[derive(Clone, Debug)]
pub struct Binding(Box<[u8]>);

impl Binding {
    /// That of the service with this name.
    #[must_use]
    pub fn new(service: &str) -> Self {
        Self([b"dispatcher session ".as_slice(), service.as_bytes()].concat().into())
    }
}

/// Seals and opens cookies.
pub struct Cookies {
    keys: RwLock<Arc<[Key]>>,
    /// How often the newest key has sealed.
    seals: AtomicU64,
}

struct Key {
    id: SecretId,
    cipher: RandomizedNonceKey,
}

impl Cookies {
    /// Seals with the newest of `secrets`, and opens with all of them.
    ///
    /// # Errors
    /// The library refuses a key.
    pub fn new(secrets: &Secrets) -> Result<Self, KeyError> {
        Ok(Self { keys: RwLock::new(keys(secrets)?), seals: AtomicU64::new(0) })
    }

    /// Goes on with other secrets.
    ///
    /// # Errors
    /// The library refuses a key; the former secrets then stay.
    pub fn replace(&self, secrets: &Secrets) -> Result<(), KeyError> {
        let keys = keys(secrets)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        self.seals.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// True if the newest secret has sealed so often that another should take its place, however young it is.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.seals.load(Ordering::Relaxed) >= MAX_SEALS
    }

    /// Makes a cookie that says `claims`.
    ///
    /// # Errors
    /// The library refuses, for which there is no reason that a caller could mend.
    pub fn seal(&self, binding: &Binding, claims: &Claims) -> Result<Value, KeyError> {
        let keys = self.keys();
        let key = keys.first().ok_or(KeyError)?;
        self.seals.fetch_add(1, Ordering::Relaxed);
        let mut body = Body { claims: claims.into(), tag: [0; TAG_LEN] };
        let sealed = key.cipher.seal_in_place_separate_tag(Aad::from(&binding.0), body.claims.as_mut_bytes());
        let (nonce, tag) = sealed.or(Err(KeyError))?;
        body.tag = tag.as_ref().try_into().or(Err(KeyError))?;
        let bytes = Bytes { version: VERSION, id: key.id, nonce: *nonce.as_ref(), body };
        let mut value = [0; VALUE_LEN];
        BASE64URL_NOPAD.encode_mut(bytes.as_bytes(), &mut value);
        Ok(Value(value))
    }

    /// Opens a cookie of the service that `binding` is of, at the time `now_s` of the calendar.
    #[must_use]
    pub fn open(&self, binding: &Binding, value: &[u8], now_s: i64) -> Outcome {
        let mut bytes = Bytes::new_zeroed();
        // The decoder wants to be asked with the right length.
        if value.len() != VALUE_LEN || BASE64URL_NOPAD.decode_mut(value, bytes.as_mut_bytes()).is_err() {
            return Outcome::Malformed;
        }
        let Bytes { version: VERSION, id, nonce, mut body } = bytes else { return Outcome::Malformed };
        let keys = self.keys();
        let Some(key) = keys.iter().find(|key| key.id == id) else { return Outcome::UnknownKey };
        let nonce = Nonce::assume_unique_for_key(nonce);
        if key.cipher.open_in_place(nonce, Aad::from(&binding.0), body.as_mut_bytes()).is_err() {
            return Outcome::Forged;
        }
        let claims = Claims::from(&body.claims);
        if claims.expires_s > now_s { Outcome::Valid(claims) } else { Outcome::Expired }
    }

    fn keys(&self) -> Arc<[Key]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn keys(secrets: &Secrets) -> Result<Arc<[Key]>, KeyError> {
    let key = |secret: &Secret| {
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &secret.derive::<32>("cookie")?).or(Err(KeyError))?;
        Ok(Key { id: secret.id, cipher })
    };
    secrets.iter().map(key).collect()
}

#[cfg(test)]
mod tests;
