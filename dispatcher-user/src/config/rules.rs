//! What names, addresses, weights and durations may be, whether a file, a command line or the control socket says them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::core::model::{BackendSpec, Change};

mod error;
pub(super) mod secure;

pub use self::{
    error::RuleError,
    secure::{check_class_change, check_class_values, parse_class_timeout},
};

/// The greatest weight.
pub const MAX_WEIGHT: u16 = 1000;
/// The most flows that one listing has: a daemon that lists all of them does little else meanwhile.
pub const MAX_LISTED: u32 = 100_000;
/// The longest name.
const MAX_NAME: usize = 63;
/// The longest name of an interface: `IFNAMSIZ` of the kernel, less the final zero.
const MAX_INTERFACE_NAME: usize = 15;
/// The shortest and longest that a client may be remembered.
pub(super) const AFFINITY_TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));
/// The shortest and longest lease. The daemon renews it several times a second.
pub(super) const LEASE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

/// Checks the name of a service or backend.
///
/// # Errors
/// [`RuleError::Name`]
pub fn check_name(name: &str) -> Result<(), RuleError> {
    let is_start = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |byte: u8| is_start(byte) || matches!(byte, b'.' | b'_' | b'-');
    let starts_well = name.bytes().next().is_some_and(is_start);
    if starts_well && name.len() <= MAX_NAME && name.bytes().all(is_part) {
        Ok(())
    } else {
        Err(RuleError::Name(name.to_owned()))
    }
}

/// Checks the name of an interface as the kernel does (`dev_valid_name`).
///
/// # Errors
/// [`RuleError::InterfaceName`]
pub fn check_interface_name(name: &str) -> Result<(), RuleError> {
    let is_refused = |letter: char| matches!(letter, '/' | ':' | '\0') || letter.is_whitespace();
    if name.is_empty() || name.len() > MAX_INTERFACE_NAME || matches!(name, "." | "..") || name.contains(is_refused) {
        return Err(RuleError::InterfaceName(name.to_owned()));
    }
    Ok(())
}

/// Reads the address and port of a service or backend.
///
/// # Errors
/// It is none, or one that packets cannot have.
pub fn parse_address(text: &str) -> Result<SocketAddr, RuleError> {
    let address = text.parse().map_err(|_no_address| RuleError::Address(text.to_owned()))?;
    check_address(address)?;
    Ok(address)
}

fn check_address(address: SocketAddr) -> Result<(), RuleError> {
    if let Some(reason) = unusable(address) {
        return Err(RuleError::UnusableAddress { address: address.ip(), reason });
    }
    if address.port() == 0 { Err(RuleError::Port) } else { Ok(()) }
}

/// Why an address is none of a service or backend, if it is not.
fn unusable(address: SocketAddr) -> Option<&'static str> {
    let ip = address.ip();
    if ip.is_unspecified() {
        return Some("it is the unspecified address");
    }
    if ip.is_loopback() {
        return Some("loopback addresses never leave their host");
    }
    if ip.is_multicast() || ip == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
        return Some("it names many hosts");
    }
    match address {
        SocketAddr::V6(six) if six.ip().to_ipv4_mapped().is_some() => Some("write it as an IPv4 address"),
        SocketAddr::V6(six) if six.scope_id() != 0 => Some("addresses with a scope are not dispatched"),
        SocketAddr::V6(_) | SocketAddr::V4(_) => None,
    }
}

/// Reads a weight.
///
/// # Errors
/// [`RuleError::Weight`]
pub fn weight(number: i64) -> Result<u16, RuleError> {
    match u16::try_from(number) {
        Ok(weight) if weight <= MAX_WEIGHT => Ok(weight),
        _ => Err(RuleError::Weight(number)),
    }
}

/// Checks how many flows a listing may have.
///
/// # Errors
/// [`RuleError::Limit`]
pub fn check_limit(limit: u32) -> Result<(), RuleError> {
    if (1..=MAX_LISTED).contains(&limit) { Ok(()) } else { Err(RuleError::Limit(limit)) }
}

