//! The verdict table: every row runs on the host and in the kernel, and both do what the row says.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

mod mapped;

use dispatcher_tests::packet_path::row::{Row, check};

#[test]
fn mapped_packets_are_rewritten_and_counted() {
    check(&mapped::rows());
}

/// All rows there are.
fn all() -> Vec<Row> {
    [mapped::rows()].into_iter().flatten().collect()
}
