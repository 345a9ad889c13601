//! Reads the values of arguments: names, words, VIPs, settings.

use std::{ffi::OsStr, marker::PhantomData, net::SocketAddr, str::FromStr, time::Duration};

use clap::{
    Arg, Command,
    builder::{PossibleValue, TypedValueParser},
};

use crate::{
    config::{
        quantity::{QuantityError, parse_bytes, parse_rate},
        rules::{self, RuleError},
        words::{Word, WordError},
    },
    control::tuple::{TupleError, parse_protocol},
    core::model::{AdminState, Affinity, ClassChange, Protocol, RateChange, Scheduler},
};

/// Reads one of a choice's words, and lists them for help and completion.
pub(super) struct Words<W>(PhantomData<W>);

impl<W> Words<W> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<W> Clone for Words<W> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<W: Word> TypedValueParser for Words<W> {
    type Value = W;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<W, clap::Error> {
        // clap's own list of possible values could not say of a word that it is not built.
        TypedValueParser::parse_ref(&W::named, command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(W::WORDS.iter().map(|(word, _)| PossibleValue::new(word))))
    }
}

/// Reads the name of a service or backend.
pub(super) fn name(text: &str) -> Result<String, RuleError> {
    rules::check_name(text)?;
    Ok(text.to_owned())
}

/// Reads the name of an interface.
pub(super) fn interface(text: &str) -> Result<String, RuleError> {
    rules::check_interface_name(text)?;
    Ok(text.to_owned())
}

/// Reads a weight.
pub(super) fn weight(text: &str) -> Result<u16, ValueError> {
    let number = text.parse().map_err(|_no_number| ValueError::Number(text.to_owned()))?;
    Ok(rules::weight(number)?)
}

/// Reads how many flows a listing may have.
pub(super) fn limit(text: &str) -> Result<u32, ValueError> {
    let limit = text.parse().map_err(|_no_number| ValueError::Number(text.to_owned()))?;
    rules::check_limit(limit)?;
    Ok(limit)
}

/// Why a value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It breaks a rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// It is none of a choice's words.
    #[error(transparent)]
    Word(#[from] WordError),
    /// It names no protocol.
    #[error(transparent)]
    Protocol(#[from] TupleError),
    /// It is no number.
    #[error("`{0}` is no whole number")]
    Number(String),
    /// A VIP without a protocol.
    #[error("expected ADDRESS:PORT/tcp or /udp, such as 203.0.113.10:80/tcp")]
    Vip,
    /// A backend without a service.
    #[error("expected SERVICE/BACKEND, such as web/b1")]
    BackendName,
    /// A setting of a service that is none.
    #[error("expected scheduler=…, affinity=… or affinity_timeout=…")]
    ServiceSetting,
    /// A setting that a service keeps for life.
    #[error("`{0}` cannot change while the service exists; remove the service and add it again")]
    Fixed(String),
    /// A setting of a backend that is none.
    #[error("expected ready, drain, maint or weight=N")]
    BackendSetting,
    /// A setting of a QoS class that is none.
    #[error("expected priority=…, weight=…, share=…, rate=…, client_rate=…, timeout=…, entries=… or bytes=…")]
    ClassSetting,
    /// A rate or a number of bytes.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
}

/// A VIP, its port and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vip {
    /// Address and port.
    pub address: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
}

impl FromStr for Vip {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (address, protocol) = text.rsplit_once('/').ok_or(ValueError::Vip)?;
        Ok(Self { address: rules::parse_address(address)?, protocol: parse_protocol(protocol)? })
    }
}

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendName {
    /// The service's name.
    pub service: String,
    /// The backend's name.
    pub backend: String,
}

impl FromStr for BackendName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (service, backend) = text.split_once('/').ok_or(ValueError::BackendName)?;
        Ok(Self { service: name(service)?, backend: name(backend)? })
    }
}

/// What of a service can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceSetting {
    /// The rule that chooses a backend.
    Scheduler(Scheduler),
    /// Whether a client's new flows return to its backend.
    Affinity(Affinity),
    /// How long a client is remembered.
    AffinityTimeout(Duration),
}

impl FromStr for ServiceSetting {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (key, value) = text.split_once('=').ok_or(ValueError::ServiceSetting)?;
        match key {
            "scheduler" => Ok(Self::Scheduler(Word::named(value)?)),
            "affinity" => Ok(Self::Affinity(Word::named(value)?)),
            "affinity_timeout" | "affinity-timeout" => Ok(Self::AffinityTimeout(rules::parse_affinity_timeout(value)?)),
            "name" | "vip" | "protocol" | "forward" | "mode" => Err(ValueError::Fixed(key.to_owned())),
            _ => Err(ValueError::ServiceSetting),
        }
    }
}

/// What of a backend can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendSetting {
    /// What the operator wants of it.
    State(AdminState),
    /// Its share of new flows.
    Weight(u16),
}

impl FromStr for BackendSetting {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once('=') {
            Some(("weight", number)) => weight(number).map(Self::Weight),
            Some(("state", word)) => Ok(Self::State(Word::named(word)?)),
            Some(_) => Err(ValueError::BackendSetting),
            None => AdminState::named(text).map(Self::State).map_err(|_no_state| ValueError::BackendSetting),
        }
    }
}

/// What of a QoS class can be set: a change of that alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassSetting(pub ClassChange);

