//! What a service of mode `secure` does to the host, and what the packet path counts of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{Signal, addresses::VIP4, config::SHOP_PORT, wait_until};
use dispatcher_tests::{
    Stage,
    customer::{self, Customer, Memory, Version},
    stage::SOON,
};
use std::process::Command;

/// The routes that make addresses local, as far as the dispatcher made them.
fn local_routes(stage: &Stage) -> Vec<String> {
    let show = |family: &str| {
        let mut show = Command::new("ip");
        show.args([family, "route", "show", "table", "local", "proto", "213"]);
        stage.lab.topology().dispatcher.succeed(&mut show).unwrap()
    };
    ["-4", "-6"].iter().flat_map(|family| show(family).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn end(stage: &mut Stage, signal: Signal) {
    stage.lab.daemon().process().signal(signal).unwrap();
    wait_until("the dispatcher's end", SOON, || stage.lab.daemon().ended().unwrap().is_some()).unwrap();
}

fn ask(stage: &Stage) {
    let place = customer::place(stage.client());
    let to = (VIP4, SHOP_PORT).into();
    let mut customer = Customer::new(stage.lab.certificates(), to, Version::Http2, Memory::Cookie);
    assert_eq!(customer.get_in(&place, "/").status, 200);
}

#[test]
fn vips_are_local_while_they_are_served_and_not_afterwards() {
    let Some(mut stage) = Stage::start_with_shop("svl") else { return };
    let are_both = |routes: &[String]| {
        let is_there = |vip| routes.iter().any(|route| route.contains(vip));
        routes.len() == 2 && is_there("203.0.113.10") && is_there("2001:db8:113::10")
    };
    assert!(are_both(&local_routes(&stage)), "{:?}", local_routes(&stage));
    end(&mut stage, Signal::SIGTERM);
    assert_eq!(local_routes(&stage), [""; 0], "a clean end undoes it");

    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    ask(&stage);
    end(&mut stage, Signal::SIGKILL);
    assert!(are_both(&local_routes(&stage)), "who is killed undoes nothing");
    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    ask(&stage);
    assert!(are_both(&local_routes(&stage)), "{:?}", local_routes(&stage));
    end(&mut stage, Signal::SIGINT);
    assert_eq!(local_routes(&stage), [""; 0], "the next one's clean end undoes it for both");
    assert!(!stage.lab.directory().pins().exists());
}

#[test]
fn packet_path_counts_the_flows_of_the_shop() {
    let Some(mut stage) = Stage::start_with_shop("sfl") else { return };
    let passed = stage.count("pass_secure");
    for _ in 0..5 {
        ask(&stage);
    }
    let flows = stage.items(&["flow", "list", "--service", "shop"]);
    assert_eq!(flows.len(), 5, "{flows:?}");
    for flow in &flows {
        assert_eq!(flow["service"], "shop");
        // Handshake, request and acknowledgements take some, and what was asked for is small.
        let packets = flow["packets"].as_u64().unwrap();
        assert!((4..100).contains(&packets), "{flow}");
        assert!(flow["bytes"].as_u64().unwrap() > 40 * packets, "{flow}");
    }
    let counted: u64 = flows.iter().map(|flow| flow["packets"].as_u64().unwrap()).sum();
    let passed = stage.count("pass_secure") - passed;
    assert!(passed >= counted && passed <= counted + 20, "{passed} packets passed, {counted} of them in flows");
    assert!(stage.items(&["flow", "list", "--service", "shop6"]).is_empty());
}
