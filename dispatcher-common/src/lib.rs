//! What kernel and userspace agree on: table layouts, packet parsing, rewriting, and the dispatch decision.
//!
//! Everything here is pure: no I/O, no clock, no allocation, no `unsafe` (but `pod.rs`). The XDP program and the
//! daemon compile the same [`decide::decide`] and [`rewrite::apply`], so a host test of either is a test of both.
//! Integers are host order; wire order exists only as byte arrays.
#![no_std]

pub mod address;
pub mod backend;
pub mod checksum;
pub mod client;
pub mod client_lock;
pub mod config;
pub mod counter;
pub mod decide;
pub mod event;
pub mod flow;
pub mod hash;
pub mod packet;
pub mod parse;
#[cfg(feature = "user")]
pub mod pod;
pub mod rewrite;
pub mod ring;
pub mod service;
pub mod session;
pub mod table;
pub mod verdict;
