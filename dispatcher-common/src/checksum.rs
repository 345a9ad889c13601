//! Ones' complement sums: checked, and updated without reading what did not change (RFC 1071, RFC 1624).

/// Folds a sum of 16-bit words into one.
///
/// Two folds are enough for any `u32`: the first leaves at most 0x1fffe.
#[expect(clippy::cast_possible_truncation, reason = "the second fold leaves 16 bits")]
#[inline(always)]
#[must_use]
pub fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// What replacing words that sum to `old` by words that sum to `new` adds to a ones' complement sum.
#[inline(always)]
#[must_use]
pub fn delta(old: u32, new: u32) -> u16 {
    fold(u32::from(!fold(old)) + u32::from(fold(new)))
}

/// Updates the checksum `field` by a [`delta`]: equation 3 of RFC 1624.
#[inline(always)]
#[must_use]
pub fn update(field: u16, delta: u16) -> u16 {
    !fold(u32::from(!field) + u32::from(delta))
}

/// Sums the 16-bit words of `bytes` in native order, as [`ipv4_header_sum`] does; a few dozen bytes at most.
#[inline(always)]
#[must_use]
pub fn sum<const N: usize>(bytes: &[u8; N]) -> u32 {
    bytes.as_chunks().0.iter().map(|&word| u32::from(u16::from_ne_bytes(word))).sum()
}

/// Sums the five words of an option-less IPv4 header; valid ones fold to 0xffff.
#[expect(clippy::cast_possible_truncation, reason = "the sum of three 16-bit numbers is below 2^18")]
#[inline(always)]
#[must_use]
pub fn ipv4_header_sum(header: &[u8; 20]) -> u16 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = *header;
    // Ones' complement addition does not care for byte order or width (RFC 1071, 2): 32-bit words in native order.
    let word = |bytes: [u8; 4]| u64::from(u32::from_ne_bytes(bytes));
    let sum = word([a, b, c, d]) + word([e, f, g, h]) + word([i, j, k, l]) + word([m, n, o, p]) + word([q, r, s, t]);
    let halves = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    fold(halves as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(words: &[u16]) -> u32 {
        words.iter().map(|&word| u32::from(word)).sum()
    }

    #[test]
    fn the_header_of_rfc_1071_style_is_valid() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8,
            0x00, 0xc7,
        ];
        assert_eq!(ipv4_header_sum(&header), 0xffff);
    }

    proptest! {
        #[test]
        fn update_equals_full_computation(words in proptest::array::uniform8(any::<u16>()), new in any::<[u16; 2]>()) {
            let before = !fold(total(&words));
            let mut changed = words;
            changed[2] = new[0];
            changed[3] = new[1];
            let delta = delta(total(&words[2..4]), total(&new));
            let (updated, full) = (update(before, delta), !fold(total(&changed)));
            // 0 and 0xffff are the same number in ones' complement.
            prop_assert_eq!(updated % 0xffff, full % 0xffff);
        }
    }
}
