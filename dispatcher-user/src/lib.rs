//! The dispatcher's daemon and command line, as a library that the binary and the tests share.

pub mod clock;
pub mod core;
pub mod datapath;
pub mod interface;
pub mod neighbours;
