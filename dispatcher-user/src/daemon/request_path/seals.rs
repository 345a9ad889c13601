//! What cookies and TLS tickets are sealed with, for all services together: one rotation is a rotation for all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::ingress::{
    cookie::Cookies,
    keys::{KeyError, Secrets},
    tls::tickets::TicketKeys,
};

/// How long a ticket may be used, as clients are told; half a day, as a session's lifetime is unless it is set.
const TICKET_LIFETIME_S: u32 = 43_200;

/// The cookies' keys, and every service's ticket keys.
pub(super) struct Seals {
    pub(super) cookies: Arc<Cookies>,
    state: Mutex<State>,
}

struct State {
    secrets: Secrets,
    tickets: Vec<Weak<TicketKeys>>,
}

impl Seals {
    /// Derives keys from secrets.
    ///
    /// # Errors
    /// If the library refuses one.
    pub(super) fn new(secrets: &Secrets) -> Result<Self, KeyError> {
        let state = State { secrets: secrets.clone(), tickets: Vec::new() };
        Ok(Self { cookies: Arc::new(Cookies::new(secrets)?), state: Mutex::new(state) })
    }

    /// Ticket keys for a service; they rotate for as long as they are used.
    ///
    /// # Errors
    /// If the library refuses a key.
    pub(super) fn tickets(&self, service: &str) -> Result<Arc<TicketKeys>, KeyError> {
        let mut state = self.state();
        let keys = Arc::new(TicketKeys::new(service, TICKET_LIFETIME_S, &state.secrets)?);
        state.tickets.retain(|known| known.strong_count() > 0);
        state.tickets.push(Arc::downgrade(&keys));
        Ok(keys)
    }

    /// Goes on with other secrets.
    ///
    /// # Errors
    /// If the library refuses a key; who is behind it in turn goes on with the old ones.
    pub(super) fn replace(&self, secrets: &Secrets) -> Result<(), KeyError> {
        let mut state = self.state();
        state.secrets = secrets.clone();
        self.cookies.replace(secrets)?;
        state.tickets.iter().filter_map(Weak::upgrade).try_for_each(|keys| keys.replace(secrets))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
