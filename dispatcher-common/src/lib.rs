//! What kernel and userspace agree on.
#![no_std]
