//! Client locks: while one stands, packets of its client that have no flow go to the locking dispatcher.

/// One row of `dsp_locks`; its key is a [`crate::client::ClientKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLock {
    /// When the lock stops counting, should its owner never remove it; monotonic clock, nanoseconds.
    pub expires_ns: u64,
    /// The locking dispatcher.
    pub node: u16,
    /// Always zero.
    pub pad: [u8; 6],
}

/// How long a lock stands at most: longer than any stall that still counts as a living daemon; nanoseconds.
pub const LIFETIME_NS: u64 = 1_000_000_000;
