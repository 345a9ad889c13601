//! The columns of every listing.

mod request;

use serde::Serialize;

use super::{
    table::{Column, Row},
    units::{bytes, rate, time},
};
use crate::{
    config::words::Word,
    control::{
        api::{BackendView, DropView, FlowView, Health, InterfaceView, LockView, ServiceView, StatusView},
        tuple::FlowTuple,
    },
};

pub(crate) use self::request::{pool_facts, session_facts};

impl Row for ServiceView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("SERVICE", |row| row.name.clone()),
        Column::numbers("ID", |row: &Self| row.id.to_string()).wide(),
        Column::words("VIP", |row| row.vip.to_string()),
        Column::words("PROTOCOL", |row| row.protocol.to_string()),
        Column::words("MODE", |row| row.mode.clone()),
        Column::words("SCHEDULER", |row| row.scheduler.word().to_owned()),
        Column::words("FORWARD", |row| row.forward.word().to_owned()),
        Column::words("AFFINITY", |row| row.affinity.word().to_owned()),
        Column::numbers("TIMEOUT", |row: &Self| time(row.affinity_timeout_ms)).wide(),
        Column::numbers("BACKENDS", |row| format!("{}/{}", row.backends_available, row.backends)),
        Column::numbers("FLOWS", |row| row.flows.to_string()),
    ];
}

impl Row for BackendView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("BACKEND", |row| format!("{}/{}", row.service, row.name)),
        Column::numbers("ID", |row: &Self| row.id.to_string()).wide(),
        Column::words("ADDRESS", |row| row.address.to_string()),
        Column::words("STATE", |row| row.state.word().to_owned()),
        Column::words("HEALTH", |row| health(row.health).to_owned()),
        Column::numbers("WEIGHT", |row| row.weight.to_string()),
        Column::numbers("FLOWS", |row| row.flows.to_string()),
        Column::numbers("PICKS", |row| row.picks.to_string()),
        Column::numbers("RATE", |row| rate(row.rate)),
        Column::numbers("PACKETS IN", |row: &Self| row.packets_in.to_string()).wide(),
        Column::numbers("BYTES IN", |row: &Self| bytes(row.bytes_in)).wide(),
        Column::numbers("PACKETS OUT", |row: &Self| row.packets_out.to_string()).wide(),
        Column::numbers("BYTES OUT", |row: &Self| bytes(row.bytes_out)).wide(),
    ];
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down => "down",
    }
}

impl Row for FlowView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("FLOW", |row| {
            let (source, destination) = ((row.src, row.sport).into(), (row.dst, row.dport).into());
            FlowTuple { source, destination, protocol: row.proto }.to_string()
        }),
        Column::words("SERVICE", |row| row.service.clone()),
        Column::words("BACKEND", |row| row.backend.clone().unwrap_or_else(|| "-".to_owned())),
        Column::words("TARGET", |row: &Self| row.target.clone()).wide(),
        Column::words("STATE", |row| row.state.clone()),
        Column::numbers("PACKETS", |row| row.packets.to_string()),
        Column::numbers("BYTES", |row| bytes(row.bytes)),
        Column::numbers("IDLE", |row| time(row.idle_ms)),
    ];
}

impl Row for LockView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("CLIENT", |row| row.client.to_string()),
        Column::words("SERVICE", |row| row.service.clone()),
        Column::numbers("OWNER", |row| row.node.to_string()),
        Column::numbers("EXPIRES", |row| time(row.expires_ms)),
    ];
}

impl Row for DropView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("REASON", |row| row.reason.clone()),
        Column::numbers("PACKETS", |row| row.packets.to_string()),
        Column::words("MEANING", |row| row.meaning.clone()),
    ];
}

impl Row for InterfaceView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("INTERFACE", |row| row.name.clone()),
        Column::words("MODE", |row| row.mode.word().to_owned()),
        Column::words("DRIVER", |row| row.driver.clone()),
        Column::words("LINK", |row| row.link_pin.clone().unwrap_or_else(|| "-".to_owned())),
    ];
}

/// A name and a value, of which a description has many.
#[derive(Serialize)]
pub(crate) struct Fact {
    name: &'static str,
    value: String,
}

impl Row for Fact {
    const COLUMNS: &'static [Column<Self>] =
        &[Column::words("STATUS", |row| row.name.to_owned()), Column::words("", |row| row.value.clone())];
}

fn fact(name: &'static str, value: String) -> Fact {
    Fact { name, value }
}

/// What a status says, but for the interfaces.
pub(crate) fn facts(status: &StatusView) -> Vec<Fact> {
    let entries = |count: u64| format!("{count} of {}", status.flow_capacity);
    vec![
        fact("version", status.version.clone()),
        fact("pid", status.pid.to_string()),
        fact("uptime", time(status.uptime_ms)),
        fact("node", status.node.to_string()),
        fact("services", status.services.to_string()),
        fact("backends", status.backends.to_string()),
        fact("flows", status.flows.to_string()),
        fact("flow entries, IPv4", entries(status.flow_entries4)),
        fact("flow entries, IPv6", entries(status.flow_entries6)),
        fact("upcalls", status.upcalls.to_string()),
        fact("held packets", status.held.to_string()),
        fact("held, overflow", status.held_overflow.to_string()),
        fact("heartbeat", remaining(status.heartbeat_remaining_ms)),
        fact("lease", status.lease_remaining_ms.map_or_else(|| "none".to_owned(), remaining)),
        fact("log level", status.log.word().to_owned()),
    ]
}

fn remaining(milliseconds: u64) -> String {
    if milliseconds == 0 { "over".to_owned() } else { format!("{} left", time(milliseconds)) }
}

/// A program and its version.
#[derive(Serialize)]
pub(crate) struct Version {
    /// The program.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
}
