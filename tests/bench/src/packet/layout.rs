//! The layouts of the bench's eBPF programs, and the promise that they are plain bytes.
#![expect(unsafe_code, reason = "Pod is the promise that a layout has no padding and no invalid values")]

#[path = "../../ebpf/src/layout.rs"]
#[expect(clippy::cast_possible_truncation, reason = "the words of a flow are parts of its number")]
#[allow(unreachable_pub, dead_code, reason = "the same file is part of the eBPF crate, which uses other parts of it")]
mod shared;

pub(super) use shared::*;

/// Promises that a type is plain bytes, and holds it to the size that its fields add up to.
macro_rules! pod {
    ($($type:ty = $bytes:expr),+ $(,)?) => { $(
        const _: () = assert!(size_of::<$type>() == $bytes);
        // SAFETY: the type is repr(C) of integers, for which every bit pattern is valid, and the assertion above holds
        // its size to the sum of its fields, so that it has no padding.
        unsafe impl aya::Pod for $type {}
    )+ };
}

pod! {
    Course = 7 * 8 + 2 * 4,
    Template = 7 * 8 + 2 * 4,
    LeanKey = 16,
    LeanFlow = 3 * 8 + 2 * 4 + 4 * 2 + 24,
    Arrivals = 2 * 8,
}

const _: () = assert!(size_of::<Frame>() == size_of::<Template>() - 4);