/// Reads how long a client is remembered.
///
/// # Errors
/// It is no duration, too short or too long.
pub fn parse_affinity_timeout(text: &str) -> Result<Duration, RuleError> {
    parse_duration(text, AFFINITY_TIMEOUT)
}

/// Reads a duration between two others.
pub(super) fn parse_duration(text: &str, range: (Duration, Duration)) -> Result<Duration, RuleError> {
    let duration = humantime::parse_duration(text).map_err(|_no_duration| RuleError::Duration(text.to_owned()))?;
    check_duration(duration, range)?;
    Ok(duration)
}

fn check_duration(duration: Duration, (least, most): (Duration, Duration)) -> Result<(), RuleError> {
    if (least..=most).contains(&duration) { Ok(()) } else { Err(RuleError::DurationRange { duration, least, most }) }
}

/// Checks what a change brings in. That it fits what is there already is the core's to judge.
///
/// # Errors
/// The first rule that a value breaks.
pub fn check_change(change: &Change) -> Result<(), RuleError> {
    match change {
        Change::AddService { service } => {
            check_name(&service.name)?;
            check_address(service.vip)?;
            check_duration(service.affinity_timeout, AFFINITY_TIMEOUT)?;
            service.secure.as_deref().map_or(Ok(()), secure::check_secure)?;
            service.backends.iter().try_for_each(check_backend)
        }
        Change::SetService { affinity_timeout, .. } => {
            affinity_timeout.map_or(Ok(()), |timeout| check_duration(timeout, AFFINITY_TIMEOUT))
        }
        Change::AddBackend { backend, .. } => check_backend(backend),
        Change::SetBackend { weight: new, .. } => new.map_or(Ok(()), |new| weight(i64::from(new)).map(|_| ())),
        Change::RemoveService { .. } | Change::RemoveBackend { .. } => Ok(()),
    }
}

fn check_backend(backend: &BackendSpec) -> Result<(), RuleError> {
    check_name(&backend.name)?;
    check_address(backend.address)?;
    weight(i64::from(backend.weight)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lower_case_and_start_well() {
        for name in ["a", "0", "web-6.eu_1", &"x".repeat(63)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "-a", ".a", "_a", "A", "a b", "a/b", "ä", "a\n", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn interface_names_are_those_that_the_kernel_takes() {
        for name in ["eth0", "enp0s31f6.100", "br-lan", "fifteen-letters"] {
            assert_eq!(check_interface_name(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "a/b", "eth0:1", "a b", "sixteen-letters!"] {
            assert!(check_interface_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn addresses_are_those_that_packets_can_have() {
        for text in ["203.0.113.10:80", "[2001:db8::10]:443", "10.0.0.1:65535", "169.254.1.1:1"] {
            assert!(parse_address(text).is_ok(), "{text}");
        }
        for text in [
            "203.0.113.10",
            "203.0.113.10:0",
            "203.0.113.10:65536",
            "0.0.0.0:80",
            "127.0.0.1:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[::]:80",
            "[::1]:80",
            "[ff02::1]:80",
            "[::ffff:10.0.0.1]:80",
            "[fe80::1%2]:80",
            "2001:db8::10:80",
            "example.org:80",
        ] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(parse_affinity_timeout("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_affinity_timeout("1h30m"), Ok(Duration::from_secs(5400)));
        for text in ["", "10", "m", "10 parsecs", "-1s", "999999999999999999999s"] {
            assert_eq!(parse_affinity_timeout(text), Err(RuleError::Duration(text.into())));
        }
        let error = |text| parse_affinity_timeout(text).unwrap_err().to_string();
        assert_eq!(error("0s"), "0s is out of range, expected 1s to 7days");
        assert_eq!(error("8d"), "8days is out of range, expected 1s to 7days");
    }

    #[test]
    fn weights_end_at_a_thousand() {
        assert_eq!(weight(0), Ok(0));
        assert_eq!(weight(1000), Ok(1000));
        assert_eq!(weight(1001).unwrap_err().to_string(), "weight 1001 is out of range, expected 0 to 1000");
        assert!(weight(-1).is_err());
        assert!(weight(i64::MAX).is_err());
    }
}
