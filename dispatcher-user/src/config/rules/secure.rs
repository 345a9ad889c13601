//! What services of mode `secure` and QoS classes may say: ranges, and what must stand together.

use std::{ops::RangeInclusive, time::Duration};

use super::{RuleError, check_duration, check_name, parse_duration};
use crate::core::model::{
    ClassChange, ClientAuth, HostPattern, LimitsSpec, PatternError, QosClassSpec, Rate, RateChange, SecureSpec,
    SessionSpec, TlsSpec, TunnelSpec,
};

/// The least and the most of a number; of `i64`, as TOML has them.
pub(in crate::config) type Numbers = RangeInclusive<i64>;
/// The shortest and longest of a duration.
pub(in crate::config) type Durations = (Duration, Duration);

const fn seconds(least: u64, most: u64) -> Durations {
    (Duration::from_secs(least), Duration::from_secs(most))
}

pub(in crate::config) const SESSION_IDLE: Durations = seconds(1, 7 * 86_400);
pub(in crate::config) const SESSION_LIFETIME: Durations = seconds(1, 30 * 86_400);
/// The table of sessions has this many entries for all services.
pub(in crate::config) const SESSIONS: Numbers = 1024..=131_072;
const _: () = assert!(dispatcher_common::table::MAX_SESSIONS == 131_072);
pub(in crate::config) const PER_BACKEND: Numbers = 1..=64;
pub(in crate::config) const TUNNEL_AGE: Durations = seconds(10, 7 * 86_400);
pub(in crate::config) const WINDOW: Numbers = 1..=65_536;
pub(in crate::config) const CONNECTIONS: Numbers = 1..=1_000_000;
/// Times that a client may take for something.
pub(in crate::config) const PATIENCE: Durations = (Duration::from_millis(100), Duration::from_secs(3600));
pub(in crate::config) const HEADER_BYTES: Numbers = 4096..=1_048_576;
pub(in crate::config) const HEADER_COUNT: Numbers = 16..=1000;
pub(in crate::config) const STREAMS: Numbers = 1..=10_000;
pub(in crate::config) const BUFFER: Numbers = 0..=16_777_216;
pub(in crate::config) const PRIORITY: Numbers = 0..=7;
pub(in crate::config) const CLASS_WEIGHT: Numbers = 1..=1000;
pub(in crate::config) const SHARE: Numbers = 0..=100;
pub(in crate::config) const QUEUE_ENTRIES: Numbers = 1..=1_000_000;
pub(in crate::config) const QUEUE_BYTES: Numbers = 65_536..=1_073_741_824;
pub(in crate::config) const CLASS_TIMEOUT: Durations = (Duration::from_millis(1), Duration::from_secs(3600));
/// Certificates, rules, networks or matches in one list: requests are held against them one by one.
pub(in crate::config) const MAX_LIST: usize = 128;

/// Checks a service of mode `secure` that came by the control socket.
pub(super) fn check_secure(spec: &SecureSpec) -> Result<(), RuleError> {
    check_tls(&spec.tls)?;
    check_session(&spec.session)?;
    check_tunnels(&spec.tunnels)?;
    check_limits(&spec.limits)?;
    check_list("rules", spec.rules.len())?;
    check_list("networks", spec.proxy_protocol_from.len())?;
    if spec.redirect.is_some_and(|redirect| redirect.port() == 0) {
        return Err(RuleError::Port);
    }
    spec.window.map_or(Ok(()), |window| check_number("window", window, &WINDOW))
}

fn check_tls(tls: &TlsSpec) -> Result<(), RuleError> {
    check_list("certificates", tls.certificates.len())?;
    if tls.certificates.is_empty() {
        return Err(RuleError::Empty("certificates"));
    }
    if tls.alpn.is_empty() {
        return Err(RuleError::Empty("alpn"));
    }
    check_client_auth(tls)
}

/// Who asks clients for certificates must know who signs them.
pub(in crate::config) fn check_client_auth(tls: &TlsSpec) -> Result<(), RuleError> {
    if tls.client_auth != ClientAuth::None && tls.client_ca.is_none() { Err(RuleError::NoClientCa) } else { Ok(()) }
}

fn check_session(session: &SessionSpec) -> Result<(), RuleError> {
    check_duration(session.idle, SESSION_IDLE)?;
    check_duration(session.lifetime, SESSION_LIFETIME)?;
    check_number("max_entries", session.max_entries, &SESSIONS)?;
    check_lifetime(session)
}

/// A session that may be idle for longer than it lasts is a slip.
pub(in crate::config) fn check_lifetime(session: &SessionSpec) -> Result<(), RuleError> {
    let SessionSpec { idle, lifetime, .. } = *session;
    if idle <= lifetime { Ok(()) } else { Err(RuleError::IdleBeyondLifetime { idle, lifetime }) }
}

