//! The control socket: how the command line and the daemon talk.
//!
//! One request a line, one response a line, JSON both, over a Unix stream socket.

pub mod api;
pub mod claim;
pub mod client;
pub mod server;
pub mod tuple;
mod view;
