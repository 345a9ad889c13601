//! The lab's addresses, all from the ranges for documentation or private use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that clients use.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The address that clients use, IPv6.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x10);
/// What the client routes to the dispatcher.
pub const VIP_NETWORK4: &str = "203.0.113.0/24";
/// What the client routes to the dispatcher, IPv6.
pub const VIP_NETWORK6: &str = "2001:db8:113::/48";

/// The dispatcher's address on the client's side.
pub const DISPATCHER_CLIENT_SIDE4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The dispatcher's address on the client's side, IPv6.
pub const DISPATCHER_CLIENT_SIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1);
/// The dispatcher's address on the backends' side.
pub const DISPATCHER_FARM_SIDE4: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// The dispatcher's address on the backends' side, IPv6.
pub const DISPATCHER_FARM_SIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);

/// The last parts of the client's addresses; the first is the one it uses when not told otherwise.
pub const CLIENT_HOSTS: std::ops::RangeInclusive<u8> = 2..=9;
/// The most backends a lab has.
pub const MOST_BACKENDS: u8 = 64;

/// One of the client's addresses.
#[must_use]
pub const fn client4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, host)
}

/// One of the client's addresses, IPv6.
#[must_use]
pub const fn client6(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, host as u16)
}

/// The address of backend `number`, counted from 1: 10.77.1.11 and so on.
#[must_use]
pub const fn backend4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, 10 + number)
}

/// The address of backend `number`, counted from 1: 2001:db8:77::11 and so on, written like the IPv4 one.
#[must_use]
pub const fn backend6(number: u8) -> Ipv6Addr {
    let decimal = 10 + number as u16;
    Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, (decimal / 10) * 16 + decimal % 10)
}

/// Both addresses of backend `number`.
#[must_use]
pub const fn backend(number: u8) -> [IpAddr; 2] {
    [IpAddr::V4(backend4(number)), IpAddr::V6(backend6(number))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_numbered_alike_in_both_families() {
        assert_eq!((backend4(1).to_string(), backend6(1).to_string()), ("10.77.1.11".into(), "2001:db8:77::11".into()));
        assert_eq!(
            (backend4(10).to_string(), backend6(10).to_string()),
            ("10.77.1.20".into(), "2001:db8:77::20".into())
        );
    }
}
