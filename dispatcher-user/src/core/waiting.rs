//! Packets that wait for a backend of their service, and the client locks that stand meanwhile.
//!
//! ```text
//!  no backend can take the flow ──▶ waits ──a backend becomes usable──▶ picked, sent on in order, lock removed
//!                                     └────────────timeout─────────────▶ dropped, counted, lock removed
//! ```
//!
//! A service's packets wait in one queue in the order in which they came, for they all wait for the same.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use dispatcher_common::client::ClientKey;

use super::random::Seeded;

/// A packet that waits.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// When it came.
    pub(super) since_ns: u64,
    /// Its client.
    pub(super) client: ClientKey,
    /// Interface that received it.
    pub(super) ifindex: u32,
    /// The frame, as received.
    pub(super) frame: Bytes,
}

/// The packets of one service that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    queue: VecDeque<Packet>,
    /// How many packets of each client are in the queue. Its keys are the locks that stand.
    clients: HashMap<ClientKey, usize, Seeded>,
}

impl Waiting {
    /// Nobody waits.
    pub(super) fn new(seed: u64) -> Self {
        Self { queue: VecDeque::new(), clients: HashMap::with_hasher(Seeded(seed)) }
    }

    /// Packets that wait.
    pub(super) fn packets(&self) -> usize {
        self.queue.len()
    }

    /// Clients whose packets wait.
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Packets of one client that wait.
    pub(super) fn packets_of(&self, client: &ClientKey) -> usize {
        self.clients.get(client).copied().unwrap_or_default()
    }

    /// Lets a packet wait.
    pub(super) fn push(&mut self, packet: Packet) {
        let count = self.clients.entry(packet.client).or_default();
        *count = count.saturating_add(1);
        self.queue.push_back(packet);
    }

    /// Takes out the oldest packet if it came at or before `until_ns`; true with it if it was its client's last.
    pub(super) fn pop_until(&mut self, until_ns: u64) -> Option<(Packet, bool)> {
        let packet = self.queue.pop_front_if(|packet| packet.since_ns <= until_ns)?;
        let count = self.packets_of(&packet.client).saturating_sub(1);
        if count == 0 {
            self.clients.remove(&packet.client);
        } else {
            self.clients.insert(packet.client, count);
        }
        Some((packet, count == 0))
    }
}
