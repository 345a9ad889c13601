//! Layout of everything that crosses between kernel and userspace, asserted, and the promise that it is plain bytes.
#![expect(unsafe_code, reason = "Pod is the promise that a layout has no padding and no invalid values")]

use crate::{
    address::{V4, V6},
    backend::{Backend, BackendStats},
    client::{Client, ClientKey},
    client_lock::ClientLock,
    config::Config,
    counter::Stats,
    flow::{Flow, FlowKey},
    ring::Ring,
    service::{Service, ServiceKey},
    session::{Session, SessionKey},
};

/// Promises that a type is plain bytes, and holds it to a size: what the fields add up to, so that no padding hides.
macro_rules! pod {
    ($($type:ty = $bytes:expr),+ $(,)?) => { $(
        const _: () = assert!(size_of::<$type>() == $bytes);
        // SAFETY: the type is repr(C) of integers and byte arrays, for which every bit pattern is valid, and the
        // assertion above holds its size to the sum of its fields, so that it has no padding.
        unsafe impl aya::Pod for $type {}
    )+ };
}

pod! {
    ServiceKey = 16 + 2 + 1 + 1,
    Service = 2 + 2 + 4 + 8,
    Backend = 16 + 2 + 2 + 4 + 6 + 6 + 2 + 1 + 1 + 2 + 2,
    BackendStats = 6 * 8,
    FlowKey<V4> = 4 + 4 + 2 + 2 + 1 + 3,
    FlowKey<V6> = 16 + 16 + 2 + 2 + 1 + 3,
    Flow<V4> = 4 * 8 + 4 + 5 * 2 + 2 + 6 + 6 + 4,
    Flow<V6> = 4 * 8 + 16 + 5 * 2 + 2 + 6 + 6 + 4 + 4,
    ClientKey = 16 + 2 + 2,
    Client = 8 + 2 + 2 + 4,
    ClientLock = 8 + 2 + 6,
    SessionKey = 16,
    Session = 5 * 8 + 4 * 2 + 1 + 7,
    Config = 4 + 4 + 8 + 8 + 2 + 6,
    Ring = 2 * crate::ring::SLOTS,
    Stats = 8 * crate::counter::Counter::ALL.len(),
}
