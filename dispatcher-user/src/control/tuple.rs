//! How flows are written: `SRC:P>DST:P/proto`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::core::model::Protocol;

/// A flow, named by the 5-tuple of its packets.
///
/// Written `198.51.100.2:40000>203.0.113.10:80/tcp`, or `[2001:db8:51::2]:40000>[2001:db8:113::10]:80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowTuple {
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port, of the same family.
    pub destination: SocketAddr,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// Why a text names no flow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TupleError {
    /// A part between the separators is missing.
    #[error("expected SRC:PORT>DST:PORT/tcp or /udp, such as 198.51.100.2:40000>203.0.113.10:80/tcp")]
    Shape,
    /// A part is no address and port.
    #[error("`{0}` is no address and port, such as 203.0.113.10:80 or [2001:db8::10]:80")]
    Address(String),
    /// The protocol is neither of the two.
    #[error("`{0}` is no protocol; there are tcp and udp")]
    Protocol(String),
    /// Source and destination are of different families.
    #[error("{0} and {1} are of different address families")]
    Family(IpAddr, IpAddr),
}

impl FromStr for FlowTuple {
    type Err = TupleError;

    fn from_str(text: &str) -> Result<Self, TupleError> {
        let (source, rest) = text.split_once('>').ok_or(TupleError::Shape)?;
        let (destination, protocol) = rest.split_once('/').ok_or(TupleError::Shape)?;
        let (source, destination) = (address(source)?, address(destination)?);
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(TupleError::Family(source.ip(), destination.ip()));
        }
        Ok(Self { source, destination, protocol: parse_protocol(protocol)? })
    }
}

/// Reads `tcp` or `udp`.
///
/// # Errors
/// Anything else.
pub fn parse_protocol(text: &str) -> Result<Protocol, TupleError> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        other => Err(TupleError::Protocol(other.to_owned())),
    }
}

fn address(text: &str) -> Result<SocketAddr, TupleError> {
    text.trim().parse().map_err(|_no_address| TupleError::Address(text.to_owned()))
}

impl fmt::Display for FlowTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}/{}", self.source, self.destination, self.protocol)
    }
}

impl Serialize for FlowTuple {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FlowTuple {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_read_as_it_is_written() {
        for text in ["198.51.100.2:40000>203.0.113.10:80/tcp", "[2001:db8:51::2]:4000>[2001:db8:113::10]:53/udp"] {
            assert_eq!(text.parse::<FlowTuple>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_flow_says_why() {
        let error = |text: &str| text.parse::<FlowTuple>().unwrap_err();
        assert_eq!(error("198.51.100.2:1"), TupleError::Shape);
        assert_eq!(error("198.51.100.2>203.0.113.10:80/tcp"), TupleError::Address("198.51.100.2".into()));
        assert_eq!(error("198.51.100.2:1>203.0.113.10:80/sctp"), TupleError::Protocol("sctp".into()));
        assert!(matches!(error("198.51.100.2:1>[::1]:80/tcp"), TupleError::Family(..)));
    }
}
