//! Harness of the tests: the packet path, on the host and in the kernel.

pub mod packet_path;
