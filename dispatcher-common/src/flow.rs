//! Flows: 5-tuples that have a backend, as the `dsp_flows4` and `dsp_flows6` tables hold them.
//!
//! A `nat` flow has two entries: the client's direction and the backend's. A `dsr` flow and one that ends here have the
//! first alone.

use crate::{
    address::Family,
    backend::Backend,
    checksum,
    service::{self, Service},
    verdict::Endpoint,
};

/// A 5-tuple as it stands in a packet. 16 bytes for IPv4, 40 for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey<A> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// Source port, host order.
    pub sport: u16,
    /// Destination port, host order.
    pub dport: u16,
    /// [`service::TCP`] or [`service::UDP`].
    pub proto: u8,
    /// Always zero.
    pub pad: [u8; 3],
}

impl<A: Family> FlowKey<A> {
    /// The key of packets from `backend` that answer packets with this key in `nat` mode.
    #[inline(always)]
    #[must_use]
    pub fn answered_by(&self, backend: &Backend) -> Self {
        Self {
            src: A::from_mapped(&backend.addr),
            dst: self.src,
            sport: backend.port,
            dport: self.sport,
            proto: self.proto,
            pad: [0; 3],
        }
    }
}

/// What the packet path knows of one direction of a flow.
///
/// 64 bytes for IPv4, so that behind the 16-byte key a mapped packet touches one cache line of the value; 80 for IPv6.
/// Packets and bytes are plain adds, not atomic ones: receive-side scaling keeps a flow on one CPU. Where it does not,
/// the counts are a lower bound.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow<A: Family> {
    /// Packets seen.
    pub packets: u64,
    /// Bytes seen, Ethernet header included.
    pub bytes: u64,
    /// When the last packet was seen; coarse monotonic clock, nanoseconds.
    pub last_seen_ns: u64,
    /// In [`state::HELD`]: the ring position that the daemon must have consumed before a packet may pass directly.
    /// Zero until the first packet finds the entry.
    pub fence: u64,
    /// The address that is written: the backend's on the way in, the VIP on the way back.
    pub address: A,
    /// The port that is written, host order.
    pub port: u16,
    /// Backend ID, or [`NO_BACKEND`].
    pub backend: u16,
    /// The backend's generation when the flow was made.
    pub generation: u16,
    /// Service ID.
    pub service: u16,
    /// What writing `address` adds to a ones' complement sum.
    pub delta: u16,
    /// [`target`]
    pub target: u8,
    /// [`state`]
    pub state: u8,
    /// MAC address of the client, or of the router through which its packets come.
    pub peer_mac: [u8; 6],
    /// MAC address of ours that the client's packets come to.
    pub local_mac: [u8; 6],
    /// Interface on which the client's packets come.
    pub ifindex: u32,
    /// Fills the value up to a multiple of eight; always zero.
    pub pad: A::Padding,
}

/// The backend of a flow that has none.
pub const NO_BACKEND: u16 = u16::MAX;

/// Values of [`Flow::target`]: where packets of the entry go.
pub mod target {
    /// To the backend, destination translated.
    pub const BACKEND_NAT: u8 = 1;
    /// Back to the client, source translated.
    pub const CLIENT: u8 = 2;
    /// To the backend, MAC addresses rewritten.
    pub const BACKEND_DSR: u8 = 3;
    /// To the local stack, untouched: TLS ends here, and no one backend has the flow.
    pub const LOCAL: u8 = 4;
}

/// Values of [`Flow::state`].
///
/// ```text
///  daemon writes ─▶ HELD ─ring drained─▶ SYN ─ACK─▶ ESTABLISHED ─FIN─▶ CLOSING
///  kernel writes ───────────────────────▶ │                │              │
///                                         └──────RST───────┴─────▶ CLOSED ┤
///                       ▲                                                 │
///                       └────────────────── SYN (the port is used again) ─┘
/// ```
pub mod state {
    /// Packets of it may still be on their way through the daemon; later ones must not overtake them.
    pub const HELD: u8 = 0;
    /// TCP: a SYN was seen.
    pub const SYN: u8 = 1;
    /// TCP: an acknowledgement was seen. UDP: always.
    pub const ESTABLISHED: u8 = 2;
    /// TCP: the sender of this direction sent FIN.
    pub const CLOSING: u8 = 3;
    /// TCP: the sender of this direction sent RST.
    pub const CLOSED: u8 = 4;
}

/// What a packet says of where its sender is: replies go the way requests came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Source MAC address of the frame.
    pub peer_mac: [u8; 6],
    /// Destination MAC address of the frame.
    pub local_mac: [u8; 6],
    /// Interface that received it.
    pub ifindex: u32,
}

