//! Harness of the tests: the packet path, on the host and in the kernel; a lab on a stage, real clients, and what the
//! kernel says about both.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

pub mod crowd;
pub mod curl;
pub mod customer;
pub mod http;
pub mod kernel;
pub mod packet_path;
pub mod shop;
pub mod stage;
pub mod syn;

pub use stage::Stage;
