//! First packets on their way up: records of the `dsp_events` ring buffer.

/// What precedes the frame in a record.
///
/// A record has one of the sizes [`SMALL`], [`MEDIUM`], [`LARGE`], the smallest that holds header and frame: the verifier wants constants.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::Immutable, zerocopy::KnownLayout))]
pub struct EventHeader {
    /// When XDP saw the packet; coarse monotonic clock, nanoseconds.
    pub seen_ns: u64,
    /// Interface that received it.
    pub ifindex: u32,
    /// Bytes of the frame that follows.
    pub length: u16,
    /// Service ID.
    pub service: u16,
    /// Bits of [`flags`].
    pub flags: u8,
    /// Always zero.
    pub pad: [u8; 7],
}

/// Bits of [`EventHeader::flags`].
pub mod flags {
    /// This packet placed the client lock; whoever answers it removes the lock.
    pub const PLACED_LOCK: u8 = 1;
}

/// Bytes of an [`EventHeader`].
pub const HEADER_BYTES: usize = 24;

/// Bytes of a record for SYNs and small datagrams.
pub const SMALL: usize = 192;
/// Bytes of a record for full Ethernet frames.
pub const MEDIUM: usize = 2048;
/// Bytes of a record for the largest frame that XDP gives without fragments.
pub const LARGE: usize = 4096;

const _: () = assert!(size_of::<EventHeader>() == HEADER_BYTES);
