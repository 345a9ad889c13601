//! Whether this process may load programs into the kernel.

use std::env;

/// Whether programs can be loaded here. Without root the test says so and ends, but never in CI.
///
/// # Panics
/// When not, in CI.
#[must_use]
pub fn is_capable() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    assert!(is_root || env::var_os("CI").is_none(), "programs for the kernel need root");
    if !is_root {
        eprintln!("skipped: programs for the kernel need root");
    }
    is_root
}
