//! Numbers for people: bytes, rates and times in few letters. JSON has them raw.

use std::time::Duration;

/// Writes bytes with three digits and a decimal unit: `1.23 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = UNITS[0];
    for next in UNITS.iter().skip(1) {
        // Below this, three digits round to less than 1000.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {unit}")
}

/// Writes bytes a second.
pub(crate) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// Writes a time by its one or two largest units: `1h 2m`, `3m 12s`, `850ms`.
pub(crate) fn time(milliseconds: u64) -> String {
    let whole = match milliseconds {
        0..1000 => milliseconds,
        1000..3_600_000 => milliseconds / 1000 * 1000,
        3_600_000..86_400_000 => milliseconds / 60_000 * 60_000,
        _ => milliseconds / 3_600_000 * 3_600_000,
    };
    let (days, rest) = (whole / 86_400_000, whole % 86_400_000);
    match (days, rest) {
        // humantime counts months and years, of which nobody knows the length.
        (0, rest) => humantime::format_duration(Duration::from_millis(rest)).to_string(),
        (days, 0) => format!("{days}d"),
        (days, rest) => format!("{days}d {}", humantime::format_duration(Duration::from_millis(rest))),
    }
}

/// Writes a short time with three digits: `850us`, `1.23ms`, `12.3ms`, `1.25s`.
pub(crate) fn microseconds(count: u64) -> String {
    // Below these, three digits round to less than 1000.
    let (value, unit) = match count {
        0..1000 => return format!("{count}us"),
        1000..999_500 => (count as f64 / 1e3, "ms"),
        999_500..60_000_000 => (count as f64 / 1e6, "s"),
        _ => return time(count / 1000),
    };
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (1234, "1.23 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (1_500_000_000, "1.50 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (count, written) in cases {
            assert_eq!(bytes(count), written);
        }
        assert_eq!(rate(125_000_000), "125 MB/s");
    }

    #[test]
    fn short_times_have_three_digits() {
        let cases = [
            (0, "0us"),
            (850, "850us"),
            (1_234, "1.23ms"),
            (12_345, "12.3ms"),
            (999_499, "999ms"),
            (999_999, "1.00s"),
            (61_000_000, "1m 1s"),
        ];
        for (count, written) in cases {
            assert_eq!(microseconds(count), written);
        }
    }

    #[test]
    fn times_have_one_or_two_units() {
        let cases = [
            (0, "0s"),
            (850, "850ms"),
            (1_999, "1s"),
            (192_000, "3m 12s"),
            (3_720_500, "1h 2m"),
            (86_400_000, "1d"),
            (40 * 86_400_000 + 3_600_000, "40d 1h"),
        ];
        for (milliseconds, written) in cases {
            assert_eq!(time(milliseconds), written);
        }
    }
}
