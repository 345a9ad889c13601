//! The requests of one class that wait: its clients take turns, and in a standing queue the newest goes first.
//!
//! A queue that absorbs a burst is served first in, first out. Under lasting overload that order serves only requests
//! that are about to expire: clients give up at the moment their turn comes, and the backend works for nobody. So once
//! waits are long (the scheduler says when), the newest request goes first; it has the best chance that somebody still
//! waits for it ("adaptive LIFO": Maurer, "Fail at Scale", ACM Queue 13(8), 2015).
//!
//! Turns are rounds over clients, with lists `turn` (to be served in this round) and `later` (served in it). In arrival
//! order a round ends when everyone had a turn. With the newest first, clients that never come again would keep joining
//! at the front and shut out those that had a turn; there a round is at most as long as there were clients when it began.
//!
//! A class that holds too much loses the oldest request of the client that holds most, within a factor of two, as
//! FQ-CoDel does (RFC 8290, section 4.1). So a greedy client pays for the room that it takes.

use std::{collections::HashMap, mem};

use super::{
    pool::{Chain, Key, Pool},
    request::{ARRIVAL, QUEUE, Requests},
};

/// Which request goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Each in turn.
    OldestFirst,
    /// Under overload: clients with the newest requests, and of each client that has requests from before `long_ago_ns`
    /// the newest one. Other clients of the class are not overloaded, and theirs keep their order.
    NewestFirst {
        /// What came then or before waits for long.
        long_ago_ns: u64,
    },
}

/// Link number: the round.
const ROUND: usize = 0;
/// Link number: clients of about the same size.
const SIZE: usize = 1;
/// Sizes are powers of two.
const SIZES: usize = 64;
/// What a waiting request counts besides its bytes.
const ENTRY_BYTES: u64 = 1024;

/// The waiting requests of a class.
#[derive(Debug)]
pub(super) struct Queue {
    clients: Pool<Client, 2>,
    by_hash: HashMap<u64, Key>,
    turn: Chain<ROUND>,
    later: Chain<ROUND>,
    /// Number of the round; clients start with 0, which none has.
    round: u64,
    /// Turns until the round ends.
    turns_left: u32,
    /// Clients by the power of two of what they hold.
    sizes: [Chain<SIZE>; SIZES],
    /// A bit for each list of `sizes` that is not empty.
    occupied: u64,
    arrivals: Chain<ARRIVAL>,
    bytes: u64,
}

/// A client that has requests waiting.
#[derive(Debug)]
struct Client {
    hash: u64,
    requests: Chain<QUEUE>,
    bytes: u64,
    /// The round in which it was last served.
    served_round: u64,
    /// Turns that it misses, for it was served more than a turn's worth.
    debt: u32,
}

impl Client {
    fn size(&self) -> usize {
        let held = self.bytes.saturating_add(u64::from(self.requests.len()).saturating_mul(ENTRY_BYTES));
        held.checked_ilog2().map_or(0, |power| power as usize).min(SIZES - 1)
    }
}

impl Queue {
    /// Nothing waits.
    pub(super) fn new() -> Self {
        Self {
            clients: Pool::new(),
            by_hash: HashMap::new(),
            turn: Chain::default(),
            later: Chain::default(),
            round: 1,
            turns_left: 0,
            sizes: [Chain::default(); SIZES],
            occupied: 0,
            arrivals: Chain::default(),
            bytes: 0,
        }
    }

    /// Requests that wait.
    pub(super) fn len(&self) -> u32 {
        self.arrivals.len()
    }

    /// Bytes held for them.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Clients that have requests waiting.
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// The request that has waited longest.
    pub(super) fn oldest(&self) -> Option<Key> {
        self.arrivals.first()
    }

    /// The oldest request of the client that holds most, within a factor of two.
    pub(super) fn crowding(&self) -> Option<Key> {
        let size = SIZES.checked_sub(1)?.checked_sub(self.occupied.leading_zeros() as usize)?;
        let client = self.sizes.get(size)?.first()?;
        self.clients.find(client)?.requests.first()
    }

    /// Lets a request wait.
    pub(super) fn push<T>(&mut self, requests: &mut Requests<T>, key: Key, order: Order) {
        let Some((hash, bytes)) = requests.find(key).map(|request| (request.client, request.bytes)) else { return };
        let seat = self.seat(hash, order);
        if let Some(request) = requests.find_mut(key) {
            request.seat = Some(seat);
        }
        requests.push_back(&mut self.arrivals, key);
        self.bytes = self.bytes.saturating_add(bytes);
        self.resize(seat, |client| {
            requests.push_back(&mut client.requests, key);
            client.bytes = client.bytes.saturating_add(bytes);
        });
    }

