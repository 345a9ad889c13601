//! The addresses whose next hops are followed: each once, whatever the number of backends that share it.

use std::{collections::BTreeMap, net::IpAddr};

use super::event::NextHop;

/// What is known of the way to an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing was heard yet. After a takeover, the way that a former daemon knew.
    #[default]
    Unheard,
    /// It was found.
    Found,
    /// It was lost, or could not be found.
    Lost,
}

/// A followed address.
#[derive(Clone, Debug, Default)]
pub(super) struct Neighbour {
    /// Backend IDs that have the address.
    pub(super) backends: Vec<u16>,
    /// The last known way.
    pub(super) hop: Option<NextHop>,
    /// Whether it holds.
    pub(super) reach: Reach,
}

/// All followed addresses.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    by_address: BTreeMap<IpAddr, Neighbour>,
}

impl Neighbours {
    /// Adds a backend at `address`; true if the address is to be followed from now on.
    pub(super) fn join(&mut self, address: IpAddr, backend: u16) -> bool {
        let neighbour = self.by_address.entry(address).or_default();
        neighbour.backends.push(backend);
        neighbour.backends.len() == 1
    }

    /// Takes a backend away from `address`; true if nobody needs the address any more.
    pub(super) fn leave(&mut self, address: IpAddr, backend: u16) -> bool {
        let Some(neighbour) = self.by_address.get_mut(&address) else { return false };
        neighbour.backends.retain(|&other| other != backend);
        let unused = neighbour.backends.is_empty();
        if unused {
            self.by_address.remove(&address);
        }
        unused
    }

    /// What is known of an address.
    pub(super) fn find(&self, address: IpAddr) -> Option<&Neighbour> {
        self.by_address.get(&address)
    }

    /// Remembers what a former daemon knew, unless something was heard since.
    pub(super) fn recall(&mut self, address: IpAddr, hop: NextHop) {
        if let Some(neighbour) = self.by_address.get_mut(&address) {
            neighbour.hop.get_or_insert(hop);
        }
    }

    /// Takes in what was heard of an address; `None` if nobody needs it. The last known way is kept when it is lost.
    pub(super) fn hear(&mut self, address: IpAddr, hop: Option<NextHop>) -> Option<&Neighbour> {
        let neighbour = self.by_address.get_mut(&address)?;
        neighbour.reach = if hop.is_some() { Reach::Found } else { Reach::Lost };
        neighbour.hop = hop.or(neighbour.hop);
        Some(neighbour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: NextHop = NextHop { ifindex: 3, mac: [2; 6], source_mac: [1; 6] };

    #[test]
    fn a_shared_address_is_followed_until_its_last_backend_leaves() {
        let (mut neighbours, address) = (Neighbours::default(), IpAddr::from([10, 77, 1, 11]));
        assert!(neighbours.join(address, 1));
        assert!(!neighbours.join(address, 2));
        assert!(!neighbours.leave(address, 1));
        assert!(!neighbours.leave(address, 9));
        assert!(neighbours.leave(address, 2));
        assert!(neighbours.hear(address, Some(HOP)).is_none());
    }

    #[test]
    fn the_last_known_way_outlives_a_loss() {
        let (mut neighbours, address) = (Neighbours::default(), IpAddr::from([10, 77, 1, 11]));
        neighbours.join(address, 1);
        assert_eq!(neighbours.hear(address, None).map(|found| (found.hop, found.reach)), Some((None, Reach::Lost)));
        neighbours.hear(address, Some(HOP));
        let lost = neighbours.hear(address, None).map(|found| (found.hop, found.reach));
        assert_eq!(lost, Some((Some(HOP), Reach::Lost)));
        neighbours.recall(address, NextHop { ifindex: 9, ..HOP });
        assert_eq!(neighbours.find(address).and_then(|found| found.hop), Some(HOP));
    }
}
