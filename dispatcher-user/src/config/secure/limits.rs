//! Reads `[service.limits]`: what clients may do.

use crate::{
    config::{
        document::{Faults, Schema, Section},
        rules::secure::{BUFFER, CONNECTIONS, HEADER_BYTES, HEADER_COUNT, PATIENCE, STREAMS},
    },
    core::model::LimitsSpec,
};

const LIMITS: Schema = Schema {
    name: "[service.limits]",
    keys: &[
        "connections",
        "connections_per_source",
        "handshake",
        "header_bytes",
        "header_count",
        "header_time",
        "body_pause",
        "idle",
        "streams",
        "resets",
        "buffer",
        "response_time",
    ],
    not_built: &[],
};

pub(super) fn read(service: &Section<'_, '_>, faults: &mut Faults) -> LimitsSpec {
    let usual = LimitsSpec::default();
    let Some(section) = service.section("limits", &LIMITS, faults) else { return usual };
    let mut time = |key, usual| section.duration(key, PATIENCE, faults).unwrap_or(usual);
    let (handshake, header_time) = (time("handshake", usual.handshake), time("header_time", usual.header_time));
    let (body_pause, idle) = (time("body_pause", usual.body_pause), time("idle", usual.idle));
    let response_time = time("response_time", usual.response_time);
    let mut count = |key, range, usual| section.count(key, range, faults).unwrap_or(usual);
    LimitsSpec {
        connections: count("connections", &CONNECTIONS, usual.connections),
        connections_per_source: count("connections_per_source", &CONNECTIONS, usual.connections_per_source),
        streams: count("streams", &STREAMS, usual.streams),
        resets: count("resets", &STREAMS, usual.resets),
        header_count: section.count("header_count", &HEADER_COUNT, faults).unwrap_or(usual.header_count),
        header_bytes: section.bytes("header_bytes", &HEADER_BYTES, faults).unwrap_or(usual.header_bytes),
        buffer: section.bytes("buffer", &BUFFER, faults).unwrap_or(usual.buffer),
        handshake,
        header_time,
        body_pause,
        idle,
        response_time,
    }
}
