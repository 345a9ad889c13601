//! The dispatcher's daemon and command line, as a library that the binary and the tests share.

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod core;
pub mod daemon;
pub mod datapath;
mod durable;
pub mod failure;
pub mod ingress;
pub mod interface;
pub mod neighbours;
mod output;
pub mod qos;
pub mod sessions;
pub mod state;
pub mod tunnel;
