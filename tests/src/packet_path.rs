//! The packet path under test: packets, tables, and the two ways to run the decision on them.
//!
//! ```text
//!              ┌─▶ host: parse, decide, rewrite ──▶ outcome, tables ─┐
//!  row: tables,│                                                     ├─ all the same?
//!  packets   ──┼─▶ kernel: BPF_PROG_TEST_RUN ─────▶ outcome, tables ─┤
//!              └─▶ what the row says ─────────────▶ outcome, tables ─┘
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking, its helpers too"
)]

pub mod capable;
pub mod host;
pub mod junk;
pub mod kernel;
pub mod oracle;
pub mod packet;
pub mod row;
pub mod scene;
pub mod world;
