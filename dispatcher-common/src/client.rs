//! Client entries: which backend a client's new flows return to, as the `dsp_clients` table holds them.

use crate::address::{Family, Mapped};

/// Names a client of a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// The client's address.
    pub addr: Mapped,
    /// Service ID.
    pub service: u16,
    /// Always zero.
    pub pad: [u8; 2],
}

impl ClientKey {
    /// The client at `addr` as service `service` sees it.
    #[inline(always)]
    pub fn new<A: Family>(addr: A, service: u16) -> Self {
        Self { addr: addr.mapped(), service, pad: [0; 2] }
    }
}

/// A client's backend, for services with affinity `client-ip`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// When the entry stops counting; monotonic clock, nanoseconds. Every new flow moves it on.
    pub expires_ns: u64,
    /// Backend ID.
    pub backend: u16,
    /// The backend's generation when the entry was made.
    pub generation: u16,
    /// Always zero.
    pub pad: [u8; 4],
}
