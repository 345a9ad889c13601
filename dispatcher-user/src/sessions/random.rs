//! Where session IDs come from.

use aws_lc_rs::{digest, rand};

use crate::{
    core::sessions::SessionId,
    failure::{Code, Failure},
};

impl SessionId {
    /// A new ID: 128 random bits, so that none is given twice and nobody guesses one (S1).
    ///
    /// # Errors
    /// The system has no random numbers to give.
    pub fn random() -> Result<Self, Failure> {
        let mut id = [0; 16];
        let filled = rand::fill(&mut id);
        filled.map_err(|error| Failure::new(Code::HOST_UNFIT, "the system gives no random numbers").cause(error))?;
        Ok(Self(id))
    }

    /// The ID of a session that a client names itself, in a header: half a SHA-256 over the service's name and the value,
    /// so that values of any length fit and two services never mean the same session.
    #[must_use]
    pub fn named(service: &str, value: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        // A name has no zero byte: no two pairs give the same text.
        for part in [service.as_bytes(), b"\0", value] {
            context.update(part);
        }
        let digest = context.finish();
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_differ() {
        assert_ne!(SessionId::random().unwrap(), SessionId::random().unwrap());
    }

    #[test]
    fn a_name_leads_to_one_session_of_one_service() {
        let id = SessionId::named("shop", b"alice");
        assert_eq!(id, SessionId::named("shop", b"alice"));
        assert_eq!(id.to_string(), "9014771bf7a8a38d1f7a37dfd70590ba");
        assert_ne!(id, SessionId::named("shop2", b"alice"));
        assert_ne!(SessionId::named("a", b"bc"), SessionId::named("ab", b"c"));
    }
}
