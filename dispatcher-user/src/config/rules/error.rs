//! Which rule a value breaks, in words.

use std::{net::IpAddr, time::Duration};

use super::{MAX_INTERFACE_NAME, MAX_LISTED, MAX_NAME, MAX_WEIGHT};
use crate::{config::quantity::write_bytes, core::model::PatternError};

/// Which rule a value breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A name of a service or backend.
    #[error(
        "`{0}` is no name: it takes 1 to {MAX_NAME} of a-z, 0-9, `.`, `_` and `-`, and starts with a letter or digit"
    )]
    Name(String),
    /// A name of an interface.
    #[error("`{0}` is no interface name: it takes 1 to {MAX_INTERFACE_NAME} bytes without spaces, `/` and `:`")]
    InterfaceName(String),
    /// An address and port.
    #[error("`{0}` is no address and port, such as 203.0.113.10:80 or [2001:db8::10]:80")]
    Address(String),
    /// An address that no service or backend can have.
    #[error("{address} cannot be used: {reason}")]
    UnusableAddress {
        /// The address.
        address: IpAddr,
        /// Why not.
        reason: &'static str,
    },
    /// Port 0.
    #[error("port 0 cannot be used")]
    Port,
    /// A weight.
    #[error("weight {0} is out of range, expected 0 to {MAX_WEIGHT}")]
    Weight(i64),
    /// The length of a listing.
    #[error("limit {0} is out of range, expected 1 to {MAX_LISTED}")]
    Limit(u32),
    /// Something that is no duration.
    #[error("`{0}` is no duration, such as 90s, 10m or 1h30m")]
    Duration(String),
    /// A number that is too small or too large.
    #[error("{what} {number} is out of range, expected {least} to {most}")]
    Number {
        /// What it counts.
        what: &'static str,
        /// What was said.
        number: i64,
        /// The least.
        least: i64,
        /// The most.
        most: i64,
    },
    /// A number of bytes that is too small or too large.
    #[error("{} is out of range, expected {} to {}", write_bytes(*bytes), write_bytes(*least), write_bytes(*most))]
    BytesRange {
        /// What was said.
        bytes: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A list that is too long to be gone through for every request.
    #[error("{count} {what} are too many, expected {most} at most")]
    List {
        /// What is listed.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The most.
        most: usize,
    },
    /// Something that must not be nothing.
    #[error("`{0}` must not be empty")]
    Empty(&'static str),
    /// A rate that nobody keeps.
    #[error("a class's rate is one of requests, such as 100/s; rates of bits are not built in this version")]
    BitRate,
    /// A session that may be idle for longer than it lasts.
    #[error(
        "a session that lasts {} at most cannot be idle for {}",
        humantime::format_duration(*lifetime),
        humantime::format_duration(*idle)
    )]
    IdleBeyondLifetime {
        /// How long it may be idle.
        idle: Duration,
        /// How long it lasts.
        lifetime: Duration,
    },
    /// Clients' certificates are asked for, but nobody is said to sign them.
    #[error("client certificates cannot be checked without `client_ca`")]
    NoClientCa,
    /// Backends are to be verified, but nobody is said to sign their certificates.
    #[error("backends cannot be verified without `ca`")]
    NoBackendCa,
    /// Something that patterns do not have.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A duration that is too short or too long.
    #[error(
        "{} is out of range, expected {} to {}",
        humantime::format_duration(*duration),
        humantime::format_duration(*least),
        humantime::format_duration(*most)
    )]
    DurationRange {
        /// What was said.
        duration: Duration,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
}
