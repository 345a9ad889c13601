//! What happens to a packet, and why.

use crate::{address::Family, counter::Counter};

/// The outcome of [`crate::decide::decide`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<A: Family> {
    /// The kernel gets the packet, untouched.
    Pass(Counter),
    /// Nobody gets it.
    Drop(Counter),
    /// It is rewritten and leaves by an interface.
    Forward(Forward<A>),
    /// The daemon gets it.
    Up(Upcall),
}

/// How a forwarded packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward<A: Family> {
    /// What is written at network and transport layer.
    pub translation: Translation<A>,
    /// Where it goes.
    pub hop: Hop,
    /// Backend ID, for the counters.
    pub backend: u16,
}

/// What is written at network and transport layer. TTL or hop limit always loses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation<A: Family> {
    /// Addresses and ports stay (`dsr`).
    None,
    /// The destination becomes the backend (`nat`, towards it).
    Destination(Endpoint<A>),
    /// The source becomes the VIP (`nat`, towards the client).
    Source(Endpoint<A>),
}

/// An address and port to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<A: Family> {
    /// Address.
    pub address: A,
    /// Port, host order.
    pub port: u16,
    /// What writing the address adds to a ones' complement sum ([`crate::checksum::delta`]).
    pub delta: u16,
}

/// The next hop of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// Interface to leave by.
    pub ifindex: u32,
    /// Destination MAC address.
    pub mac: [u8; 6],
    /// Source MAC address.
    pub source_mac: [u8; 6],
}

/// Why a packet goes up to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upcall {
    /// Service ID.
    pub service: u16,
    /// [`Counter::Upcall`] if the packet placed its client's lock, [`Counter::UpcallLocked`] if the lock stood,
    /// [`Counter::UpcallHeld`] if its flow is mapped but has packets with the daemon.
    pub reason: Counter,
}
