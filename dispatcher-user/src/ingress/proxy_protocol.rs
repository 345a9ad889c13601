//! Reads the header of the PROXY protocol, version 2, in which a balancer in front says who the client is.
//!
//! Source: `proxy-protocol.txt` of HAProxy, section 2.2. Version 1 (the line of text) is not read.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a header of version 2 begins with; no TLS record and no HTTP request does.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;
/// Bytes of addresses and extensions: more than any balancer sends, and little to hold for one that lies.
const MAX_VARIABLE: usize = 4096;

/// Whom a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// Nobody: the sender connects for itself (a health check), or the client is not on an IP network.
    Sender,
    /// A client.
    Client {
        /// Its address.
        source: SocketAddr,
        /// The address that it connected to.
        destination: SocketAddr,
    },
}

/// Why a header cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The connection does not begin with the signature.
    #[error("the connection does not begin with a PROXY header of version 2")]
    Signature,
    /// Another version.
    #[error("the PROXY header has version {0}, only 2 is known")]
    Version(u8),
    /// A command that the protocol does not have.
    #[error("the PROXY header has the unknown command {0}")]
    Command(u8),
    /// A family or transport that the protocol does not have.
    #[error("the PROXY header has the unknown address family {0:#04x}")]
    Family(u8),
    /// More bytes than are read.
    #[error("the PROXY header announces {0} bytes, at most {MAX_VARIABLE} are read")]
    TooLong(usize),
    /// Too few bytes for the addresses of its family.
    #[error("the PROXY header has {found} bytes of addresses, its family takes {wanted}")]
    TooShort {
        /// What the family takes.
        wanted: usize,
        /// What was announced.
        found: usize,
    },
    /// The connection failed or ended within the header.
    #[error("the connection ended within the PROXY header: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header off a connection, and not one byte more.
///
/// # Errors
/// If it is not there or is malformed. The connection must be closed then: nothing says whose it is.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Proxied, ProxyError> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await?;
    let header = Fixed::parse(&fixed)?;
    let mut variable = vec![0; header.length];
    stream.read_exact(&mut variable).await?;
    header.addresses(&variable)
}

