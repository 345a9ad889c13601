//! Reads `[service.session]`: how sessions are known, and how long they last.

use crate::{
    config::{
        document::{Faults, Schema, Section},
        rules::secure::{SESSION_IDLE, SESSION_LIFETIME, SESSIONS, check_lifetime},
    },
    core::model::SessionSpec,
};

const SESSION: Schema = Schema {
    name: "[service.session]",
    keys: &["cookie", "header", "idle", "lifetime", "max_entries", "lost", "pass_cookie"],
    not_built: &[],
};

pub(super) fn read(service: &Section<'_, '_>, faults: &mut Faults) -> SessionSpec {
    let usual = SessionSpec::default();
    let Some(section) = service.section("session", &SESSION, faults) else { return usual };
    let session = SessionSpec {
        cookie: section.parsed("cookie", faults, str::parse).map_or(usual.cookie, |cookie| cookie.value),
        header: section.parsed("header", faults, str::parse).map(|header| header.value),
        idle: section.duration("idle", SESSION_IDLE, faults).unwrap_or(usual.idle),
        lifetime: section.duration("lifetime", SESSION_LIFETIME, faults).unwrap_or(usual.lifetime),
        max_entries: section.count("max_entries", &SESSIONS, faults).unwrap_or(usual.max_entries),
        lost: section.word("lost", faults).unwrap_or(usual.lost),
        pass_cookie: section.flag("pass_cookie", faults).unwrap_or(usual.pass_cookie),
    };
    let span = section.key_span("idle").or_else(|| section.key_span("lifetime"));
    faults.check(&span.unwrap_or_else(|| section.span.clone()), check_lifetime(&session));
    session
}
