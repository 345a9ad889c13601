//! What goes into the core, and what it asks for.

use std::net::IpAddr;

use bytes::Bytes;
use dispatcher_common::{
    address::{V4, V6},
    backend::{Backend, BackendStats},
    client::{Client, ClientKey},
    flow::{Flow, FlowKey},
    ring::Ring,
    service::{Service, ServiceKey},
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// XDP sent a packet up.
    Packet(Upcall),
    /// The next hop towards an address of a backend was found, has changed, or was lost.
    Neighbour {
        /// The backend's address.
        address: IpAddr,
        /// How frames reach it; `None` if it is unreachable.
        hop: Option<NextHop>,
    },
    /// The counters of a backend, summed over all CPUs, as last read from `dsp_be_stats`.
    Stats {
        /// Backend ID.
        backend: u16,
        /// The counters since the table was made.
        stats: BackendStats,
    },
    /// A whole pass over the flow tables is complete: these are the live flows of each backend.
    Swept {
        /// Backend ID and live flows; a backend that is not named has none.
        live: Vec<(u16, u64)>,
    },
    /// Time has passed; sent at least every 100 ms.
    Tick,
}

/// A packet that XDP sent up.
#[derive(Clone, Debug)]
pub struct Upcall {
    /// Service ID.
    pub service: u16,
    /// Interface that received it.
    pub ifindex: u32,
    /// True if it placed its client's lock.
    pub placed_lock: bool,
    /// The frame, as received.
    pub frame: Bytes,
}

/// How frames reach a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Interface to leave by.
    pub ifindex: u32,
    /// Destination MAC address: the backend's, or its gateway's.
    pub mac: [u8; 6],
    /// Source MAC address: the interface's.
    pub source_mac: [u8; 6],
}

/// Something to be done. Commands are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write an IPv4 flow's entry.
    WriteFlow4(FlowKey<V4>, Flow<V4>),
    /// Write an IPv6 flow's entry.
    WriteFlow6(FlowKey<V6>, Flow<V6>),
    /// Write a client's entry.
    WriteClient(ClientKey, Client),
    /// Remove a client's lock.
    RemoveLock(ClientKey),
    /// Send a frame, already rewritten, out of an interface.
    Inject {
        /// Interface to leave by.
        ifindex: u32,
        /// The frame.
        frame: Bytes,
    },
    /// Write a row of `dsp_backends`.
    WriteBackend(u16, Backend),
    /// Write a service's entry.
    WriteService(ServiceKey, Service),
    /// Remove a service's entry.
    RemoveService(ServiceKey),
    /// Write a row of `dsp_rings`.
    WriteRing(u16, Box<Ring>),
    /// Find the next hop towards an address, follow it, and send [`Event::Neighbour`] for every change.
    Follow(IpAddr),
    /// Stop following an address.
    Unfollow(IpAddr),
}