impl FromStr for ClassSetting {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (key, value) = text.split_once('=').ok_or(ValueError::ClassSetting)?;
        let usual = ClassChange::default();
        let rate = || match value {
            "none" => Ok(RateChange::Unlimited),
            rate => parse_rate(rate).map(RateChange::To),
        };
        let change = match key {
            "priority" => ClassChange { priority: Some(number(value)?), ..usual },
            "weight" => ClassChange { weight: Some(number(value)?), ..usual },
            "share" => ClassChange { share_percent: Some(number(value.strip_suffix('%').unwrap_or(value))?), ..usual },
            "rate" => ClassChange { rate: Some(rate()?), ..usual },
            "client_rate" | "client-rate" => ClassChange { client_rate: Some(rate()?), ..usual },
            "timeout" => ClassChange { timeout: Some(rules::parse_class_timeout(value)?), ..usual },
            "entries" => ClassChange { entries: Some(number(value)?), ..usual },
            "bytes" => ClassChange { bytes: Some(parse_bytes(value)?), ..usual },
            _ => return Err(ValueError::ClassSetting),
        };
        rules::check_class_values(&change)?;
        Ok(Self(change))
    }
}

fn number<N: FromStr>(text: &str) -> Result<N, ValueError> {
    text.parse().map_err(|_no_number| ValueError::Number(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Rate;

    #[test]
    fn a_vip_has_address_port_and_protocol() {
        let vip: Vip = "[2001:db8::10]:53/udp".parse().unwrap();
        assert_eq!((vip.address, vip.protocol), ("[2001:db8::10]:53".parse().unwrap(), Protocol::Udp));
        assert_eq!("203.0.113.10:80".parse::<Vip>(), Err(ValueError::Vip));
        for text in ["203.0.113.10/tcp", "203.0.113.10:80/", "203.0.113.10:80/icmp", "0.0.0.0:80/tcp", "/"] {
            assert!(text.parse::<Vip>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_backend_is_named_with_its_service() {
        let name: BackendName = "web/b1".parse().unwrap();
        assert_eq!((name.service.as_str(), name.backend.as_str()), ("web", "b1"));
        for text in ["web", "web/", "/b1", "web/b1/x", "Web/b1"] {
            assert!(text.parse::<BackendName>().is_err(), "{text}");
        }
    }

    #[test]
    fn settings_are_those_that_can_change() {
        assert_eq!("scheduler=lc".parse(), Ok(ServiceSetting::Scheduler(Scheduler::Lc)));
        assert_eq!("affinity=client-ip".parse(), Ok(ServiceSetting::Affinity(Affinity::ClientIp)));
        assert_eq!("affinity_timeout=1m".parse(), Ok(ServiceSetting::AffinityTimeout(Duration::from_secs(60))));
        assert_eq!("forward=dsr".parse::<ServiceSetting>(), Err(ValueError::Fixed("forward".into())));
        assert_eq!("colour=red".parse::<ServiceSetting>(), Err(ValueError::ServiceSetting));
        assert_eq!("drain".parse(), Ok(BackendSetting::State(AdminState::Drain)));
        assert_eq!("state=maint".parse(), Ok(BackendSetting::State(AdminState::Maint)));
        assert_eq!("weight=0".parse(), Ok(BackendSetting::Weight(0)));
        assert_eq!("weight=x".parse::<BackendSetting>(), Err(ValueError::Number("x".into())));
        assert!("weight=1001".parse::<BackendSetting>().is_err());
        assert_eq!("gone".parse::<BackendSetting>(), Err(ValueError::BackendSetting));
    }

    #[test]
    fn a_setting_of_a_class_is_held_to_its_rules() {
        let set = |text: &str| text.parse::<ClassSetting>().map(|setting| setting.0);
        let usual = ClassChange::default();
        let rate = Some(RateChange::To(Rate::Requests(50)));
        assert_eq!(set("priority=0"), Ok(ClassChange { priority: Some(0), ..usual }));
        assert_eq!(set("share=20%"), Ok(ClassChange { share_percent: Some(20), ..usual }));
        assert_eq!(set("rate=50/s"), Ok(ClassChange { rate, ..usual }));
        assert_eq!(set("rate=none"), Ok(ClassChange { rate: Some(RateChange::Unlimited), ..usual }));
        assert_eq!(set("client_rate=50/s"), Ok(ClassChange { client_rate: rate, ..usual }));
        assert_eq!(set("bytes=1MiB"), Ok(ClassChange { bytes: Some(1 << 20), ..usual }));
        assert_eq!(set("timeout=2s"), Ok(ClassChange { timeout: Some(Duration::from_secs(2)), ..usual }));
        let error = |text: &str| set(text).unwrap_err().to_string();
        assert_eq!(error("priority=8"), "priority 8 is out of range, expected 0 to 7");
        assert_eq!(error("weight=-1"), "`-1` is no whole number");
        assert_eq!(error("timeout=2"), "`2` is no duration, such as 90s, 10m or 1h30m");
        assert_eq!(error("rate=fast"), "`fast` is no rate, such as 100/s (requests) or 500Mbit/s");
        assert_eq!(error("bytes=1B"), "1B is out of range, expected 64KiB to 1GiB");
        assert_eq!(set("colour=gold"), Err(ValueError::ClassSetting));
        assert_eq!(set("priority"), Err(ValueError::ClassSetting));
    }
}