fn check_tunnels(tunnels: &TunnelSpec) -> Result<(), RuleError> {
    check_number("per_backend", tunnels.per_backend, &PER_BACKEND)?;
    check_duration(tunnels.max_age, TUNNEL_AGE)?;
    if let Some(name) = &tunnels.server_name {
        server_name(name)?;
    }
    check_verified(tunnels)
}

/// Who verifies backends must know who signs their certificates.
pub(in crate::config) fn check_verified(tunnels: &TunnelSpec) -> Result<(), RuleError> {
    if tunnels.verify && tunnels.ca.is_none() { Err(RuleError::NoBackendCa) } else { Ok(()) }
}

/// Reads the name that a backend's certificate is for: one, without `*`.
pub(in crate::config) fn server_name(text: &str) -> Result<String, PatternError> {
    let pattern: HostPattern = text.parse()?;
    if pattern.as_str().starts_with('*') { Err(PatternError::Host(text.to_owned())) } else { Ok(pattern.to_string()) }
}

fn check_limits(limits: &LimitsSpec) -> Result<(), RuleError> {
    let LimitsSpec { connections, connections_per_source, header_bytes, header_count, streams, resets, buffer, .. } =
        *limits;
    check_number("connections", connections, &CONNECTIONS)?;
    check_number("connections_per_source", connections_per_source, &CONNECTIONS)?;
    check_number("header_bytes", header_bytes, &HEADER_BYTES)?;
    check_number("header_count", header_count, &HEADER_COUNT)?;
    check_number("streams", streams, &STREAMS)?;
    check_number("resets", resets, &STREAMS)?;
    check_number("buffer", buffer, &BUFFER)?;
    for time in [limits.handshake, limits.header_time, limits.body_pause, limits.idle, limits.response_time] {
        check_duration(time, PATIENCE)?;
    }
    Ok(())
}

/// Reads how long a request of a class may wait.
///
/// # Errors
/// It is no duration, too short or too long.
pub fn parse_class_timeout(text: &str) -> Result<Duration, RuleError> {
    parse_duration(text, CLASS_TIMEOUT)
}

/// Checks a change of the QoS class `class`.
///
/// # Errors
/// The first rule that a value breaks.
pub fn check_class_change(class: &str, change: &ClassChange) -> Result<(), RuleError> {
    check_name(class)?;
    check_class_values(change)
}

/// Checks what a change of a QoS class brings in.
///
/// # Errors
/// The first rule that a value breaks.
pub fn check_class_values(change: &ClassChange) -> Result<(), RuleError> {
    change.priority.map_or(Ok(()), |priority| check_number("priority", priority, &PRIORITY))?;
    change.weight.map_or(Ok(()), |weight| check_number("weight", weight, &CLASS_WEIGHT))?;
    change.share_percent.map_or(Ok(()), |share| check_number("share", share, &SHARE))?;
    change.timeout.map_or(Ok(()), |timeout| check_duration(timeout, CLASS_TIMEOUT))?;
    change.entries.map_or(Ok(()), |entries| check_number("entries", entries, &QUEUE_ENTRIES))?;
    let (least, most) = (QUEUE_BYTES.start().unsigned_abs(), QUEUE_BYTES.end().unsigned_abs());
    if let Some(bytes) = change.bytes.filter(|bytes| !(least..=most).contains(bytes)) {
        return Err(RuleError::BytesRange { bytes, least, most });
    }
    for rate in [change.rate, change.client_rate].into_iter().flatten() {
        match rate {
            RateChange::To(rate) => check_rate(rate)?,
            RateChange::Unlimited => {}
        }
    }
    Ok(())
}

/// A rate of nothing would close the class; priority and weight are there for going last.
pub(in crate::config) fn check_rate(rate: Rate) -> Result<(), RuleError> {
    match rate {
        Rate::Requests(0) => Err(RuleError::Empty("rate")),
        Rate::Requests(_) => Ok(()),
        Rate::Bits(_) => Err(RuleError::BitRate),
    }
}

/// The sum of what is sure to `classes`.
pub(in crate::config) fn shares(classes: &[QosClassSpec]) -> u32 {
    classes.iter().map(|class| u32::from(class.share_percent)).sum()
}

pub(in crate::config) fn check_list(what: &'static str, count: usize) -> Result<(), RuleError> {
    if count <= MAX_LIST { Ok(()) } else { Err(RuleError::List { what, count, most: MAX_LIST }) }
}

fn check_number(what: &'static str, number: impl Into<i64>, range: &Numbers) -> Result<(), RuleError> {
    let number = number.into();
    if range.contains(&number) {
        return Ok(());
    }
    Err(RuleError::Number { what, number, least: *range.start(), most: *range.end() })
}
