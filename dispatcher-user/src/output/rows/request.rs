//! The columns of sessions, tunnels and QoS classes, and the descriptions of one.

use super::{Fact, fact};
use crate::{
    config::quantity::{write_bytes, write_rate},
    control::api::{ClassView, ClientView, CountView, PoolView, SessionView, TunnelView},
    core::model::Rate,
    output::{
        table::{Column, Row},
        units::{bytes, microseconds, time},
    },
};

impl Row for SessionView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("SESSION", |row| row.id.to_string()),
        Column::words("BACKEND", |row| format!("{}/{}", row.service, row.backend)),
        Column::numbers("TUNNEL", |row| row.tunnel.to_string()),
        Column::words("CLASS", |row| row.class.clone()),
        Column::words("CLIENT", |row: &Self| or_dash(row.clients.first().map(|client| client.source))).wide(),
        Column::words("TLS", |row: &Self| or_dash(row.clients.first().map(|client| client.tls.as_str()))).wide(),
        Column::words("CIPHER", |row: &Self| or_dash(row.clients.first().map(|client| client.cipher.as_str()))).wide(),
        Column::numbers("REQUESTS", |row| row.requests.to_string()),
        Column::numbers("BYTES", |row| bytes(row.bytes)),
        Column::numbers("AGE", |row| time(row.age_ms)),
        Column::numbers("IDLE", |row: &Self| time(row.idle_ms)).wide(),
        Column::numbers("EXPIRES", |row| time(row.expires_ms)),
    ];
}

impl Row for ClientView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("CLIENT", |row| row.source.to_string()),
        Column::words("TO", |row| row.destination.to_string()),
        Column::words("SERVER NAME", |row| or_dash(row.server_name.as_deref())),
        Column::words("TLS", |row| row.tls.clone()),
        Column::words("CIPHER", |row| row.cipher.clone()),
        Column::words("ALPN", |row| or_dash(row.alpn.as_deref())),
        Column::words("GROUP", |row: &Self| or_dash(row.group.as_deref())).wide(),
        Column::words("RESUMED", |row| yes_or_no(row.resumed)),
        Column::words("CERTIFICATE", |row: &Self| yes_or_no(row.certificate)).wide(),
        Column::numbers("AGE", |row| time(row.age_ms)),
    ];
}

impl Row for TunnelView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("BACKEND", |row| format!("{}/{}", row.service, row.backend)),
        Column::numbers("TUNNEL", |row| row.tunnel.to_string()),
        Column::words("STATE", |row| row.state.clone()),
        Column::words("FROM", |row: &Self| or_dash(row.context.as_ref().map(|context| context.source))).wide(),
        Column::words("TO", |row| or_dash(row.context.as_ref().map(|context| context.destination))),
        Column::words("TLS", |row| or_dash(row.context.as_ref().map(|context| context.tls.as_str()))),
        Column::words("CIPHER", |row: &Self| or_dash(row.context.as_ref().map(|context| context.cipher.as_str())))
            .wide(),
        Column::words("ALPN", |row| or_dash(row.context.as_ref().and_then(|context| context.alpn.as_deref()))),
        Column::numbers("AGE", |row| or_dash(row.context.as_ref().map(|context| time(context.age_ms)))),
        Column::numbers("STREAMS", |row| format!("{}/{}", row.streams, row.limit)),
        Column::numbers("REQUESTS", |row| row.requests.to_string()),
        Column::numbers("IN", |row| bytes(row.bytes_in)),
        Column::numbers("OUT", |row| bytes(row.bytes_out)),
        Column::numbers("PING", |row: &Self| or_dash(row.round_trip_us.map(microseconds))).wide(),
        Column::numbers("FAILURES", |row: &Self| row.failures.to_string()).wide(),
        Column::words("LAST ERROR", |row| or_dash(row.last_error.as_deref())),
    ];
}

impl Row for CountView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("COUNTER", |row| row.name.clone()),
        Column::numbers("COUNT", |row| row.count.to_string()),
        Column::words("MEANING", |row| row.meaning.clone()),
    ];
}

impl Row for ClassView {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::words("CLASS", |row| row.name.clone()),
        Column::numbers("PRIORITY", |row| row.priority.to_string()),
        Column::numbers("WEIGHT", |row| row.weight.to_string()),
        Column::numbers("SHARE", |row| format!("{}%", row.share_percent)),
        Column::words("RATE", |row| or_dash(row.rate.map(write_rate))),
        Column::words("CLIENT RATE", |row: &Self| {
            or_dash(row.client_rate.map(|requests| write_rate(Rate::Requests(requests))))
        })
        .wide(),
        Column::numbers("QUEUE", |row: &Self| format!("{}, {}", row.queue_entries, write_bytes(row.queue_bytes)))
            .wide(),
        Column::numbers("TIMEOUT", |row: &Self| time(row.timeout_ms)).wide(),
        Column::numbers("WAITING", |row| row.waiting.to_string()),
        Column::numbers("IN FLIGHT", |row| row.in_flight.to_string()),
        Column::numbers("WAIT P50", |row| microseconds(row.wait_p50_us)),
        Column::numbers("WAIT P99", |row| microseconds(row.wait_p99_us)),
        Column::numbers("ADMITTED", |row| row.admitted.to_string()),
        Column::numbers("SHED", |row| row.shed_in_all().to_string()),
        Column::words("SHED FOR", |row: &Self| shed(row)).wide(),
        Column::numbers("CANCELLED", |row: &Self| row.cancelled.to_string()).wide(),
    ];
}

/// What a session is, but for its client's connections.
pub(crate) fn session_facts(session: &SessionView) -> Vec<Fact> {
    let mut facts = vec![
        fact("session", session.id.to_string()),
        fact("backend", format!("{}/{}", session.service, session.backend)),
        fact("class", session.class.clone()),
        fact("requests", session.requests.to_string()),
        fact("bytes", bytes(session.bytes)),
        fact("age", time(session.age_ms)),
        fact("last request", format!("{} ago", time(session.idle_ms))),
        fact("expires", format!("in {}", time(session.expires_ms))),
        fact("tunnel", session.tunnel.to_string()),
    ];
    match &session.tunnel_context {
        None => facts.push(fact("tunnel state", "not open".to_owned())),
        Some(context) => facts.extend([
            fact("tunnel source", context.source.to_string()),
            fact("tunnel destination", context.destination.to_string()),
            fact("tunnel TLS", format!("{}, {}", context.tls, context.cipher)),
            fact("tunnel protocol", context.alpn.clone().unwrap_or_else(|| "http/1.1".to_owned())),
            fact("tunnel age", time(context.age_ms)),
        ]),
    }
    facts
}

/// What a pool is, but for its tunnels and counters.
pub(crate) fn pool_facts(pool: &PoolView) -> Vec<Fact> {
    vec![
        fact("backend", format!("{}/{}", pool.service, pool.backend)),
        fact("address", pool.address.to_string()),
        fact("verified", yes_or_no(pool.verified)),
        fact("upgraded", pool.upgraded.to_string()),
    ]
}

fn shed(class: &ClassView) -> String {
    let reasons: Vec<String> = class
        .shed
        .iter()
        .filter(|shed| shed.requests != 0)
        .map(|shed| format!("{} {}", shed.reason, shed.requests))
        .collect();
    if reasons.is_empty() { "-".to_owned() } else { reasons.join(", ") }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}
