//! Pinned tables are read with bpftool: fields by name, addresses byte by byte, counters that count.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use dispatcher_lab::{
    addresses::{VIP4, VIP6},
    certificates::SHOP,
    config::SHOP_PORT,
    wait_until,
};
use dispatcher_tests::{Stage, curl, http, kernel, stage::SOON};
use serde_json::Value;
use std::fs;

/// The entry of `dsp_flows4` whose client has that port, in one direction.
fn entry(stage: &Stage, field: &str, port: u16) -> Value {
    let entries = kernel::entries(stage.lab.directory(), "dsp_flows4");
    let found = entries.iter().find(|entry| entry["key"][field] == port);
    found.unwrap_or_else(|| panic!("no flow of port {port}: {entries:?}")).clone()
}

#[test]
fn flow_counters_are_read_with_bpftool_by_name() {
    let Some(mut stage) = Stage::start("dump") else { return };
    let held = http::hold(stage.client(), (VIP4, 80).into(), None, 1);
    let port = held[0].answer.client.port();

    let text = kernel::dump(stage.lab.directory(), "dsp_flows4");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let key = format!(
        "\"key\": {{ \"src\": [198,51,100,2 ], \"dst\": [203,0,113,10 ], \"sport\": {port}, \"dport\": 80, \"proto\": 6, \
         \"pad\": [0,0,0 ] }}, \"value\": {{ \"packets\": "
    );
    assert!(words.contains(&key), "{key} is not in\n{text}");

    let (there, back) = (entry(&stage, "sport", port), entry(&stage, "dport", port));
    assert_eq!((&there["value"]["target"], &back["value"]["target"]), (&1.into(), &2.into()));
    assert_eq!(back["key"]["src"], serde_json::json!([10, 77, 1, 10 + number(&held[0].answer.backend)]));
    held[0].ask().unwrap();
    for (before, field) in [(there, "sport"), (back, "dport")] {
        let counts =
            |entry: &Value| ["packets", "bytes", "last_seen_ns"].map(|name| entry["value"][name].as_u64().unwrap());
        let grown = || {
            let after = counts(&entry(&stage, field, port));
            counts(&before).iter().zip(after).all(|(before, after)| *before < after)
        };
        wait_until("a count of the second request", SOON, grown).unwrap();
        assert!(counts(&before)[1] > counts(&before)[0] * 54, "bytes are those of whole frames");
    }

    // The IDs in the table are those that the command line shows.
    let flow = entry(&stage, "sport", port)["value"].clone();
    let rows = stage.items(&["backend", "list", "web"]);
    let row = rows.iter().find(|row| row["name"] == held[0].answer.backend).unwrap();
    assert_eq!((&row["id"], &stage.items(&["service", "list"])[0]["id"]), (&flow["backend"], &flow["service"]));
}

fn number(backend: &str) -> u8 {
    backend.trim_start_matches('b').parse().unwrap()
}

/// What the README's table says of each pin, as key and value fields.
fn described() -> Vec<(Vec<String>, Vec<String>)> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let names = |text: &str| text.split(", ").map(|name| name.trim().to_owned()).collect::<Vec<_>>();
    let rows = readme.lines().filter(|line| line.starts_with("| `dsp_"));
    rows.filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let (keys, values) =
            cells[1].split_once('→').or_else(|| cells[0].contains("config").then_some(("", cells[1])))?;
        let tables = cells[0].split(", ").map(|name| name.trim().trim_matches('`').to_owned()).collect();
        Some((tables, [names(keys), names(values)].concat()))
    })
    .collect()
}

#[test]
fn pinned_tables_have_the_fields_that_the_readme_names() {
    let Some(mut stage) = Stage::start_with_shop("pins") else { return };
    let authority = stage.lab.certificates().authority().display().to_string();
    let shop = format!("{SHOP}:{SHOP_PORT}:{VIP4}");
    curl::curl(stage.client(), &["--cacert", &authority, "--resolve", &shop, &format!("https://{SHOP}/cart")]);
    stage.done(&["service", "set", "web", "affinity=client-ip"]);
    stage.done(&["service", "set", "web6", "affinity=client-ip"]);
    let _held = [(VIP4, 80).into(), (VIP6, 80).into()].map(|vip| http::hold(stage.client(), vip, None, 1));
    let mut checked = 0;
    for (tables, fields) in described() {
        // Locks come and go; what the others hold is words rather than names.
        for table in tables.iter().filter(|table| !matches!(table.as_str(), "dsp_locks" | "dsp_be_stats")) {
            let text = kernel::dump(stage.lab.directory(), table);
            // An array's index has no name, and an ellipsis stands for the rest.
            for field in fields.iter().filter(|field| !matches!(field.as_str(), "" | "id" | "…")) {
                assert!(text.contains(&format!("\"{field}\": ")), "{table} has no field {field}:\n{text:.3000}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 6, "the README's table was not understood: {:?}", described());
    let links: Vec<String> = fs::read_dir(stage.lab.directory().pins())
        .unwrap()
        .map(|pin| pin.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("link_"))
        .collect();
    assert_eq!(links.len(), 2, "{links:?}");
}
