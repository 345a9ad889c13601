//! The dispatcher's daemon and command line, as a library that the binary and the tests share.

pub mod core;
