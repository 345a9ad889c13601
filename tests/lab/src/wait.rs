//! Waits for a condition, with a bound, and never longer than needed.

use crate::LabError;
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long to look away between two looks at the condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Returns as soon as the condition holds.
///
/// # Errors
/// When it still does not hold after `bound`.
#[expect(clippy::disallowed_methods, reason = "the bound is real time, for real programs")]
pub fn wait_until(what: &str, bound: Duration, mut holds: impl FnMut() -> bool) -> Result<(), LabError> {
    let start = Instant::now();
    loop {
        if holds() {
            return Ok(());
        }
        if start.elapsed() >= bound {
            return Err(LabError::Timeout { what: what.to_owned(), bound });
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_the_condition_or_with_the_bound() {
        let mut looks = 0;
        wait_until("third look", Duration::from_secs(60), || {
            looks += 1;
            looks == 3
        })
        .unwrap();
        let error = wait_until("the impossible", Duration::ZERO, || false).unwrap_err();
        assert_eq!(error.to_string(), "the impossible did not happen within 0ns");
    }
}
