//! Decides which variables of an outer cargo may reach the inner one: those that find crates, none that change code.

use std::{env, process::Command};

/// Variables that say where crates and toolchains are, or share the outer cargo's job slots.
const KEPT: [&str; 10] = [
    "CARGO_HOME",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "RUST_BACKTRACE",
    "RUSTUP_HOME",
    "RUSTUP_AUTO_INSTALL",
];

/// Beginnings of the names that cargo, rustup and rustc read or give to build scripts.
const SCRUBBED: [&str; 10] =
    ["CARGO", "RUST", "CLIPPY_", "DEP_", "OUT_DIR", "TARGET", "HOST", "PROFILE", "OPT_LEVEL", "LD_LIBRARY_PATH"];

/// Takes from a command every variable that could change what it compiles.
pub(crate) fn scrub(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_scrubbed) {
            command.env_remove(name);
        }
    }
}

fn is_scrubbed(name: &str) -> bool {
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    begins(&SCRUBBED) && !begins(&KEPT)
}

#[cfg(test)]
mod tests {
    use super::is_scrubbed;

    #[test]
    fn what_changes_code_is_scrubbed_and_what_finds_crates_is_kept() {
        for name in [
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "CARGO",
            "CARGO_TARGET_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_CFG_TARGET_ARCH",
            "CARGO_FEATURE_USER",
            "CLIPPY_ARGS",
            "LD_LIBRARY_PATH",
        ] {
            assert!(is_scrubbed(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_X_INDEX",
            "RUSTUP_HOME",
            "https_proxy",
        ] {
            assert!(!is_scrubbed(name), "{name}");
        }
    }
}
