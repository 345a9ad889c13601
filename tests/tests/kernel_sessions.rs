//! The pinned table of sessions: bpftool shows it by field names, and a later daemon finds what an earlier one wrote.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{path::PathBuf, process::Command, time::Duration};

use dispatcher_common::{session::Session, table};
use dispatcher_user::{
    core::sessions::{Mapping, Rules, SessionId},
    datapath::{
        load::{self, LoadError},
        pin::PinDirectory,
        sessions::SessionRows,
    },
    sessions::{Rows, Sessions},
};
use serde_json::Value;

/// Where this process pins, for the test `mark`.
fn place(mark: &str) -> PathBuf {
    format!("/sys/fs/bpf/dispatcher-sessions-{mark}-{}", std::process::id()).into()
}

fn table_over(pins: &PinDirectory) -> Sessions {
    let open = || Ok::<_, LoadError>(Box::new(SessionRows::open(pins)?) as Box<dyn Rows>);
    let sessions = Sessions::new(1, open).unwrap();
    let (idle, lifetime) = (Duration::from_secs(60), Duration::from_secs(600));
    sessions.configure(3, Rules { idle, lifetime, capacity: 4096 });
    sessions
}

fn id(number: u8) -> SessionId {
    SessionId([number; 16])
}

fn dumped(pins: &PinDirectory) -> Vec<Value> {
    let dump = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(pins.table(table::SESSIONS)).output();
    let dump: Value = serde_json::from_slice(&dump.unwrap().stdout).unwrap();
    // What bpftool could format by type information; the rest of an element is hexadecimal.
    dump.as_array().unwrap().iter().map(|element| element["formatted"].clone()).collect()
}

#[test]
fn bpftool_shows_sessions_by_field_names_and_a_restart_finds_them() {
    let pins = PinDirectory::open(&place("names")).unwrap();
    let _programs = load::load(&pins, 1024).unwrap();
    let mapping = Mapping { backend: 5, generation: 2, tunnel: 1, class: 4 };
    let before = table_over(&pins);
    before.insert(1_000, 3, id(0xab), mapping);
    before.insert(1_000, 3, id(0xcd), mapping);
    before.request(2_000, 3, id(0xab));
    before.count(id(0xab), 1234);
    before.flush();
    assert!(before.remove(id(0xcd)));
    assert_eq!(before.failures(), 0);

    let rows = dumped(&pins);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["key"]["id"], Value::from(vec![0xab; 16]));
    let value = &rows[0]["value"];
    for (field, expected) in [
        ("backend", 5),
        ("generation", 2),
        ("tunnel", 1),
        ("class", 4),
        ("service", 3),
        ("requests", 2),
        ("bytes", 1234),
        ("created_ns", 1_000),
        ("last_seen_ns", 2_000),
        ("expires_ns", 60_000_002_000_u64),
    ] {
        assert_eq!(value[field], expected, "{field} of {value}");
    }

    drop(before);
    let after = table_over(&pins);
    after.adopt(3_000, SessionRows::open(&pins).unwrap().all());
    assert_eq!(after.request(3_000, 3, id(0xab)), Some(mapping));
    assert_eq!(after.row(id(0xab)).map(|row| (row.requests, row.bytes)), Some((3, 1234)));
    assert_eq!(after.len(), 1);
}

#[test]
fn the_table_holds_as_many_sessions_as_it_says() {
    let pins = PinDirectory::open(&place("room")).unwrap();
    let _programs = load::load(&pins, 1024).unwrap();
    let mut rows = SessionRows::open(&pins).unwrap();
    let id = |number: u32| SessionId(u128::from(number).to_be_bytes());
    let most = u32::try_from(table::MAX_SESSIONS).unwrap();
    for number in 0..most {
        rows.put(id(number), &Session::default()).unwrap();
    }
    assert!(rows.put(id(most), &Session::default()).is_err());
    rows.remove(id(7)).unwrap();
    rows.remove(id(7)).unwrap();
    rows.put(id(most), &Session::default()).unwrap();
    assert_eq!(rows.all().count(), table::MAX_SESSIONS);
}
