//! Patterns of hosts: `shop.example.org`, or `*.example.org` for every name below it.

use std::{net::IpAddr, str::FromStr};

use super::{PatternError, check_length};

/// A pattern of hosts, for the host of a request or the server name of a TLS handshake.
#[derive(Clone, Debug)]
pub struct HostPattern {
    /// In lower case, without a final dot.
    pub(super) text: String,
}

impl HostPattern {
    /// True if it matches `host`, which has no port. Upper and lower case are alike (RFC 9110, 4.2.3).
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        // A final dot says that the name is complete, and it is so in any case.
        let host = host.strip_suffix('.').unwrap_or(host);
        let Some(below) = self.text.strip_prefix('*') else { return host.eq_ignore_ascii_case(&self.text) };
        // `below` starts with a dot, and something stands in front of it.
        let Some(start) = host.len().checked_sub(below.len()).filter(|&start| start > 0) else { return false };
        host.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(below))
    }
}

/// The host of an authority or `Host` field: what stands in front of the port, brackets of an IPv6 address taken off.
#[must_use]
pub fn without_port(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(is_letter)
        };
        let is_name = name.strip_prefix("*.").unwrap_or(&name).split('.').all(is_label);
        if is_name || name.parse::<IpAddr>().is_ok() {
            Ok(Self { text: name })
        } else {
            Err(PatternError::Host(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, host: &str) -> bool {
        pattern.parse::<HostPattern>().unwrap().matches(host)
    }

    #[test]
    fn a_name_matches_itself_and_a_star_every_name_below() {
        for (pattern, host) in [
            ("shop.example.org", "shop.example.org"),
            ("Shop.Example.org.", "sHOP.example.ORG"),
            ("shop.example.org", "shop.example.org."),
            ("*.example.org", "a.example.org"),
            ("*.example.org", "a.b.EXAMPLE.org"),
            ("2001:db8::10", "2001:DB8::10"),
            ("203.0.113.10", "203.0.113.10"),
        ] {
            assert!(matches(pattern, host), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("shop.example.org", "example.org"),
            ("*.example.org", "example.org"),
            ("*.example.org", ".example.org"),
            ("*.example.org", "badexample.org"),
            ("*.example.org", "a.example.org.evil"),
            ("*.example.org", ""),
            ("*.example.org", "äexample.org"),
        ] {
            assert!(!matches(pattern, host), "{pattern} {host}");
        }
    }

    #[test]
    fn ports_and_brackets_are_taken_off() {
        for (authority, host) in [
            ("example.org", "example.org"),
            ("example.org:8443", "example.org"),
            ("[2001:db8::10]:443", "2001:db8::10"),
            ("[2001:db8::10]", "2001:db8::10"),
            ("[broken", "broken"),
            ("", ""),
        ] {
            assert_eq!(without_port(authority), host);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["example.org:443", "a..b", "*", "*.*.org", "a.*.org", "*example.org", "-/", "a b", "https://a"] {
            assert_eq!(text.parse::<HostPattern>().unwrap_err(), PatternError::Host(text.into()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(pattern in "\\PC{0,12}", host in "\\PC{0,12}") {
            if let Ok(pattern) = pattern.parse::<HostPattern>() {
                std::hint::black_box(pattern.matches(without_port(&host)));
            }
        }
    }
}