    /// Takes out the request whose turn it is.
    pub(super) fn pop<T>(&mut self, requests: &mut Requests<T>, order: Order) -> Option<Key> {
        let seat = self.next_client(order)?;
        let client = self.clients.find(seat)?;
        let oldest = client.requests.first()?;
        let key = match order {
            Order::NewestFirst { long_ago_ns } if requests.find(oldest)?.asked_ns <= long_ago_ns => {
                client.requests.last()?
            }
            Order::NewestFirst { .. } | Order::OldestFirst => oldest,
        };
        let cost = requests.find(key)?.cost;
        self.remove(requests, key);
        if let Some(client) = self.clients.find_mut(seat) {
            client.debt = cost.saturating_sub(1);
            self.pass_turn(seat);
        }
        Some(key)
    }

    /// Takes out a request wherever it stands.
    pub(super) fn remove<T>(&mut self, requests: &mut Requests<T>, key: Key) {
        let Some(request) = requests.find_mut(key) else { return };
        let Some(seat) = request.seat.take() else { return };
        let bytes = request.bytes;
        requests.unlink(&mut self.arrivals, key);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.resize(seat, |client| {
            requests.unlink(&mut client.requests, key);
            client.bytes = client.bytes.saturating_sub(bytes);
        });
        if self.clients.find(seat).is_some_and(|client| client.requests.is_empty()) {
            self.forget(seat);
        }
    }

    /// The client's record, which is made if it has none.
    fn seat(&mut self, hash: u64, order: Order) -> Key {
        let known = self.by_hash.get(&hash).copied();
        let Some(seat) = known else {
            let client = Client { hash, requests: Chain::default(), bytes: 0, served_round: 0, debt: 0 };
            let seat = self.clients.insert(client);
            self.by_hash.insert(hash, seat);
            self.enlist(seat);
            match order {
                Order::OldestFirst => self.clients.push_back(&mut self.turn, seat),
                Order::NewestFirst { .. } => self.clients.push_front(&mut self.turn, seat),
            }
            return seat;
        };
        // The newest request of all is this client's now.
        if order != Order::OldestFirst && !self.is_later(seat) {
            self.clients.unlink(&mut self.turn, seat);
            self.clients.push_front(&mut self.turn, seat);
        }
        seat
    }

    /// Whose turn it is. Missed turns are paid one by one, so the loop is paid for by the requests that caused them.
    fn next_client(&mut self, order: Order) -> Option<Key> {
        loop {
            let is_over = self.turn.is_empty() || (order != Order::OldestFirst && self.turns_left == 0);
            if is_over {
                self.begin_round();
            }
            let seat = self.turn.first()?;
            self.turns_left = self.turns_left.saturating_sub(1);
            let client = self.clients.find_mut(seat)?;
            if client.debt == 0 {
                return Some(seat);
            }
            client.debt -= 1;
            self.pass_turn(seat);
        }
    }

    /// Those who were served in the last round come before those who were not: the latter have the older requests.
    fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.turn = self.clients.joined(mem::take(&mut self.later), mem::take(&mut self.turn));
        self.turns_left = self.turn.len();
    }

    /// Moves a client to those who were served in this round.
    fn pass_turn(&mut self, seat: Key) {
        self.clients.unlink(&mut self.turn, seat);
        self.clients.push_back(&mut self.later, seat);
        if let Some(client) = self.clients.find_mut(seat) {
            client.served_round = self.round;
        }
    }

    /// True if the client was served in this round.
    fn is_later(&self, seat: Key) -> bool {
        self.clients.find(seat).is_some_and(|client| client.served_round == self.round)
    }

    /// Drops the record of a client that has nothing waiting.
    fn forget(&mut self, seat: Key) {
        self.delist(seat);
        let list = if self.is_later(seat) { &mut self.later } else { &mut self.turn };
        self.clients.unlink(list, seat);
        if let Some(client) = self.clients.remove(seat) {
            self.by_hash.remove(&client.hash);
        }
    }

    /// Changes what a client holds and keeps it among those of its size.
    fn resize(&mut self, seat: Key, change: impl FnOnce(&mut Client)) {
        let Some(client) = self.clients.find_mut(seat) else { return };
        let before = client.size();
        change(client);
        if client.size() != before {
            self.delist_from(before, seat);
            self.enlist(seat);
        }
    }

    fn enlist(&mut self, seat: Key) {
        let Some(size) = self.clients.find(seat).map(Client::size) else { return };
        if let Some(list) = self.sizes.get_mut(size) {
            self.clients.push_back(list, seat);
            self.occupied |= 1 << size;
        }
    }

    fn delist(&mut self, seat: Key) {
        if let Some(size) = self.clients.find(seat).map(Client::size) {
            self.delist_from(size, seat);
        }
    }

    fn delist_from(&mut self, size: usize, seat: Key) {
        if let Some(list) = self.sizes.get_mut(size) {
            self.clients.unlink(list, seat);
            if list.is_empty() {
                self.occupied &= !(1 << size);
            }
        }
    }
}

#[cfg(test)]
mod tests;