/// A new flow that is given to a backend: what both of its entries are made of.
///
/// It borrows what the packet says, because a copy would not fit on a BPF stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment<'a, A: Family> {
    /// The client's 5-tuple.
    pub key: &'a FlowKey<A>,
    /// Where the client's packets come from.
    pub arrival: &'a Arrival,
    /// Service ID.
    pub service: u16,
    /// Backend ID.
    pub backend: u16,
    /// The backend's generation.
    pub generation: u16,
    /// [`target::BACKEND_NAT`] or [`target::BACKEND_DSR`].
    pub target: u8,
    /// What is written on the way in.
    pub destination: Endpoint<A>,
}

impl<'a, A: Family> Assignment<'a, A> {
    /// Gives the flow `key` of `service` to `backend`.
    #[inline(always)]
    pub fn new(key: &'a FlowKey<A>, arrival: &'a Arrival, service: &Service, (id, backend): (u16, &Backend)) -> Self {
        let nat = service.forward == service::forward::NAT;
        let address = if nat { A::from_mapped(&backend.addr) } else { key.dst };
        Self {
            key,
            arrival,
            service: service.id,
            backend: id,
            generation: backend.generation,
            target: if nat { target::BACKEND_NAT } else { target::BACKEND_DSR },
            destination: Endpoint {
                address,
                port: if nat { backend.port } else { key.dport },
                delta: checksum::delta(key.dst.sum(), address.sum()),
            },
        }
    }

    /// The entry of the client's direction, in `state`, with counters at zero.
    #[inline(always)]
    pub fn towards_backend(&self, state: u8) -> Flow<A> {
        self.entry(self.target, state, self.destination)
    }

    /// The key and entry of the backend's direction; none in `dsr` mode.
    #[inline(always)]
    pub fn towards_client(&self) -> Option<(FlowKey<A>, Flow<A>)> {
        (self.target == target::BACKEND_NAT).then(|| (self.answer_key(), self.answer_entry()))
    }

    /// The key of the backend's direction in `nat` mode.
    #[inline(always)]
    pub fn answer_key(&self) -> FlowKey<A> {
        let Endpoint { address, port, .. } = self.destination;
        FlowKey { src: address, dst: self.key.src, sport: port, dport: self.key.sport, ..*self.key }
    }

    /// The entry of the backend's direction in `nat` mode.
    #[inline(always)]
    pub fn answer_entry(&self) -> Flow<A> {
        // The way back undoes what the way in adds: negation, in ones' complement.
        let delta = !self.destination.delta;
        let source = Endpoint { address: self.key.dst, port: self.key.dport, delta };
        self.entry(target::CLIENT, state::ESTABLISHED, source)
    }

    #[inline(always)]
    fn entry(&self, target: u8, state: u8, endpoint: Endpoint<A>) -> Flow<A> {
        Flow {
            packets: 0,
            bytes: 0,
            last_seen_ns: 0,
            fence: 0,
            address: endpoint.address,
            port: endpoint.port,
            backend: self.backend,
            generation: self.generation,
            service: self.service,
            delta: endpoint.delta,
            target,
            state,
            peer_mac: self.arrival.peer_mac,
            local_mac: self.arrival.local_mac,
            ifindex: self.arrival.ifindex,
            pad: A::Padding::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::V4;

    #[test]
    fn the_two_directions_undo_each_other() {
        let key = FlowKey::<V4> {
            src: [198, 51, 100, 2],
            dst: [203, 0, 113, 10],
            sport: 40_000,
            dport: 80,
            proto: service::TCP,
            pad: [0; 3],
        };
        let backend = Backend { addr: [10, 77, 1, 11].mapped(), port: 8080, ..Backend::default() };
        let service = Service { forward: service::forward::NAT, ..Service::default() };
        let arrival = Arrival::default();
        let assignment = Assignment::new(&key, &arrival, &service, (7, &backend));
        let (answer, entry) = assignment.towards_client().unwrap();
        assert_eq!(answer, key.answered_by(&backend));
        assert_eq!((entry.address, entry.port), (key.dst, key.dport));
        let there_and_back = checksum::update(checksum::update(0x1234, assignment.destination.delta), entry.delta);
        assert_eq!(there_and_back, 0x1234);
        let service = Service { forward: service::forward::DSR, ..service };
        assert_eq!(Assignment::new(&key, &arrival, &service, (7, &backend)).towards_client(), None);
    }
}
