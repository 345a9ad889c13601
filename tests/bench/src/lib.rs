//! Measures the dispatcher and its peers in one run, interleaved, and reports medians and ratios.

pub mod affinity;
pub mod machine;
pub mod packet;
pub mod report;
pub mod statistics;
