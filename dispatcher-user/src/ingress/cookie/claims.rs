//! What a cookie says: whose session it is, which backend has it, and until when that counts.

use std::net::{IpAddr, SocketAddr};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::core::sessions::SessionId;

/// What a cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The session.
    pub session: SessionId,
    /// Backend ID.
    pub backend: u16,
    /// The backend's generation.
    pub generation: u16,
    /// [`mark`] of the backend's address.
    pub mark: u32,
    /// Until when it counts; seconds since 1970.
    pub expires_s: i64,
}

/// The same as bytes, which are sealed.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable)]
pub(super) struct ClaimsBytes {
    session: [u8; 16],
    backend: [u8; 2],
    generation: [u8; 2],
    mark: [u8; 4],
    expires_s: [u8; 8],
}

impl From<&Claims> for ClaimsBytes {
    fn from(claims: &Claims) -> Self {
        Self {
            session: claims.session.0,
            backend: claims.backend.to_be_bytes(),
            generation: claims.generation.to_be_bytes(),
            mark: claims.mark.to_be_bytes(),
            expires_s: claims.expires_s.to_be_bytes(),
        }
    }
}

impl From<&ClaimsBytes> for Claims {
    fn from(bytes: &ClaimsBytes) -> Self {
        Self {
            session: SessionId(bytes.session),
            backend: u16::from_be_bytes(bytes.backend),
            generation: u16::from_be_bytes(bytes.generation),
            mark: u32::from_be_bytes(bytes.mark),
            expires_s: i64::from_be_bytes(bytes.expires_s),
        }
    }
}

/// Tells a backend from one that had its ID and generation on another host, or before this one was restarted: both count
/// anew with every boot, and cookies last longer. FNV-1a (RFC 9923) over address and port; nobody outside sees it.
#[must_use]
pub fn mark(backend: SocketAddr) -> u32 {
    let address = match backend.ip() {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => six.octets(),
    };
    let bytes = address.into_iter().chain(backend.port().to_be_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
