//! Rates of classes and clients: the generic cell rate algorithm (ITU-T I.371), without a lock.
//!
//! Each cell holds the time at which the next request would come if they all came at the rate. A request is let through if
//! that is no more than a burst ahead of now. All backends share the cells: a rate is that of a class, not of a tunnel.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::{
    settings::{ClassId, ClassSettings, MAX_CLASSES},
    view::ShedReason,
};

const SECOND_NS: u64 = 1_000_000_000;
/// How far requests may run ahead of the rate: a second's worth may come at once.
const BURST_NS: u64 = SECOND_NS;
/// Cells for clients, in each of two rows.
const ROW: usize = 4096;

/// The rates of all classes.
#[derive(Debug)]
pub(super) struct Rates {
    classes: Box<[ClassRate]>,
}

/// The rates of a class. A rate of 0 is none.
#[derive(Debug, Default)]
struct ClassRate {
    per_second: AtomicU32,
    next_ns: AtomicU64,
    client_per_second: AtomicU32,
    clients: OnceLock<Clients>,
    over_class_rate: AtomicU64,
    over_client_rate: AtomicU64,
}

/// Cells of clients, as a count-min sketch (Cormode, Muthukrishnan, 2005): each client has a cell in both rows and goes by
/// the one that is less far ahead, so it is held to another's account only if it meets others over their rate in both.
#[derive(Debug)]
struct Clients {
    rows: [Box<[AtomicU64]>; 2],
}

impl Rates {
    /// No rates are set.
    pub(super) fn new() -> Self {
        Self { classes: (0..MAX_CLASSES).map(|_| ClassRate::default()).collect() }
    }

    /// Sets the rates of a class.
    pub(super) fn set(&self, class: ClassId, settings: &ClassSettings) {
        let Some(rate) = self.classes.get(class.index()) else { return };
        rate.per_second.store(settings.rate.unwrap_or(0), Ordering::Relaxed);
        rate.client_per_second.store(settings.client_rate.unwrap_or(0), Ordering::Relaxed);
    }

    /// Takes in a request of a client.
    ///
    /// # Errors
    /// Which rate it is over, and after how many seconds it would not be.
    pub(super) fn take(&self, now_ns: u64, class: ClassId, client: u64) -> Result<(), (ShedReason, u32)> {
        let Some(rate) = self.classes.get(class.index()) else { return Ok(()) };
        let client_interval_ns = interval_ns(&rate.client_per_second);
        if client_interval_ns > 0 {
            let clients = rate.clients.get_or_init(Clients::new);
            if let Err(after_s) = clients.take(now_ns, client_interval_ns, client) {
                rate.over_client_rate.fetch_add(1, Ordering::Relaxed);
                return Err((ShedReason::ClientRate, after_s));
            }
        }
        let interval_ns = interval_ns(&rate.per_second);
        if interval_ns > 0
            && let Err(after_s) = take(&rate.next_ns, now_ns, interval_ns)
        {
            rate.over_class_rate.fetch_add(1, Ordering::Relaxed);
            return Err((ShedReason::ClassRate, after_s));
        }
        Ok(())
    }

    /// Requests of a class that were refused, over its own rate and over their clients'.
    pub(super) fn refused(&self, class: ClassId) -> (u64, u64) {
        let count = |of: fn(&ClassRate) -> &AtomicU64| {
            self.classes.get(class.index()).map_or(0, |rate| of(rate).load(Ordering::Relaxed))
        };
        (count(|rate| &rate.over_class_rate), count(|rate| &rate.over_client_rate))
    }
}

impl Clients {
    fn new() -> Self {
        let row = || (0..ROW).map(|_| AtomicU64::new(0)).collect();
        Self { rows: [row(), row()] }
    }

