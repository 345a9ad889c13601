//! What a dispatcher's end costs its flows: nothing when it is killed, what was configured when it is asked to end.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{Signal, addresses::VIP4, wait_until};
use dispatcher_tests::{
    Stage,
    curl::{self, Download, Downloads},
    http, kernel,
    stage::SOON,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs};

const DOWNLOADS: u64 = 60;
const BYTES: u64 = 800_000;
/// Ten seconds, in which a dispatcher ends and another one starts.
const RATE: u64 = 80_000;

/// Starts downloads over all backends, and waits until each has its flow.
fn download(stage: &mut Stage) -> Downloads {
    let before: u64 = stage.picks("web").values().sum();
    let downloads = Downloads::start(stage.client(), &format!("http://{VIP4}/bytes/{BYTES}?rate={RATE}"), DOWNLOADS);
    wait_until("all downloads", SOON, || stage.picks("web").values().sum::<u64>() >= before + DOWNLOADS).unwrap();
    downloads
}

fn all_whole() -> Vec<Download> {
    vec![Download::whole(BYTES); usize::try_from(DOWNLOADS).unwrap()]
}

/// Ends the dispatcher by a signal.
fn end(stage: &mut Stage, signal: Signal) {
    stage.lab.daemon().process().signal(signal).unwrap();
    wait_until("the dispatcher's end", SOON, || stage.lab.daemon().ended().unwrap().is_some()).unwrap();
}

/// The client's direction of every flow: who has it.
fn holders(stage: &Stage) -> BTreeMap<String, (Value, Value)> {
    let entries = kernel::entries(stage.lab.directory(), "dsp_flows4");
    let to_backend = entries.into_iter().filter(|entry| entry["value"]["target"] == 1);
    to_backend
        .map(|entry| (entry["key"].to_string(), (entry["value"]["backend"].clone(), entry["value"]["service"].clone())))
        .collect()
}

#[test]
fn killed_daemon_costs_no_flow_and_the_next_one_takes_over() {
    let Some(mut stage) = Stage::start("kill") else { return };
    stage.done(&["backend", "weight", "web/b3", "50"]);
    let mut downloads = download(&mut stage);
    let before = holders(&stage);
    assert!(before.len() >= 60, "{before:?}");

    end(&mut stage, Signal::SIGKILL);
    assert_eq!(stage.call(&["status"]).status.code(), Some(3), "nobody answers");
    let directory = stage.lab.directory().clone();
    // The last heartbeat counts for a moment; then the kernel picks by itself, and a lock that stands delays nobody.
    let url = format!("http://{VIP4}/");
    for _ in 0..30 {
        curl::answer(stage.client(), &[&url]);
    }
    let picked = kernel::counter(&directory, "picked_in_kernel");
    assert!(picked >= 25, "{picked} of 30 connections were picked in the kernel");
    assert!(downloads.are_running(), "the downloads were to outlast the daemon");

    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    let log = fs::read_to_string(directory.log("dispatcher")).unwrap();
    assert_eq!(log.matches("taken over").count(), 2, "both interfaces are taken over:\n{log}");
    let after = holders(&stage);
    for (flow, holder) in &before {
        assert_eq!(after.get(flow), Some(holder), "{flow}");
    }
    assert_eq!(stage.items(&["backend", "list", "web"])[2]["weight"], 50, "what the CLI changed is kept");
    let flows = stage.items(&["flow", "list", "--service", "web"]);
    assert!(flows.iter().all(|flow| flow["backend"].as_str().unwrap().starts_with('b')), "{flows:?}");
    let (upcalls, picked) = (stage.status("upcalls"), stage.count("picked_in_kernel"));
    for _ in 0..30 {
        curl::answer(stage.client(), &[&url]);
    }
    let picked_now = stage.count("picked_in_kernel") - picked;
    assert_eq!(stage.status("upcalls") - upcalls + picked_now, 30, "the new daemon picks");
    assert!(picked_now < 5, "{picked_now}");
    assert_eq!(downloads.finish(), all_whole());
}

#[test]
fn sigterm_keeps_forwarding_where_that_is_configured() {
    let Some(mut stage) = Stage::start_with("keep", |options| options.on_exit = "keep".to_owned()) else { return };
    let mut downloads = download(&mut stage);
    end(&mut stage, Signal::SIGTERM);
    let pins = stage.lab.directory().pins().to_owned();
    assert!(pins.join("link_client0").exists() && pins.join("dsp_flows4").exists());
    assert!(!stage.lab.directory().socket().exists(), "its socket is gone");
    let url = format!("http://{VIP4}/");
    // It said that it ends: the kernel picks from the first packet on.
    let picked = kernel::counter(stage.lab.directory(), "picked_in_kernel");
    for _ in 0..10 {
        curl::answer(stage.client(), &[&url]);
    }
    assert_eq!(kernel::counter(stage.lab.directory(), "picked_in_kernel") - picked, 10);
    assert!(downloads.are_running(), "the downloads were to outlast the daemon");
    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    curl::answer(stage.client(), &[&url]);
    assert_eq!(downloads.finish(), all_whole());

    // `detach` undoes what no daemon is there to undo.
    end(&mut stage, Signal::SIGTERM);
    let config = stage.lab.directory().config();
    let config = config.to_str().unwrap();
    let interface = stage.call(&["detach", "client0", "--config", config]);
    assert!(interface.status.success(), "{interface:?}");
    assert!(!pins.join("link_client0").exists() && pins.join("link_farm0").exists());
    let all = stage.call(&["detach", "--all", "--config", config]);
    assert!(all.status.success(), "{all:?}");
    assert!(!pins.exists());
    wait_until_detached(&stage);
}

#[test]
fn sigterm_detaches_unless_configured_otherwise_and_sigint_always() {
    let Some(mut stage) = Stage::start_with("end", |options| options.on_exit = "keep".to_owned()) else { return };
    let pins = stage.lab.directory().pins().to_owned();
    assert!(is_attached(&stage));
    end(&mut stage, Signal::SIGINT);
    assert_eq!(stage.lab.daemon().ended().unwrap().unwrap().code(), Some(0));
    assert!(!pins.exists() && !stage.lab.directory().socket().exists());
    wait_until_detached(&stage);
    drop(stage);

    let Some(mut stage) = Stage::start("end") else { return };
    let pins = stage.lab.directory().pins().to_owned();
    end(&mut stage, Signal::SIGTERM);
    assert_eq!(stage.lab.daemon().ended().unwrap().unwrap().code(), Some(0));
    assert!(!pins.exists() && !stage.lab.directory().socket().exists());
    wait_until_detached(&stage);
    // Nothing of it is in the way of the next.
    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    http::hold(stage.client(), (VIP4, 80).into(), None, 1);
}

/// The kernel takes a program off an interface a moment after its link's last holder has let go.
fn wait_until_detached(stage: &Stage) {
    wait_until("no program on any interface", SOON, || !is_attached(stage)).unwrap();
}

/// Whether one of the dispatcher's interfaces has an XDP program.
fn is_attached(stage: &Stage) -> bool {
    let mut show = std::process::Command::new("ip");
    let links = stage.lab.topology().dispatcher.succeed(show.args(["-details", "link", "show"])).unwrap();
    links.contains("xdp")
}
