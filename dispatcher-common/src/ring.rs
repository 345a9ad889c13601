//! Consistent-hash rings: which backend a hash leads to, as the `dsp_rings` table holds them.
//!
//! The daemon fills a ring by Maglev's population rule (Eisenbud et al., "Maglev: A Fast and Reliable Software Network
//! Load Balancer", NSDI 2016, 3.4); the packet path only reads it.

/// Slots of a ring. A prime, as Maglev's permutations need, near 2^14: a hundred backends differ by at most 1 %.
pub const SLOTS: usize = 16_381;

/// A slot without a backend.
pub const EMPTY: u16 = u16::MAX;

/// One row of `dsp_rings`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Backend IDs, or [`EMPTY`].
    pub slots: [u16; SLOTS],
}

/// The slot that a hash leads to.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below SLOTS")]
#[inline(always)]
#[must_use]
pub fn slot(hash: u64) -> usize {
    (hash % SLOTS as u64) as usize
}
