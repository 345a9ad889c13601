//! The two address families, and the one form in which tables hold either.

/// An IP address as tables of mixed families hold it: IPv6, or IPv4 mapped as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2).
pub type Mapped = [u8; 16];

/// IPv4: four bytes in wire order.
pub type V4 = [u8; 4];

/// IPv6: sixteen bytes in wire order.
pub type V6 = [u8; 16];

/// An address family, named by the bytes of its addresses.
///
/// Parsing, deciding and rewriting are written once, generic over this trait, and compiled for each family.
pub trait Family: Copy + Eq + Default + 'static {
    /// Bytes that fill a [`crate::flow::Flow`] up to a multiple of eight.
    type Padding: Copy + Eq + Default + core::fmt::Debug;

    /// True for IPv4, a constant at every use.
    const IS_V4: bool;

    /// The address in the form shared by both families.
    fn mapped(self) -> Mapped;

    /// Takes the address back out of the shared form; the family is the caller's knowledge.
    fn from_mapped(mapped: &Mapped) -> Self;

    /// Adds the address to a running ones' complement sum ([`crate::checksum`]).
    fn sum(self) -> u32;

    /// True where RFC 1122 3.2.1.3 or RFC 4291 2.5 and 2.7 forbid the address as a source: multicast, loopback,
    /// unspecified, IPv4's reserved class E with the limited broadcast, and IPv6's form of an IPv4 address.
    fn is_forbidden_source(self) -> bool;
}

impl Family for V4 {
    type Padding = [u8; 0];

    const IS_V4: bool = true;

    #[inline(always)]
    fn mapped(self) -> Mapped {
        let [a, b, c, d] = self;
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
    }

    #[inline(always)]
    fn from_mapped(mapped: &Mapped) -> Self {
        [mapped[12], mapped[13], mapped[14], mapped[15]]
    }

    #[inline(always)]
    fn sum(self) -> u32 {
        u32::from(u16::from_be_bytes([self[0], self[1]])) + u32::from(u16::from_be_bytes([self[2], self[3]]))
    }

    #[inline(always)]
    fn is_forbidden_source(self) -> bool {
        matches!(self[0], 0 | 127 | 224..)
    }
}

impl Family for V6 {
    type Padding = [u8; 4];

    const IS_V4: bool = false;

    #[inline(always)]
    fn mapped(self) -> Mapped {
        self
    }

    #[inline(always)]
    fn from_mapped(mapped: &Mapped) -> Self {
        *mapped
    }

    #[inline(always)]
    fn sum(self) -> u32 {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self;
        [a, b, c, d].sum() + [e, f, g, h].sum() + [i, j, k, l].sum() + [m, n, o, p].sum()
    }

    #[inline(always)]
    fn is_forbidden_source(self) -> bool {
        self[0] == 0xff || u128::from_be_bytes(self) <= 1 || is_mapped_v4(&self)
    }
}

/// True if a shared-form address is an IPv4 one.
#[inline(always)]
#[must_use]
pub fn is_mapped_v4(mapped: &Mapped) -> bool {
    matches!(mapped, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_form_returns_the_address() {
        assert_eq!(V4::from_mapped(&[10, 77, 1, 11].mapped()), [10, 77, 1, 11]);
        assert!(is_mapped_v4(&[10, 77, 1, 11].mapped()));
        let v6: V6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(V6::from_mapped(&v6.mapped()), v6);
        assert!(!is_mapped_v4(&v6));
    }

    #[test]
    fn sources_that_no_host_may_use_are_forbidden() {
        for source in [[0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 5], [255; 4]] {
            assert!(source.is_forbidden_source(), "{source:?}");
        }
        assert!(![198, 51, 100, 2].is_forbidden_source());
        let mut v6: V6 = [0; 16];
        assert!(v6.is_forbidden_source());
        v6[15] = 1;
        assert!(v6.is_forbidden_source());
        v6[15] = 2;
        assert!(!v6.is_forbidden_source());
        v6[0] = 0xff;
        assert!(v6.is_forbidden_source());
        assert!([198, 51, 100, 2].mapped().is_forbidden_source());
    }
}