/// The part of a header that is there in each.
#[derive(Clone, Copy, Debug)]
struct Fixed {
    /// False if the sender speaks for itself.
    is_proxied: bool,
    family: Family,
    /// Bytes that follow.
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum Family {
    V4,
    V6,
    /// Unspecified, or a Unix socket: accepted, but no address that means anything here.
    Other,
}

impl Fixed {
    fn parse(bytes: &[u8; FIXED]) -> Result<Self, ProxyError> {
        let [signature @ .., version_command, family, high, low] = bytes;
        if *signature != SIGNATURE {
            return Err(ProxyError::Signature);
        }
        if version_command >> 4 != 2 {
            return Err(ProxyError::Version(version_command >> 4));
        }
        let is_proxied = match version_command & 0x0f {
            0 => false,
            1 => true,
            unknown => return Err(ProxyError::Command(unknown)),
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > MAX_VARIABLE {
            return Err(ProxyError::TooLong(length));
        }
        Ok(Self { is_proxied, family: Family::parse(*family)?, length })
    }

    /// The addresses at the front of what follows; extensions behind them are not looked at.
    fn addresses(self, variable: &[u8]) -> Result<Proxied, ProxyError> {
        let too_short = |wanted| ProxyError::TooShort { wanted, found: variable.len() };
        if !self.is_proxied {
            return Ok(Proxied::Sender);
        }
        let (source, destination, ports) = match self.family {
            Family::V4 => {
                let ((source, destination), ports) = pair::<4>(variable).ok_or_else(|| too_short(12))?;
                (IpAddr::from(Ipv4Addr::from(source)), IpAddr::from(Ipv4Addr::from(destination)), ports)
            }
            Family::V6 => {
                let ((source, destination), ports) = pair::<16>(variable).ok_or_else(|| too_short(36))?;
                (IpAddr::from(Ipv6Addr::from(source)), IpAddr::from(Ipv6Addr::from(destination)), ports)
            }
            Family::Other => return Ok(Proxied::Sender),
        };
        Ok(Proxied::Client {
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
        })
    }
}

impl Family {
    /// High half: family; low half: transport. A datagram's address is still an address.
    fn parse(byte: u8) -> Result<Self, ProxyError> {
        match (byte >> 4, byte & 0x0f) {
            (_, 3..) => Err(ProxyError::Family(byte)),
            (1, 1 | 2) => Ok(Self::V4),
            (2, 1 | 2) => Ok(Self::V6),
            (0..=3, _) => Ok(Self::Other),
            _ => Err(ProxyError::Family(byte)),
        }
    }
}

/// Two addresses of `N` bytes, then two ports.
type Pair<const N: usize> = (([u8; N], [u8; N]), (u16, u16));

fn pair<const N: usize>(bytes: &[u8]) -> Option<Pair<N>> {
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let destination_port = rest.first_chunk::<2>()?;
    Some(((*source, *destination), (u16::from_be_bytes(*source_port), u16::from_be_bytes(*destination_port))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(version_command: u8, family: u8, variable: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([version_command, family]);
        bytes.extend(u16::try_from(variable.len()).unwrap().to_be_bytes());
        bytes.extend(variable);
        bytes
    }

    fn v4(source: [u8; 4], destination: [u8; 4], ports: (u16, u16)) -> Vec<u8> {
        [&source[..], &destination, &ports.0.to_be_bytes(), &ports.1.to_be_bytes()].concat()
    }

    /// Reads a header from the front of `bytes`; what is left is returned too.
    async fn take(bytes: &[u8]) -> (Result<Proxied, ProxyError>, Vec<u8>) {
        let mut stream = bytes;
        let read = read(&mut stream).await;
        (read, stream.to_vec())
    }

    #[tokio::test]
    async fn a_client_is_named_and_what_follows_is_left_alone() {
        let mut bytes = header(0x21, 0x11, &v4([192, 0, 2, 7], [203, 0, 113, 10], (40_000, 443)));
        bytes.extend(b"\x16\x03\x01");
        let (read, rest) = take(&bytes).await;
        assert_eq!(
            read.unwrap(),
            Proxied::Client {
                source: "192.0.2.7:40000".parse().unwrap(),
                destination: "203.0.113.10:443".parse().unwrap()
            }
        );
        assert_eq!(rest, b"\x16\x03\x01");
    }

    #[tokio::test]
    async fn extensions_are_skipped() {
        let mut variable = v4([192, 0, 2, 7], [203, 0, 113, 10], (40_000, 443));
        variable.extend([0x02, 0, 4, b's', b'h', b'o', b'p']);
        let (read, rest) = take(&header(0x21, 0x11, &variable)).await;
        assert!(matches!(read.unwrap(), Proxied::Client { .. }));
        assert!(rest.is_empty());
    }

    #[tokio::test]
    async fn the_sender_itself_and_unix_sockets_name_nobody() {
        for (command, family, variable) in
            [(0x20, 0x00, vec![]), (0x20, 0x11, vec![1; 12]), (0x21, 0x00, vec![]), (0x21, 0x31, vec![b'a'; 216])]
        {
            assert_eq!(take(&header(command, family, &variable)).await.0.unwrap(), Proxied::Sender, "{command:#x}");
        }
    }

    #[tokio::test]
    async fn what_is_malformed_is_refused_by_its_fault() {
        let addresses = v4([1; 4], [2; 4], (1, 2));
        let refused = |bytes: Vec<u8>| async move { take(&bytes).await.0.unwrap_err().to_string() };
        assert!(refused(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n".to_vec()).await.contains("does not begin"));
        assert!(refused(header(0x11, 0x11, &addresses)).await.contains("version 1"));
        assert!(refused(header(0x22, 0x11, &addresses)).await.contains("command 2"));
        assert!(refused(header(0x21, 0x41, &addresses)).await.contains("family 0x41"));
        assert!(refused(header(0x21, 0x13, &addresses)).await.contains("family 0x13"));
        assert!(refused(header(0x21, 0x21, &addresses)).await.contains("takes 36"));
        assert!(refused(header(0x21, 0x11, &addresses[..11])).await.contains("takes 12"));
        assert!(refused(header(0x21, 0x11, &[0; MAX_VARIABLE + 1])).await.contains("at most"));
        assert!(refused(header(0x21, 0x11, &addresses)[..27].to_vec()).await.contains("ended within"));
    }

    proptest! {
        #[test]
        fn any_client_survives_the_way(source: SocketAddr, port: u16, extensions in prop::collection::vec(any::<u8>(), 0..64)) {
            let (family, mut variable) = match source.ip() {
                IpAddr::V4(address) => (0x11, [address.octets(), [203, 0, 113, 10]].concat()),
                IpAddr::V6(address) => (0x21, [address.octets(), [7; 16]].concat()),
            };
            variable.extend(source.port().to_be_bytes());
            variable.extend(port.to_be_bytes());
            variable.extend(&extensions);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let Proxied::Client { source: read, destination } = runtime.block_on(take(&header(0x21, family, &variable))).0.unwrap()
            else { panic!("no client") };
            prop_assert_eq!((read.ip(), read.port()), (source.ip(), source.port()));
            prop_assert_eq!(destination.port(), port);
        }

        #[test]
        fn no_bytes_break_the_reader(tail in prop::collection::vec(any::<u8>(), 0..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let bytes = [&SIGNATURE[..], &tail].concat();
            let (read, rest) = runtime.block_on(take(&bytes));
            // What was read successfully is exactly what the header announced.
            if read.is_ok() {
                let announced = usize::from(u16::from_be_bytes([tail[2], tail[3]]));
                prop_assert_eq!(bytes.len() - rest.len(), FIXED + announced);
            }
        }
    }
}
