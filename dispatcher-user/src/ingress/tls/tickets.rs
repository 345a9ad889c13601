//! Seals TLS session tickets, with the client's session ID in them: a client that resumes is known without a cookie.
//!
//! rustls can carry application data in a ticket, but gives it back with TLS 1.3 alone, and a ticket that TLS 1.2
//! renews would lose it. So the ID is sealed around what rustls puts into a ticket, by a ticketer that belongs to one
//! connection.
//!
//! A ticket travels in the clear in every ClientHello. Whoever sends one proves that it is his only when the handshake
//! resumes (RFC 8446 section 4.2.11.2, RFC 5077 section 3.1). Until then the ID in it is a mere claim:
//!
//! ```text
//! Fresh ──ticket opened──▶ Claimed ──hello done, resumed──▶ Resumed
//!   └──────────hello done, not resumed──────┴─────────────▶ Full      (no ticket is opened any more)
//! ```
//!
//! After a HelloRetryRequest the library asks for the ticket again at a time that nobody outside can tell from a
//! handshake in full, so such a connection is not resumed.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::{HandshakeKind, server::ProducesTickets};

use crate::{
    core::sessions::SessionId,
    ingress::keys::{KeyError, SecretId, Secrets},
};

/// Bytes of a key's name; a ticket begins with it.
const NAME: usize = size_of::<SecretId>();
/// What a secret's key is derived for.
const PURPOSE: &str = "ticket";
/// Bytes of a session ID.
const ID: usize = size_of::<SessionId>();
/// Bytes of a key of AES-256-GCM.
const AES_256_GCM_LEN: usize = 32;
/// Longer tickets are not ours: rustls seals some hundred bytes, and a client's certificates where they are asked for.
const MAX_TICKET: usize = 16 * 1024;

/// A service's ticket keys. The first seals; all of them open, so that a rotation forgets nobody.
pub struct TicketKeys {
    ring: ArcSwap<Vec<TicketKey>>,
    lifetime_s: u32,
    /// Bound into each ticket: that of one service says nothing at another.
    service: Box<[u8]>,
}

struct TicketKey {
    name: SecretId,
    aead: RandomizedNonceKey,
}

impl TicketKeys {
    /// Keys of a service; tickets are worth something for `lifetime_s`, as clients are told.
    ///
    /// # Errors
    /// If the library refuses a key.
    pub fn new(service: &str, lifetime_s: u32, secrets: &Secrets) -> Result<Self, KeyError> {
        let keys = Self { ring: ArcSwap::default(), lifetime_s, service: service.as_bytes().into() };
        keys.replace(secrets)?;
        Ok(keys)
    }

