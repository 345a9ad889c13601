//! Services: the addresses clients use, as the `dsp_services` table holds them.

use crate::address::{Family, Mapped};

/// IANA protocol number of TCP.
pub const TCP: u8 = 6;
/// IANA protocol number of UDP.
pub const UDP: u8 = 17;

/// Names a service by what a packet to it carries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceKey {
    /// The VIP.
    pub addr: Mapped,
    /// Destination port, host order.
    pub port: u16,
    /// [`TCP`] or [`UDP`].
    pub proto: u8,
    /// Always zero.
    pub pad: u8,
}

impl ServiceKey {
    /// The service that a packet to `addr`, `port`, `proto` would belong to.
    #[inline(always)]
    pub fn new<A: Family>(addr: A, port: u16, proto: u8) -> Self {
        Self { addr: addr.mapped(), port, proto, pad: 0 }
    }
}

/// What the packet path knows of a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Small number that flows, client entries and locks refer to; not used again while the daemon runs.
    pub id: u16,
    /// Index into `dsp_rings` of the ring in force; a new ring is written beside it and this number then changes.
    pub ring: u16,
    /// [`mode`]
    pub mode: u8,
    /// [`scheduler`]
    pub scheduler: u8,
    /// [`forward`]
    pub forward: u8,
    /// Bits of [`flags`].
    pub flags: u8,
    /// How long a client entry lives after its last new flow; nanoseconds.
    pub affinity_ns: u64,
}

impl Service {
    /// True if a client's new flows return to the client's backend.
    #[inline(always)]
    #[must_use]
    pub fn has_client_affinity(&self) -> bool {
        self.flags & flags::AFFINITY_CLIENT_IP != 0
    }
}

/// Values of [`Service::mode`].
pub mod mode {
    /// Packets are redirected; the dispatcher never ends a connection.
    pub const PACKET: u8 = 1;
    /// TLS ends here: packets go to the local stack, and their flows are counted.
    pub const SECURE: u8 = 2;
}

/// Values of [`Service::scheduler`]. Only the deterministic two matter to the kernel; all are there for the reader.
pub mod scheduler {
    /// Round robin.
    pub const RR: u8 = 1;
    /// Weighted round robin.
    pub const WRR: u8 = 2;
    /// Fewest live flows.
    pub const LC: u8 = 3;
    /// Fewest live flows for its weight.
    pub const WLC: u8 = 4;
    /// Source hash: the client's address alone chooses, by the ring.
    pub const SH: u8 = 5;
    /// Maglev hash: the 5-tuple chooses, by the ring.
    pub const MH: u8 = 6;
    /// The better of two random choices.
    pub const P2C: u8 = 7;
    /// Least load: live flows and traffic together, for its weight.
    pub const LEAST_LOAD: u8 = 8;

    /// True if the same packet and the same ring always give the same backend, so that no upcall is needed.
    #[inline(always)]
    #[must_use]
    pub fn is_deterministic(scheduler: u8) -> bool {
        matches!(scheduler, SH | MH)
    }
}

/// Values of [`Service::forward`].
pub mod forward {
    /// Destination translated on the way in, source on the way back.
    pub const NAT: u8 = 1;
    /// MAC addresses alone are rewritten; the backend answers the client itself.
    pub const DSR: u8 = 2;
}

/// Bits of [`Service::flags`].
pub mod flags {
    /// New flows of a client return to the client's backend while its client entry lives.
    pub const AFFINITY_CLIENT_IP: u8 = 1;
}
