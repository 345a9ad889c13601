//! QoS classes: whose requests go first, and how much of a backend is sure to whom.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HeaderPattern, HostPattern, Net, PathPattern};

/// Name of the class of requests that no other class takes. It is always there, and its number is 0.
pub const DEFAULT_CLASS: &str = "default";
/// Classes at one time, the default one included.
pub const MAX_CLASSES: usize = 32;

/// A class of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QosClassSpec {
    /// Unique name.
    pub name: String,
    /// 0 goes first; a lower class waits while a higher one has requests, but for its share.
    pub priority: u8,
    /// Share among classes of the same priority.
    pub weight: u16,
    /// Percent of a backend that are sure to it, whatever higher classes ask for.
    pub share_percent: u8,
    /// How much may wait at a backend.
    pub queue: QueueSpec,
    /// How long a request may wait.
    pub timeout: Duration,
    /// How much it may have in all.
    pub rate: Option<Rate>,
    /// Requests a second of each client.
    pub client_rate: Option<u64>,
    /// Which requests it takes: those that one of these matches.
    pub matches: Vec<ClassMatch>,
}

impl QosClassSpec {
    /// A class of which only the name is said: in the middle of the priorities, as RFC 9218 (4.1) has it for requests
    /// that say nothing.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            priority: 3,
            weight: 1,
            share_percent: 0,
            queue: QueueSpec::default(),
            timeout: Duration::from_secs(5),
            rate: None,
            client_rate: None,
            matches: Vec::new(),
        }
    }
}

/// How much of a class may wait at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSpec {
    /// Requests.
    pub entries: u32,
    /// Bytes of their headers and bodies.
    pub bytes: u64,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self { entries: 1024, bytes: 16 * 1024 * 1024 }
    }
}

/// How much of something a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rate {
    /// Requests.
    Requests(u64),
    /// Bits of requests and answers, headers and bodies.
    Bits(u64),
}

/// Which requests a class takes: all that is named must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassMatch {
    /// A field of the request.
    pub header: Option<HeaderPattern>,
    /// Where the client is.
    pub source: Option<Net>,
    /// The request's path.
    pub path: Option<PathPattern>,
    /// The server name of the client's TLS handshake.
    pub sni: Option<HostPattern>,
}

/// A change of a class that an operator asks for; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassChange {
    /// New priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// New weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// New sure share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<u8>,
    /// How many requests may wait at a backend from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u32>,
    /// How many bytes of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How long a request may wait from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// New rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateChange>,
    /// New rate of each client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_rate: Option<RateChange>,
}

impl ClassChange {
    /// Takes over what `later` says.
    pub fn then(&mut self, later: &Self) {
        let Self { priority, weight, share_percent, entries, bytes, timeout, rate, client_rate } = *later;
        *self = Self {
            priority: priority.or(self.priority),
            weight: weight.or(self.weight),
            share_percent: share_percent.or(self.share_percent),
            entries: entries.or(self.entries),
            bytes: bytes.or(self.bytes),
            timeout: timeout.or(self.timeout),
            rate: rate.or(self.rate),
            client_rate: client_rate.or(self.client_rate),
        };
    }
}

/// A change of a class's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateChange {
    /// No rate any more.
    Unlimited,
    /// This rate.
    To(Rate),
}

/// Why a class cannot be as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// No class has that name.
    #[error("no QoS class is called `{0}`")]
    NoSuchClass(String),
    /// More would be sure to all classes together than there is.
    #[error("the shares of all QoS classes come to {0} %, and there are 100")]
    Shares(u32),
    /// A client is not held to bits.
    #[error("the rate of each client is one of requests, such as 10/s")]
    ClientBits,
}

/// Applies a change to the class `name`. If it is refused, nothing has changed.
///
/// # Errors
/// No class has that name, or more would be promised than there is.
pub fn change_class(classes: &mut [QosClassSpec], name: &str, change: &ClassChange) -> Result<(), ClassError> {
    let others = classes.iter().filter(|class| class.name != name).map(|class| u32::from(class.share_percent)).sum();
    let found = classes.iter_mut().find(|class| class.name == name);
    let class = found.ok_or_else(|| ClassError::NoSuchClass(name.to_owned()))?;
    let share_percent = change.share_percent.unwrap_or(class.share_percent);
    check_shares(others, share_percent)?;
    let client_rate = match change.client_rate {
        None => class.client_rate,
        Some(RateChange::Unlimited) => None,
        Some(RateChange::To(Rate::Requests(requests))) => Some(requests),
        Some(RateChange::To(Rate::Bits(_))) => return Err(ClassError::ClientBits),
    };
    let queue = QueueSpec {
        entries: change.entries.unwrap_or(class.queue.entries),
        bytes: change.bytes.unwrap_or(class.queue.bytes),
    };
    *class = QosClassSpec {
        priority: change.priority.unwrap_or(class.priority),
        weight: change.weight.unwrap_or(class.weight),
        share_percent,
        queue,
        timeout: change.timeout.unwrap_or(class.timeout),
        rate: match change.rate {
            None => class.rate,
            Some(RateChange::Unlimited) => None,
            Some(RateChange::To(rate)) => Some(rate),
        },
        client_rate,
        ..std::mem::replace(class, QosClassSpec::named(""))
    };
    Ok(())
}

/// Checks that a class can be promised `share_percent` beside what is promised to the others.
///
/// # Errors
/// [`ClassError::Shares`]
pub fn check_shares(others: u32, share_percent: u8) -> Result<(), ClassError> {
    let sum = others.saturating_add(u32::from(share_percent));
    if sum <= 100 { Ok(()) } else { Err(ClassError::Shares(sum)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_change_changes_nothing() {
        let gold = QosClassSpec { share_percent: 60, ..QosClassSpec::named("gold") };
        let before = vec![gold, QosClassSpec::named(DEFAULT_CLASS)];
        let mut classes = before.clone();
        let change = ClassChange { share_percent: Some(41), weight: Some(9), ..ClassChange::default() };
        assert_eq!(change_class(&mut classes, "default", &change), Err(ClassError::Shares(101)));
        assert_eq!(change_class(&mut classes, "iron", &change), Err(ClassError::NoSuchClass("iron".into())));
        assert_eq!(classes, before);
        // Its own former share is no other's.
        assert_eq!(change_class(&mut classes, "gold", &change), Ok(()));
        assert_eq!((classes[0].share_percent, classes[0].weight, classes[0].priority), (41, 9, 3));
    }

    #[test]
    fn a_rate_can_be_set_and_taken_away() {
        let mut classes = vec![QosClassSpec::named("gold")];
        let rate = |rate| ClassChange { rate: Some(rate), ..ClassChange::default() };
        change_class(&mut classes, "gold", &rate(RateChange::To(Rate::Requests(7)))).unwrap();
        assert_eq!(classes[0].rate, Some(Rate::Requests(7)));
        change_class(&mut classes, "gold", &ClassChange::default()).unwrap();
        assert_eq!(classes[0].rate, Some(Rate::Requests(7)));
        change_class(&mut classes, "gold", &rate(RateChange::Unlimited)).unwrap();
        assert_eq!(classes[0].rate, None);
        let of_clients = |rate| ClassChange { client_rate: Some(rate), ..ClassChange::default() };
        change_class(&mut classes, "gold", &of_clients(RateChange::To(Rate::Requests(9)))).unwrap();
        let refused = change_class(&mut classes, "gold", &of_clients(RateChange::To(Rate::Bits(9))));
        assert_eq!((refused, classes[0].client_rate), (Err(ClassError::ClientBits), Some(9)));
    }
}
