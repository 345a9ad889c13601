//! Bytes and rates as files and command lines write them: `32KiB`, `100/s`, `500Mbit/s`.

use crate::core::model::Rate;

const BYTES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];
const BITS: [(&str, u64); 4] = [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1000), ("bit", 1)];

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// No number of bytes.
    #[error("`{0}` is no number of bytes, such as 64KiB, 16MB or 512B")]
    Bytes(String),
    /// No rate.
    #[error("`{0}` is no rate, such as 100/s (requests) or 500Mbit/s")]
    Rate(String),
    /// No rate of requests.
    #[error("`{0}` is no rate of requests, such as 100/s")]
    Requests(String),
}

/// Reads a number of bytes.
///
/// # Errors
/// [`QuantityError::Bytes`]
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    scaled(text, &BYTES).ok_or_else(|| QuantityError::Bytes(text.to_owned()))
}

/// Reads a rate.
///
/// # Errors
/// [`QuantityError::Rate`]
pub fn parse_rate(text: &str) -> Result<Rate, QuantityError> {
    let read = || {
        let count = text.strip_suffix("/s")?;
        match scaled(count, &BITS) {
            Some(bits) => Some(Rate::Bits(bits)),
            None => whole(count).map(Rate::Requests),
        }
    };
    read().ok_or_else(|| QuantityError::Rate(text.to_owned()))
}

/// Reads a rate of requests.
///
/// # Errors
/// [`QuantityError::Requests`]
pub fn parse_requests(text: &str) -> Result<u64, QuantityError> {
    match parse_rate(text) {
        Ok(Rate::Requests(requests)) => Ok(requests),
        Ok(Rate::Bits(_)) | Err(_) => Err(QuantityError::Requests(text.to_owned())),
    }
}

/// Writes a number of bytes so that it reads back as the same number.
#[must_use]
pub fn write_bytes(bytes: u64) -> String {
    unscaled(bytes, &BYTES)
}

/// Writes a rate so that it reads back as the same rate.
#[must_use]
pub fn write_rate(rate: Rate) -> String {
    match rate {
        Rate::Requests(requests) => format!("{requests}/s"),
        Rate::Bits(bits) => format!("{}/s", unscaled(bits, &BITS)),
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (count, unit) = text.split_at_checked(end)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    whole(count)?.checked_mul(*factor)
}

fn whole(text: &str) -> Option<u64> {
    // `parse` takes a sign too.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// In the unit of which there is a whole number, and the smallest.
fn unscaled(count: u64, units: &[(&str, u64)]) -> String {
    // The smallest unit is one.
    let whole = units.iter().filter(|(_, factor)| count.is_multiple_of(*factor) && (count != 0 || *factor == 1));
    let (unit, factor) = whole.min_by_key(|(_, factor)| count / factor).copied().unwrap_or(("", 1));
    format!("{}{unit}", count / factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_decimal_or_binary_as_they_say() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("16MB", 16_000_000), ("2GiB", 1 << 31)] {
            assert_eq!(parse_bytes(text), Ok(bytes));
            assert_eq!(write_bytes(bytes), text);
        }
        for text in ["", "B", "1", "1 KiB", "1kib", "-1B", "+1B", "1.5MB", "99999999999GB", "1TB", "1B/s"] {
            assert_eq!(parse_bytes(text), Err(QuantityError::Bytes(text.into())));
        }
    }

    #[test]
    fn a_rate_without_a_unit_is_of_requests() {
        for (text, rate) in [
            ("100/s", Rate::Requests(100)),
            ("500Mbit/s", Rate::Bits(500_000_000)),
            ("7bit/s", Rate::Bits(7)),
            ("1Gbit/s", Rate::Bits(1_000_000_000)),
        ] {
            assert_eq!(parse_rate(text), Ok(rate));
            assert_eq!(write_rate(rate), text);
        }
        for text in ["", "/s", "100", "-1/s", "100/m", "1MB/s", "1 Mbit/s"] {
            assert_eq!(parse_rate(text), Err(QuantityError::Rate(text.into())));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(count in any::<u64>(), shift in 0_u32..40) {
            let count = count >> shift;
            prop_assert_eq!(parse_bytes(&write_bytes(count)), Ok(count));
            for rate in [Rate::Requests(count), Rate::Bits(count)] {
                prop_assert_eq!(parse_rate(&write_rate(rate)), Ok(rate));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-zA-Zé/. +-]{0,12}") {
            parse_bytes(&text).ok();
            parse_rate(&text).ok();
        }
    }
}
