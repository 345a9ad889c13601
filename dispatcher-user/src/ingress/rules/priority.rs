//! What a client says of the urgency of its own request: the field `Priority` (RFC 9218).

use http::{HeaderMap, HeaderName};

const FIELD: HeaderName = HeaderName::from_static("priority");
/// Letters of a field that are looked at: it has two short members.
const MAX_FIELD: usize = 64;

/// How urgent a request is among others of the same client.
///
/// It may make a client's own request wait for the client's others. Between clients the operator's classes decide: who
/// could raise himself above others would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// From 0, the most urgent, to 7.
    pub urgency: u8,
    /// True if the answer is of use piece by piece.
    pub incremental: bool,
}

impl Default for Priority {
    /// What holds where nothing is said (RFC 9218, 4.1 and 4.2).
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

/// The priority of a request. What is malformed, out of range or unknown says nothing (RFC 9218, 4).
#[must_use]
pub fn priority(headers: &HeaderMap) -> Priority {
    let mut priority = Priority::default();
    for value in headers.get_all(FIELD) {
        let Some(text) = value.to_str().ok().filter(|text| text.len() <= MAX_FIELD) else { continue };
        // A dictionary of structured fields (RFC 9651, 3.2), of which the last one of a name counts.
        for member in text.split(',') {
            let member = member.split(';').next().unwrap_or_default().trim_ascii();
            match member.split_once('=') {
                Some(("u", urgency)) => {
                    let is_digit = urgency.len() == 1;
                    let urgency = urgency.parse().ok().filter(|&urgency: &u8| is_digit && urgency <= 7);
                    priority.urgency = urgency.unwrap_or(priority.urgency);
                }
                Some(("i", "?1")) => priority.incremental = true,
                Some(("i", "?0")) => priority.incremental = false,
                None if member == "i" => priority.incremental = true,
                Some(_) | None => {}
            }
        }
    }
    priority
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> (u8, bool) {
        let headers = values.iter().map(|value| (FIELD, value.parse().unwrap())).collect();
        let Priority { urgency, incremental } = priority(&headers);
        (urgency, incremental)
    }

    #[test]
    fn what_is_said_counts_and_nonsense_does_not() {
        assert_eq!(of(&[]), (3, false));
        assert_eq!(of(&["u=0"]), (0, false));
        assert_eq!(of(&["u=5, i"]), (5, true));
        assert_eq!(of(&["i=?1;x=1 ,u=7;y"]), (7, true));
        assert_eq!(of(&["u=1", "u=2, i, i=?0"]), (2, false));
        for value in ["u=8", "u=-1", "u=+1", "u=01", "u= 1", "u", "U=1", "x=1", "", ",", "u=1.5", "i=1"] {
            assert_eq!(of(&[value]), (3, false), "{value}");
        }
        assert_eq!(of(&[&format!("u=1{}", " ".repeat(64))]), (3, false));
    }
}
