//! Bursts of SYNs from many clients, and who saw which: frames as they are on the wire.

use dispatcher_lab::Namespace;
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind, recv, sendto,
        setsockopt, socket, sockopt,
    },
};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd as _, OwnedFd},
};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;
/// Bytes of a SYN without options.
const FRAME: usize = ETHERNET + IPV4 + TCP;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Room for thousands of small frames.
const RECEIVE_BUFFER: usize = 32 << 20;
/// How often a full queue is offered a frame again.
const ATTEMPTS: usize = 1000;

/// A packet socket on one interface of a namespace.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    interface: LinkAddr,
}

/// What of a segment matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Where it comes from.
    pub from: SocketAddrV4,
    /// Where it goes.
    pub to: SocketAddrV4,
    /// Whether it is the answer to a SYN.
    pub is_answer: bool,
}

impl Wire {
    /// Opens a socket that sees every frame of the interface, from now on.
    ///
    /// # Panics
    /// When there is no such interface, or without root.
    #[must_use]
    pub fn tap(namespace: &Namespace, interface: &str) -> Self {
        namespace.run(|| Self::open(interface).unwrap()).unwrap()
    }

    fn open(name: &str) -> nix::Result<Self> {
        let found = getifaddrs()?
            .filter(|interface| interface.interface_name == name)
            .filter_map(|interface| interface.address)
            .find(|address| address.family() == Some(AddressFamily::Packet));
        let interface = found.and_then(|address| address.as_link_addr().copied()).ok_or(Errno::ENODEV)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
        bind(socket.as_raw_fd(), &interface)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        Ok(Self { socket, interface })
    }

    /// The interface's MAC address.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.interface.addr().unwrap()
    }

    /// Sends a frame; a full queue is offered it again.
    ///
    /// # Panics
    /// When the interface does not take it.
    pub fn send(&self, frame: &[u8]) {
        let send = || sendto(self.socket.as_raw_fd(), frame, &self.interface, MsgFlags::empty());
        let sent = (0..ATTEMPTS).map(|_| send()).find(|sent| !matches!(sent, Err(Errno::ENOBUFS | Errno::EAGAIN)));
        assert_eq!(sent, Some(Ok(frame.len())));
    }

    /// The SYNs, and answers to SYNs, that were seen since the last look.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut frame = [0; 2048];
        while let Ok(length) = recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            segments.extend(frame.get(..length).and_then(segment));
        }
        segments
    }
}

/// Reads a frame, if it is a TCP segment over IPv4 with SYN set.
fn segment(frame: &[u8]) -> Option<Segment> {
    let ip = frame.get(ETHERNET..ETHERNET + IPV4)?;
    let tcp = frame.get(ETHERNET + IPV4..ETHERNET + IPV4 + TCP)?;
    let is_tcp = frame.get(12..14)? == [8, 0] && ip.first()? == &0x45 && ip.get(9)? == &6;
    let flags = tcp.get(13)?;
    let end = |address: std::ops::Range<usize>, port: std::ops::Range<usize>| {
        let address: [u8; 4] = ip.get(address)?.try_into().ok()?;
        let port: [u8; 2] = tcp.get(port)?.try_into().ok()?;
        Some(SocketAddrV4::new(Ipv4Addr::from(address), u16::from_be_bytes(port)))
    };
    let (from, to) = (end(12..16, 0..2)?, end(16..20, 2..4)?);
    (is_tcp && flags & SYN != 0).then_some(Segment { from, to, is_answer: flags & ACK != 0 })
}

/// A SYN, as a client's host sends it.
#[must_use]
pub fn frame((source, destination): ([u8; 6], [u8; 6]), from: SocketAddrV4, to: SocketAddrV4) -> [u8; FRAME] {
    let mut tcp = Vec::with_capacity(TCP);
    tcp.extend(from.port().to_be_bytes());
    tcp.extend(to.port().to_be_bytes());
    // Sequence number and acknowledgement; five words of header, the flag, the window; checksum and urgent pointer.
    tcp.extend([0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 0x50, SYN, 0xff, 0xff, 0, 0, 0, 0]);
    let mut pseudo_header = [from.ip().octets(), to.ip().octets()].concat();
    pseudo_header.extend([0, 6, 0, 20]);
    let sum = checksum(&[pseudo_header.as_slice(), &tcp].concat());
    let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend(from.ip().octets());
    ip.extend(to.ip().octets());
    let ip_sum = checksum(&ip);
    let mut frame = [0; FRAME];
    let parts = destination.iter().chain(&source).chain(&[8, 0]).chain(&ip).chain(&tcp);
    frame.iter_mut().zip(parts).for_each(|(byte, part)| *byte = *part);
    for (at, sum) in [(ETHERNET + 10, ip_sum), (ETHERNET + IPV4 + 16, sum)] {
        frame.iter_mut().skip(at).zip(sum.to_be_bytes()).for_each(|(byte, part)| *byte = part);
    }
    frame
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_its_checksums_hold() {
        let (from, to) = ("10.200.1.2:1025".parse().unwrap(), "203.0.113.10:80".parse().unwrap());
        let frame = frame(([1; 6], [2; 6]), from, to);
        assert_eq!(segment(&frame), Some(Segment { from, to, is_answer: false }));
        assert_eq!(checksum(&frame[ETHERNET..ETHERNET + IPV4]), 0);
        let pseudo_header = [&frame[26..34], &[0, 6, 0, 20]].concat();
        assert_eq!(checksum(&[pseudo_header.as_slice(), &frame[ETHERNET + IPV4..]].concat()), 0);
    }
}
