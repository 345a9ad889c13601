//! Sends held packets on: frames that are already rewritten, out of an interface, through packet sockets.

use std::{collections::HashMap, os::fd::OwnedFd};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket},
};
use std::os::fd::AsRawFd as _;

/// How often a frame is offered to an interface whose queue is full, before it is counted as lost.
const ATTEMPTS: u32 = 64;

/// A socket that sends frames. It never receives: its protocol is zero.
#[derive(Debug)]
pub struct Injector {
    socket: OwnedFd,
    interfaces: HashMap<u32, LinkAddr>,
}

/// Why a frame was not sent.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// No such interface.
    #[error("there is no interface {0}")]
    NoInterface(u32),
    /// The kernel refused the frame.
    #[error("interface {ifindex} takes no frame of {bytes} bytes: {errno}")]
    Refused {
        /// The interface.
        ifindex: u32,
        /// Bytes of the frame.
        bytes: usize,
        /// The kernel's reason.
        errno: Errno,
    },
}

impl Injector {
    /// Opens the socket.
    ///
    /// # Errors
    /// If the process may not (it needs `CAP_NET_RAW`).
    pub fn open() -> nix::Result<Self> {
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, interfaces: HashMap::new() })
    }

    /// Sends a frame out of an interface.
    ///
    /// A queue that is full is offered the frame again, for its driver empties it meanwhile: whoever ignores a full
    /// queue loses first packets in a burst.
    ///
    /// # Errors
    /// If there is no such interface, or it does not take the frame.
    pub fn send(&mut self, ifindex: u32, frame: &[u8]) -> Result<(), InjectError> {
        let address = self.address(ifindex)?;
        let mut outcome = Err(Errno::ENOBUFS);
        for _ in 0..ATTEMPTS {
            outcome = sendto(self.socket.as_raw_fd(), frame, &address, MsgFlags::empty());
            if !matches!(outcome, Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
            std::thread::yield_now();
        }
        match outcome {
            Ok(_) => Ok(()),
            Err(errno) => {
                // The interface may have been made anew under another index.
                self.interfaces.remove(&ifindex);
                Err(InjectError::Refused { ifindex, bytes: frame.len(), errno })
            }
        }
    }

    fn address(&mut self, ifindex: u32) -> Result<LinkAddr, InjectError> {
        if let Some(address) = self.interfaces.get(&ifindex) {
            return Ok(*address);
        }
        let address = link_address(ifindex).ok_or(InjectError::NoInterface(ifindex))?;
        self.interfaces.insert(ifindex, address);
        Ok(address)
    }
}

fn link_address(ifindex: u32) -> Option<LinkAddr> {
    getifaddrs()
        .ok()?
        .filter_map(|interface| interface.address)
        .filter(|address| address.family() == Some(AddressFamily::Packet))
        .filter_map(|address| address.as_link_addr().copied())
        .find(|address| u32::try_from(address.ifindex()) == Ok(ifindex))
}
