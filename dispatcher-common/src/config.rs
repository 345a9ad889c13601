//! What the daemon tells the XDP program about itself, in the one row of `dsp_config`.

/// Grows with every change of a table's layout. A daemon that finds tables of another version refuses them.
pub const LAYOUT_VERSION: u32 = 3;

/// The row of `dsp_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// [`LAYOUT_VERSION`] of whoever wrote the tables.
    pub layout_version: u32,
    /// Which rare events the program logs: 0 none, 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    pub log_level: u32,
    /// Until when first packets may be sent up: the daemon's heartbeat; monotonic clock, nanoseconds.
    pub upcall_until_ns: u64,
    /// From when on the program places no new flows: the daemon's lease; 0 means never.
    pub lease_until_ns: u64,
    /// This dispatcher's number, written into the locks it places.
    pub node: u16,
    /// Always zero.
    pub pad: [u8; 6],
}

impl Config {
    /// True while the daemon answers upcalls.
    #[inline(always)]
    #[must_use]
    pub fn daemon_is_alive(&self, now_ns: u64) -> bool {
        now_ns < self.upcall_until_ns
    }

    /// True once the daemon's lease has run out.
    #[inline(always)]
    #[must_use]
    pub fn lease_is_over(&self, now_ns: u64) -> bool {
        self.lease_until_ns != 0 && now_ns >= self.lease_until_ns
    }
}
