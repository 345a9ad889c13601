//! The packet bench, shortly: every row is there, with numbers that can be.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use dispatcher_bench::{
    packet::{self, Effort},
    report::{Report, Section},
    statistics::Summary,
};
use std::{env, path::PathBuf, process::Command};

/// Whether namespaces can be made here. Without root the test says so and ends, but never in CI.
fn is_capable() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    assert!(is_root || env::var_os("CI").is_none(), "network namespaces need root");
    if !is_root {
        eprintln!("skipped: network namespaces need root");
    }
    is_root
}

/// The dispatcher that `cargo xtask test` has built, or one that was built before.
fn dispatcher() -> PathBuf {
    env::var_os("DISPATCHER_BIN").map_or_else(
        || {
            let folder = env::current_exe().unwrap();
            folder.ancestors().nth(3).unwrap().join("release/dispatcher")
        },
        PathBuf::from,
    )
}

fn section<'a>(report: &'a Report, name: &str) -> &'a Section {
    report.sections.iter().find(|section| section.name == name).unwrap()
}

fn row(section: &Section, case: &str, subject: &str) -> Summary {
    let found = section.rows.iter().find(|row| row.case == case && row.subject == subject);
    found.unwrap_or_else(|| panic!("{} has no row {case}, {subject}", section.name)).samples.summary().unwrap()
}

#[test]
fn every_row_of_the_packet_bench_is_measured() {
    if !is_capable() {
        return;
    }
    let report = packet::run(&Effort::QUICK, &dispatcher()).unwrap();
    println!("{}", report.markdown());

    let cost = section(&report, "packet/cost");
    for case in ["one hot flow", "1K flows at random", "64K flows at random"] {
        let ours = row(cost, case, "dispatcher");
        assert_eq!(ours.count, 3);
        // More than nothing, and no more than a system call: whatever the machine.
        assert!((5.0..20_000.0).contains(&ours.median), "{case}: {ours:?}");
        let floor = row(cost, case, "lean DNAT (floor)");
        assert!((2.0..20_000.0).contains(&floor.median), "{case}: {floor:?}");
        // What does the same work and checks as well is not cheaper by half.
        assert!(ours.median > floor.median / 2.0, "{case}: {ours:?}, {floor:?}");
    }
    assert_eq!(cost.targets.len(), 2);

    let rate = section(&report, "packet/rate");
    let case = "64-byte frames, 1K flows";
    let names = ["bare XDP redirect", "lean DNAT (floor)", "dispatcher", "kernel routing", "nftables DNAT"];
    let alone = row(rate, case, "generator alone");
    for name in names {
        let found = row(rate, case, name);
        assert!((10_000.0..1e9).contains(&found.median), "{name}: {found:?}");
        assert!(found.min < alone.max, "{name} is faster than frames come: {found:?}, {alone:?}");
    }

    let new_flows = section(&report, "packet/new-flows");
    for subject in ["dispatcher, through the daemon", "dispatcher, by hash in the kernel (mh)", "bare XDP redirect"] {
        let found = row(new_flows, "new flows", subject);
        assert!((1_000.0..1e8).contains(&found.median), "{subject}: {found:?}");
    }
    let lost = new_flows.targets.iter().find(|target| target.what == "first packets lost").unwrap();
    assert_eq!(lost.samples.summary().unwrap().max, 0.0, "first packets were lost");
}
