//! How flows and client networks are written: `SRC:P>DST:P/proto` and `ADDRESS/LENGTH`.

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

/// Clients: one address, or all addresses with a prefix.
///
/// Written `198.51.100.0/24`; an address alone is that one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNet {
    address: IpAddr,
    prefix: u8,
}

/// Why a text names no clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The address is none.
    #[error("`{0}` is no address, such as 198.51.100.2 or 198.51.100.0/24")]
    Address(String),
    /// The prefix length is no number, or longer than the address.
    #[error("`{length}` is no prefix length; it is 0 to {most} here")]
    Length {
        /// What was written.
        length: String,
        /// The longest for the family.
        most: u8,
    },
}

impl ClientNet {
    /// True if `client` is one of these.
    #[must_use]
    pub fn contains(&self, client: IpAddr) -> bool {
        match (self.address, client) {
            (IpAddr::V4(net), IpAddr::V4(client)) => {
                let differing = u32::from(net) ^ u32::from(client);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(client)) => {
                let differing = u128::from(net) ^ u128::from(client);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl FromStr for ClientNet {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_no_address| NetError::Address(address.to_owned()))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let Some(length) = length else { return Ok(Self { address, prefix: most }) };
        match length.parse() {
            Ok(prefix) if prefix <= most => Ok(Self { address, prefix }),
            _ => Err(NetError::Length { length: length.to_owned(), most }),
        }
    }
}

impl fmt::Display for ClientNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
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

impl Serialize for ClientNet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientNet {
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

    #[test]
    fn a_net_contains_what_shares_its_prefix() {
        let net = |text: &str| text.parse::<ClientNet>().unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(net("198.51.100.0/24").contains(ip("198.51.100.255")));
        assert!(!net("198.51.100.0/24").contains(ip("198.51.101.0")));
        assert!(net("198.51.100.7").contains(ip("198.51.100.7")));
        assert!(!net("198.51.100.7").contains(ip("198.51.100.6")));
        assert!(net("0.0.0.0/0").contains(ip("203.0.113.1")));
        assert!(!net("0.0.0.0/0").contains(ip("2001:db8::1")));
        assert!(net("2001:db8::/32").contains(ip("2001:db8:ffff::1")));
        assert!(!net("2001:db8::/32").contains(ip("2001:db9::1")));
        assert!("198.51.100.0/33".parse::<ClientNet>().is_err());
        assert!("2001:db8::/129".parse::<ClientNet>().is_err());
        assert!("net/8".parse::<ClientNet>().is_err());
    }
}
