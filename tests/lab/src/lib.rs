//! A lab in network namespaces: a client, a dispatcher, a bridge, and backends that answer.
//!
//! ```text
//!  dsp-client              dsp-lb1                    dsp-farm              dsp-b1 … dsp-bN
//!  lan0 ──────────── client0   farm0 ──────────── lb1  farm  b1 ──────────── net0
//!  198.51.100.2–.9   198.51.100.1   10.77.1.1        (bridge)              10.77.1.11 …
//! ```
//!
//! Everything is removed when its owner is dropped. A lab's names end in its suffix, so that
//! several stand side by side.
#![forbid(unsafe_code)]

pub mod addresses;
mod background;
mod bpffs;
pub mod certificates;
mod command;
pub mod config;
mod daemon;
pub mod demo_backend;
mod directory;
mod error;
mod lab;
mod namespace;
mod process;
mod record;
mod suffix;
mod topology;
mod wait;

pub use nix::sys::signal::Signal;

pub use background::{Status, remove};
pub use bpffs::mount_bpffs;
pub use daemon::Daemon;
pub use directory::{Claim, RunDirectory};
pub use error::LabError;
pub use lab::{Lab, LabOptions};
pub use namespace::Namespace;
pub use process::Process;
pub use suffix::Suffix;
pub use topology::{BACKEND_INTERFACE, CLIENT_INTERFACE, Topology, namespace_names};
pub use wait::wait_until;
