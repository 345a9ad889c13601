//! Each invariant is shown to hold for a good repository, and to be missed in one that breaks it.

use super::*;

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

/// The places that a rule finds in one file.
fn found(rule: Rule, path: &str, text: &str) -> Vec<(String, usize)> {
    rule(&[source(path, text)]).into_iter().map(|found| (found.path, found.line)).collect()
}

#[test]
fn a_common_crate_with_a_clock_or_io_is_found() {
    let good = "#![no_std]\n// std::time is absent\n#[cfg(test)]\nmod tests { use std::time::Instant; }\n";
    assert_eq!(found(common_is_pure, "dispatcher-common/src/lib.rs", good), []);
    let path = "dispatcher-common/src/decide.rs";
    for line in ["use std::time::Instant;", "use tokio::net::UdpSocket;", "use aya::Pod;"] {
        assert_eq!(found(common_is_pure, path, line), [(path.to_owned(), 1)], "{line}");
    }
    assert_eq!(found(common_is_pure, UNSAFE_FILES[0], "unsafe impl aya::Pod for X {}"), []);
    assert_eq!(found(common_is_pure, "dispatcher-common/src/lib.rs", "pub mod flow;").len(), 1);
}

#[test]
fn a_core_that_fetches_time_randomness_or_packets_is_found() {
    let path = "dispatcher-user/src/core/dispatcher.rs";
    assert_eq!(found(core_is_pure, path, "fn handle(now: Nanoseconds, seed: u64) {}"), []);
    for line in ["use tokio::time;", "let now = Instant::now();", "let x = rand::random();", "use std::net::UdpSocket;"]
    {
        assert_eq!(found(core_is_pure, path, line), [(path.to_owned(), 1)], "{line}");
    }
    assert_eq!(found(core_is_pure, "dispatcher-user/src/clock.rs", "Instant::now()"), []);
}

#[test]
fn aya_outside_datapath_is_found() {
    assert_eq!(found(only_datapath_knows_aya, "dispatcher-user/src/datapath.rs", "use aya::Ebpf;"), []);
    assert_eq!(found(only_datapath_knows_aya, "dispatcher-user/src/datapath/load.rs", "use aya::Ebpf;"), []);
    let path = "dispatcher-user/src/control/server.rs";
    assert_eq!(found(only_datapath_knows_aya, path, "\nuse aya::maps::MapData;"), [(path.to_owned(), 2)]);
}

#[test]
fn unsafe_code_without_a_reason_is_found() {
    assert_eq!(found(unsafe_is_in_three_files, UNSAFE_FILES[1], "unsafe { read() }"), []);
    let path = "dispatcher-user/src/daemon.rs";
    assert_eq!(found(unsafe_is_in_three_files, path, "// unsafe\nunsafe { read() }"), [(path.to_owned(), 2)]);
    assert_eq!(found(unsafe_is_in_three_files, path, "#![allow(unsafe_code)]"), [(path.to_owned(), 1)]);
    let excused = "#[expect(unsafe_code, reason = \"an attribute\")]\n#[unsafe(no_mangle)]\n";
    assert_eq!(found(unsafe_is_in_three_files, path, excused), []);
}

#[test]
fn a_queue_without_a_bound_is_found() {
    let path = "dispatcher-user/src/daemon.rs";
    assert_eq!(found(no_queue_is_unbounded, path, "let (a, b) = mpsc::channel(64);\nmpsc::channel::<u8>(64);"), []);
    for line in ["mpsc::unbounded_channel()", "flume::unbounded()", "mpsc::channel()", "mpsc::channel::<Vec<u8>>()"] {
        assert_eq!(found(no_queue_is_unbounded, path, line), [(path.to_owned(), 1)], "{line}");
    }
}

#[test]
fn a_long_file_is_found() {
    let path = "xtask/src/main.rs";
    assert_eq!(found(files_are_short, path, &"\n".repeat(LONGEST_FILE)), []);
    assert_eq!(found(files_are_short, path, &"\n".repeat(LONGEST_FILE + 1)), [(path.to_owned(), LONGEST_FILE + 1)]);
}

#[test]
fn a_long_or_absent_document_is_found() {
    let [(first, first_limit), (second, _)] = DOCUMENTS;
    let good = [source(first, &"\n".repeat(first_limit - 1)), source(second, "short\n")];
    assert_eq!(documents_are_short(&good), []);
    let long = [source(first, &"\n".repeat(first_limit)), source(second, "short\n")];
    assert_eq!(documents_are_short(&long).len(), 1);
    assert_eq!(documents_are_short(&good[..1]).len(), 1);
}

#[test]
fn a_path_of_one_machine_is_found() {
    assert_eq!(found(no_machine_is_named, "README.md", "see /etc/dispatcher and /usr/bin"), []);
    for place in [concat!("/wo", "rk/main"), concat!("/ho", "me/me/x"), concat!("/ro", "ot/.cargo")] {
        assert_eq!(found(no_machine_is_named, "README.md", place), [("README.md".to_owned(), 1)]);
    }
}

#[test]
fn the_checks_do_not_find_themselves() {
    let own = source("xtask/src/check/architecture.rs", include_str!("../architecture.rs"));
    let tests = source("xtask/src/check/architecture/tests.rs", include_str!("tests.rs"));
    for rule in [unsafe_is_in_three_files, no_queue_is_unbounded, files_are_short, no_machine_is_named] {
        assert_eq!(rule(&[own.clone(), tests.clone()]), []);
    }
}