    fn take(&self, now_ns: u64, interval_ns: u64, client: u64) -> Result<(), u32> {
        let [first, second] = &self.rows;
        let cells = (first.get(slot(client)), second.get(slot(client.rotate_right(32))));
        let (Some(first), Some(second)) = cells else { return Ok(()) };
        let ahead_ns = first.load(Ordering::Relaxed).min(second.load(Ordering::Relaxed));
        let next_ns = next(now_ns, ahead_ns, interval_ns)?;
        // No cell goes further ahead than this client alone would bring it.
        for cell in [first, second] {
            cell.fetch_max(next_ns, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Takes one request from a cell.
fn take(cell: &AtomicU64, now_ns: u64, interval_ns: u64) -> Result<(), u32> {
    let mut refusal = Ok(());
    let update = |ahead_ns| next(now_ns, ahead_ns, interval_ns).inspect_err(|&after_s| refusal = Err(after_s)).ok();
    match cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update) {
        Ok(_) => Ok(()),
        Err(_) => refusal,
    }
}

/// Where a cell at `ahead_ns` is after one more request; if that is too far ahead, after how many seconds it is not.
fn next(now_ns: u64, ahead_ns: u64, interval_ns: u64) -> Result<u64, u32> {
    let next_ns = ahead_ns.max(now_ns).saturating_add(interval_ns);
    match next_ns.saturating_sub(now_ns).checked_sub(BURST_NS.max(interval_ns)) {
        None | Some(0) => Ok(next_ns),
        Some(excess_ns) => Err(u32::try_from(excess_ns.div_ceil(SECOND_NS)).unwrap_or(u32::MAX)),
    }
}

fn slot(hash: u64) -> usize {
    usize::try_from(hash % ROW as u64).unwrap_or(0)
}

fn interval_ns(per_second: &AtomicU32) -> u64 {
    SECOND_NS.checked_div(u64::from(per_second.load(Ordering::Relaxed))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: ClassId = ClassId(3);

    fn rates(rate: Option<u32>, client_rate: Option<u32>) -> Rates {
        let rates = Rates::new();
        rates.set(CLASS, &ClassSettings { rate, client_rate, ..ClassSettings::new("c", 0) });
        rates
    }

    /// How many of `attempts` a second for `seconds` are let through.
    fn let_through(rates: &Rates, attempts: u64, seconds: u64, client: impl Fn(u64) -> u64) -> u64 {
        let times = (0..attempts * seconds).map(|number| (number, SECOND_NS + number * SECOND_NS / attempts));
        times.filter(|&(number, now_ns)| rates.take(now_ns, CLASS, client(number)).is_ok()).count() as u64
    }

    #[test]
    fn a_class_gets_its_rate_and_a_seconds_worth_at_once() {
        let limited = rates(Some(50), None);
        assert_eq!(let_through(&limited, 1000, 10, |number| number), 50 * 10 + 50 - 1);
        assert_eq!(limited.refused(CLASS), (1000 * 10 - 549, 0));
        assert_eq!(let_through(&rates(None, None), 1000, 10, |number| number), 10_000);
        assert_eq!(let_through(&rates(Some(50), None), 40, 10, |number| number), 400, "below its rate");
    }

    #[test]
    fn a_greedy_client_is_held_to_its_rate_and_a_modest_one_is_not() {
        let limited = rates(None, Some(10));
        let greedy = let_through(&limited, 990, 10, |_| 0xdead_beef);
        assert!((100..=110).contains(&greedy), "{greedy}");
        let limited = rates(None, Some(10));
        // One in a hundred requests is of the modest client, which comes to 9.9 a second.
        let modest_passes = (0..9900_u64).filter(|number| {
            let client = if number % 100 == 0 { 7 } else { 0xdead_beef };
            limited.take(SECOND_NS + number * SECOND_NS / 990, CLASS, client).is_ok() && client == 7
        });
        assert_eq!(modest_passes.count(), 99);
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let limited = rates(Some(1), None);
        assert_eq!(limited.take(SECOND_NS, CLASS, 1), Ok(()));
        assert_eq!(limited.take(SECOND_NS, CLASS, 1), Err((ShedReason::ClassRate, 1)));
        assert_eq!(limited.take(2 * SECOND_NS - 1, CLASS, 1), Err((ShedReason::ClassRate, 1)));
        assert_eq!(limited.take(2 * SECOND_NS, CLASS, 1), Ok(()));
    }
}
