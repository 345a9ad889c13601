//! Shopping carts in this backend's memory: state about a user that no other backend has.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, PoisonError},
};

/// The most sessions that have a cart; a demo is not to be filled up from outside.
const MOST_CARTS: usize = 65_536;
/// The most items in one.
const MOST_ITEMS: usize = 100;

/// The carts, by session ID.
#[derive(Debug, Default)]
pub(super) struct Carts {
    by_session: Mutex<HashMap<String, Vec<String>>>,
}

/// A bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Carts {
    /// Puts an item into a session's cart; gives all that is in it now.
    pub(super) fn add(&self, session: &str, item: &str) -> Result<Vec<String>, Full> {
        let mut carts = self.by_session.lock().unwrap_or_else(PoisonError::into_inner);
        let count = carts.len();
        let cart = match carts.entry(session.to_owned()) {
            Entry::Occupied(cart) => cart.into_mut(),
            Entry::Vacant(_) if count >= MOST_CARTS => return Err(Full),
            Entry::Vacant(place) => place.insert(Vec::new()),
        };
        if cart.len() >= MOST_ITEMS {
            return Err(Full);
        }
        cart.push(item.to_owned());
        Ok(cart.clone())
    }

    /// What is in a session's cart.
    pub(super) fn items(&self, session: &str) -> Vec<String> {
        let carts = self.by_session.lock().unwrap_or_else(PoisonError::into_inner);
        carts.get(session).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cart_keeps_what_its_session_put_in_up_to_a_bound() {
        let carts = Carts::default();
        carts.add("a", "book").unwrap();
        assert_eq!(carts.add("a", "pen"), Ok(vec!["book".to_owned(), "pen".to_owned()]));
        assert_eq!((carts.items("a").len(), carts.items("b").len()), (2, 0));
        for _ in 2..MOST_ITEMS {
            carts.add("a", "pen").unwrap();
        }
        assert_eq!(carts.add("a", "pen"), Err(Full));
        assert!(carts.add("b", "pen").is_ok());
    }
}