    /// Goes on with other secrets: seals by the newest of them, and opens by all of them and no others.
    ///
    /// # Errors
    /// If the library refuses a key; nothing changes then.
    pub fn replace(&self, secrets: &Secrets) -> Result<(), KeyError> {
        let ring = secrets
            .iter()
            .map(|secret| {
                let key: [u8; AES_256_GCM_LEN] = secret.derive(PURPOSE)?;
                Ok(TicketKey { name: secret.id, aead: RandomizedNonceKey::new(&AES_256_GCM, &key).or(Err(KeyError))? })
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.ring.store(Arc::new(ring));
        Ok(())
    }

    /// name ‖ nonce ‖ AES-256-GCM(session ID ‖ state) ‖ tag, with the service as associated data.
    fn seal(&self, id: SessionId, state: &[u8]) -> Option<Vec<u8>> {
        let ring = self.ring.load();
        let key = ring.first()?;
        let mut sealed = [&id.0[..], state].concat();
        let nonce = key.aead.seal_in_place_append_tag(Aad::from(&self.service), &mut sealed).ok()?;
        Some([&key.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8]) -> Option<(SessionId, Vec<u8>)> {
        if ticket.len() > MAX_TICKET {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let ring = self.ring.load();
        let key = ring.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.aead.open_in_place(nonce, Aad::from(&self.service), &mut sealed).ok()?;
        let (id, state) = opened.split_first_chunk::<ID>()?;
        Some((SessionId(*id), state.to_vec()))
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("keys", &self.ring.load().len()).finish_non_exhaustive()
    }
}

/// The ticketer of one connection.
#[derive(Debug)]
pub struct ConnectionTickets {
    keys: Arc<TicketKeys>,
    /// The ID of a connection that brings none.
    fresh: SessionId,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No ticket was opened.
    Fresh,
    /// One was; nobody has proved yet that it is his.
    Claimed(SessionId),
    /// The handshake resumes by that ticket.
    Resumed(SessionId),
    /// The handshake is in full.
    Full,
}

impl ConnectionTickets {
    /// A ticketer for a connection whose session is `fresh` unless it resumes another.
    #[must_use]
    pub fn new(keys: Arc<TicketKeys>, fresh: SessionId) -> Self {
        Self { keys, fresh, state: Mutex::new(State::Fresh) }
    }

    /// To be called when the library has handled the ClientHello, and before it handles anything else.
    pub fn hello_done(&self, kind: Option<HandshakeKind>) {
        let mut state = self.state();
        *state = match (*state, kind) {
            (State::Claimed(id), Some(HandshakeKind::Resumed)) => State::Resumed(id),
            _ => State::Full,
        };
    }

    /// The session of the connection, and whether a ticket brought it.
    #[must_use]
    pub fn session(&self) -> (SessionId, bool) {
        match *self.state() {
            State::Resumed(id) => (id, true),
            State::Fresh | State::Claimed(_) | State::Full => (self.fresh, false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is a plain value; no panic leaves it half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducesTickets for ConnectionTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime_s
    }

    /// TLS 1.2 renews a ticket within its answer to the hello, when the claim is not proved yet. That gives nothing
    /// away: the new ticket can be used only by who knows the old one's secret, as the old one could.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let id = match *self.state() {
            State::Claimed(id) | State::Resumed(id) => id,
            State::Fresh | State::Full => self.fresh,
        };
        self.keys.seal(id, plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.state();
        // A client may offer several tickets; rustls resumes by the first that it accepts, and asks for no more.
        if !matches!(*state, State::Fresh | State::Claimed(_)) {
            return None;
        }
        let (id, plain) = self.keys.open(cipher)?;
        *state = State::Claimed(id);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ingress::keys::KeyFile;

    const FRESH: SessionId = SessionId([1; ID]);
    const OLD: SessionId = SessionId([2; ID]);

    fn keys() -> Arc<TicketKeys> {
        Arc::new(TicketKeys::new("shop", 3600, &Secrets::random(0).unwrap()).unwrap())
    }

    #[test]
    fn a_rotation_keeps_old_tickets_until_their_key_is_gone() {
        const DAY_S: i64 = 86_400;
        let place = tempfile::tempdir().unwrap();
        let mut file = KeyFile::open(&place.path().join("keys"), 0).unwrap();
        let keys = TicketKeys::new("shop", 3600, file.secrets()).unwrap();
        let ticket = keys.seal(OLD, b"state").unwrap();
        let mut rotate = |days: i64| {
            file.rotate(days * DAY_S, Duration::from_secs(3600), false).unwrap();
            keys.replace(file.secrets()).unwrap();
        };
        rotate(1);
        assert_eq!(keys.open(&ticket).unwrap(), (OLD, b"state".to_vec()));
        let renewed = keys.seal(OLD, b"state").unwrap();
        rotate(2);
        assert!(keys.open(&ticket).is_none());
        assert!(keys.open(&renewed).is_some());
    }

    #[test]
    fn a_ticket_that_is_changed_cut_or_of_another_service_does_not_open() {
        let keys = keys();
        let ticket = keys.seal(OLD, b"state").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(keys.open(&changed).is_none(), "byte {at} changed");
            assert!(keys.open(&ticket[..at]).is_none(), "cut at {at}");
        }
        let secrets = Secrets::random(0).unwrap();
        let of = |service| TicketKeys::new(service, 3600, &secrets).unwrap();
        let ticket = of("shop").seal(OLD, b"state").unwrap();
        assert!(of("shop").open(&ticket).is_some());
        assert!(of("other").open(&ticket).is_none());
        assert!(keys.open(&vec![1; MAX_TICKET + 1]).is_none());
    }

    #[test]
    fn a_resumed_connection_has_the_ticket_s_session_and_passes_it_on() {
        let keys = keys();
        let ticket = keys.seal(OLD, b"state").unwrap();
        let connection = ConnectionTickets::new(Arc::clone(&keys), FRESH);
        assert_eq!(connection.decrypt(&ticket).unwrap(), b"state");
        connection.hello_done(Some(HandshakeKind::Resumed));
        assert_eq!(connection.session(), (OLD, true));
        assert_eq!(keys.open(&connection.encrypt(b"next").unwrap()).unwrap().0, OLD);
    }

    #[test]
    fn a_claim_that_is_not_proved_is_worth_nothing() {
        let keys = keys();
        let ticket = keys.seal(OLD, b"state").unwrap();
        for kind in [None, Some(HandshakeKind::Full), Some(HandshakeKind::FullWithHelloRetryRequest)] {
            let connection = ConnectionTickets::new(Arc::clone(&keys), FRESH);
            assert!(connection.decrypt(&ticket).is_some());
            connection.hello_done(kind);
            assert_eq!(connection.session(), (FRESH, false), "{kind:?}");
            assert_eq!(keys.open(&connection.encrypt(b"new").unwrap()).unwrap().0, FRESH, "{kind:?}");
            // The second hello after a HelloRetryRequest.
            assert!(connection.decrypt(&ticket).is_none(), "{kind:?}");
        }
    }
}
