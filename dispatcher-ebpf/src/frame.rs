//! The frame that XDP holds, as a [`Packet`]: every access is compared with the end first, as the verifier wants.
#![expect(unsafe_code, reason = "packet bytes are reached by pointers that the verifier checks")]

use core::hint;

use aya_ebpf::{EbpfContext as _, helpers, programs::XdpContext};
use dispatcher_common::packet::{Packet, PacketMut};

/// No header starts beyond: more than the longest chain of extension headers.
const MAX_OFFSET: usize = 0x3fff;

/// Bounds of a frame. Dispatching a packet never moves them.
#[derive(Clone, Copy)]
pub struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    /// The frame that `context` holds.
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        Self { start: context.data(), end: context.data_end() }
    }

    /// The address of `N` bytes at `offset`, if they lie within the frame.
    #[inline(always)]
    fn at<const N: usize>(&self, offset: usize) -> Option<*mut [u8; N]> {
        // The verifier follows no offset of 2^16 or more, and knows nothing of one that went through memory.
        if offset > MAX_OFFSET {
            return None;
        }
        let address = self.start + offset;
        (address + N <= self.end).then_some(address as *mut [u8; N])
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn length(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let address = self.at::<N>(offset)?;
        // SAFETY: `at` compared the range with the end of the frame, and an array of bytes needs no alignment.
        Some(unsafe { *address })
    }
}

impl PacketMut for Frame {
    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        let address = self.at::<N>(offset)?;
        // SAFETY: as in `read`, and nobody else writes the frame while its program runs.
        unsafe { *address = bytes };
        Some(())
    }
}

/// Copies the frame's first `length` bytes to `target`; false if it has fewer.
#[inline(always)]
pub fn copy_out(context: &XdpContext, target: &mut [u8], length: u32) -> bool {
    // A frame is never empty, but the verifier wants to see it compared, and the compiler would compare other values.
    let length = hint::black_box(length);
    if length == 0 || length as usize > target.len() {
        return false;
    }
    // SAFETY: `target` has room for `length` bytes, compared above; the helper checks the frame's side.
    let failed = unsafe { helpers::bpf_xdp_load_bytes(context.as_ptr().cast(), 0, target.as_mut_ptr().cast(), length) };
    failed == 0
}

/// The coarse monotonic clock, one timer tick exact: a mapped packet cannot afford the fine one.
#[inline(always)]
pub fn coarse_now_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads a clock.
    unsafe { helpers::bpf_ktime_get_coarse_ns() }
}
