//! The BPF side of the daemon: the only place that knows aya.

pub mod attach;
pub mod events;
pub mod inject;
pub mod load;
pub mod pin;
pub mod sessions;
pub mod sweep;
pub mod tables;
