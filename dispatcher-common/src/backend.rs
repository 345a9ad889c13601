//! Backends: the machines that serve, as the `dsp_backends` and `dsp_be_stats` tables hold them.

use crate::address::Mapped;

/// One row of `dsp_backends`, indexed by backend ID; all zero where no backend is.
///
/// Small and hot: a mapped packet takes its MAC addresses and interface from here, so that a neighbour that moves is
/// one write, not one for each flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// Address that serves.
    pub addr: Mapped,
    /// Port that serves, host order.
    pub port: u16,
    /// Grows by one each time the ID is given to another backend. A flow of an older generation is stale.
    pub generation: u16,
    /// Interface that leads to it; 0 while its neighbour is unknown.
    pub ifindex: u32,
    /// MAC address of it, or of the gateway to it.
    pub mac: [u8; 6],
    /// MAC address of our interface.
    pub source_mac: [u8; 6],
    /// Share of new flows; 0 takes none.
    pub weight: u16,
    /// [`state`]
    pub state: u8,
    /// [`health`]
    pub health: u8,
    /// Service ID. The packet path does not need it; a daemon that takes the tables over does.
    pub service: u16,
    /// Always zero.
    pub pad: [u8; 2],
}

impl Backend {
    /// True if packets can be sent to it at all.
    #[inline(always)]
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.ifindex != 0
    }

    /// True if packets of flows that it already has may be sent to it.
    #[inline(always)]
    #[must_use]
    pub fn keeps_flows(&self, generation: u16) -> bool {
        self.generation == generation && matches!(self.state, state::READY | state::DRAIN)
    }

    /// True if it may be given a new flow.
    #[inline(always)]
    #[must_use]
    pub fn takes_flows(&self) -> bool {
        self.state == state::READY && self.health != health::DOWN && self.weight != 0 && self.is_reachable()
    }
}

/// Values of [`Backend::state`]: what the operator wants.
pub mod state {
    /// No backend has this ID.
    pub const VACANT: u8 = 0;
    /// Takes new flows.
    pub const READY: u8 = 1;
    /// Keeps its flows and takes no new ones.
    pub const DRAIN: u8 = 2;
    /// Gets nothing; its flows are picked anew.
    pub const MAINT: u8 = 3;
}

/// Values of [`Backend::health`]: what the dispatcher sees.
pub mod health {
    /// Nothing is known against it.
    pub const UNKNOWN: u8 = 0;
    /// It answers.
    pub const UP: u8 = 1;
    /// It cannot be reached.
    pub const DOWN: u8 = 2;
}

/// One row of `dsp_be_stats`, one copy for each CPU; the reader adds the copies up.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendStats {
    /// Packets sent to the backend.
    pub packets_in: u64,
    /// Bytes of those packets, Ethernet header included.
    pub bytes_in: u64,
    /// Packets of the backend sent back to clients.
    pub packets_out: u64,
    /// Bytes of those packets, Ethernet header included.
    pub bytes_out: u64,
    /// Flows that XDP itself gave to the backend.
    pub flows_opened: u64,
    /// Flows of the backend whose client sent FIN or RST.
    pub flows_closed: u64,
}
