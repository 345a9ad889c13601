//! What an operator sets: classes, their bounds, and the window of a backend.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Classes at most. Choosing between classes takes a step for each one.
pub const MAX_CLASSES: usize = 64;
/// The most that one request may cost.
pub const MAX_COST: u32 = 16;

/// A class's number: its index in [`Settings::classes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u16);

impl ClassId {
    /// The class as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Everything that is set. Class 0 is the default class; it always exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The classes, by their number.
    pub classes: Vec<ClassSettings>,
    /// How many requests a backend is given at a time.
    pub window: WindowSettings,
    /// From how long a wait on a class's queue counts as standing: then the newest request goes first.
    pub standing: Duration,
}

/// A class of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassSettings {
    /// Name, as in the configuration.
    pub name: String,
    /// Level: 0 goes first. Between levels precedence is strict, but for guaranteed shares.
    pub priority: u8,
    /// Share of its level relative to the level's other classes; at least 1.
    pub weight: u16,
    /// Share of all requests that it is guaranteed while it has some waiting, whatever higher levels ask for.
    pub share_percent: u8,
    /// Slots of the window that lower levels may not take.
    ///
    /// `None`: its guaranteed share of the window; for the highest level one at least, if there are others and the window
    /// has [`SMALL_WINDOW`] slots. So requests of lower levels that take minutes never hold all slots.
    pub reserve: Option<u32>,
    /// How much may wait.
    pub queue: QueueBound,
    /// How long a request may wait.
    pub timeout: Duration,
    /// Requests a second of the whole class.
    pub rate: Option<u32>,
    /// Requests a second of each client.
    pub client_rate: Option<u32>,
}

/// A window with fewer slots has none reserved unless that is asked for.
pub const SMALL_WINDOW: u32 = 4;

/// How much of a class may wait for one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueBound {
    /// Requests.
    pub entries: u32,
    /// Bytes of these requests that the dispatcher holds.
    pub bytes: u64,
}

/// How many requests a backend is given at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSettings {
    /// As many as there are: nothing ever waits. Right where there is one class and no limit to keep.
    Open,
    /// This many.
    Fixed(u32),
    /// Found from the backend's latency, within these bounds.
    Found {
        /// At least.
        min: u32,
        /// At most.
        max: u32,
        /// To begin with.
        initial: u32,
    },
}

impl WindowSettings {
    /// The window that is found, with the usual bounds.
    pub const FOUND: Self = Self::Found { min: 2, max: 1024, initial: 16 };
}

impl ClassSettings {
    /// A class with the usual bounds.
    #[must_use]
    pub fn new(name: &str, priority: u8) -> Self {
        Self {
            name: name.to_owned(),
            priority,
            weight: 1,
            share_percent: 0,
            reserve: None,
            queue: QueueBound { entries: 1024, bytes: 16 << 20 },
            timeout: Duration::from_secs(1),
            rate: None,
            client_rate: None,
        }
    }
}

impl Settings {
    /// Settings with the usual threshold for a standing queue: what Facebook uses (Maurer, "Fail at Scale", ACM Queue
    /// 13(8), 2015), and the interval of CoDel (RFC 8289).
    #[must_use]
    pub fn new(classes: Vec<ClassSettings>, window: WindowSettings) -> Self {
        Self { classes, window, standing: Duration::from_millis(100) }
    }

    /// Checks what the scheduler relies on.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.classes.is_empty() || self.classes.len() > MAX_CLASSES {
            return Err(SettingsError::Classes(self.classes.len()));
        }
        if let Some(class) = self.classes.iter().find(|class| class.weight == 0) {
            return Err(SettingsError::Weight(class.name.clone()));
        }
        let shares = self.classes.iter().map(|class| u32::from(class.share_percent)).sum();
        if shares > 100 {
            return Err(SettingsError::Shares(shares));
        }
        match self.window {
            WindowSettings::Open => Ok(()),
            WindowSettings::Fixed(slots) if slots > 0 => Ok(()),
            WindowSettings::Found { min, max, initial } if 0 < min && min <= initial && initial <= max => Ok(()),
            WindowSettings::Fixed(_) | WindowSettings::Found { .. } => Err(SettingsError::Window(self.window)),
        }
    }
}

/// A change of a class while it runs; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassChange {
    /// Level.
    pub priority: Option<u8>,
    /// Weight within its level.
    pub weight: Option<u16>,
    /// Guaranteed share.
    pub share_percent: Option<u8>,
    /// Reserved slots.
    pub reserve: Option<u32>,
    /// Requests that may wait.
    pub entries: Option<u32>,
    /// Bytes that may wait.
    pub bytes: Option<u64>,
    /// How long a request may wait.
    pub timeout: Option<Duration>,
    /// Requests a second of the whole class; 0: as many as there are.
    pub rate: Option<u32>,
    /// Requests a second of each client; 0: as many as there are.
    pub client_rate: Option<u32>,
}

impl ClassChange {
    /// Makes the change.
    pub fn apply(&self, class: &mut ClassSettings) {
        let limit = |rate: u32| (rate > 0).then_some(rate);
        class.priority = self.priority.unwrap_or(class.priority);
        class.weight = self.weight.unwrap_or(class.weight);
        class.share_percent = self.share_percent.unwrap_or(class.share_percent);
        class.reserve = self.reserve.or(class.reserve);
        class.queue.entries = self.entries.unwrap_or(class.queue.entries);
        class.queue.bytes = self.bytes.unwrap_or(class.queue.bytes);
        class.timeout = self.timeout.unwrap_or(class.timeout);
        class.rate = self.rate.map_or(class.rate, limit);
        class.client_rate = self.client_rate.map_or(class.client_rate, limit);
    }
}

/// Why settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// Too few or too many classes.
    #[error("{0} classes; there may be 1 to {MAX_CLASSES}")]
    Classes(usize),
    /// A weight of zero.
    #[error("class {0} has weight 0; it must be at least 1")]
    Weight(String),
    /// More is guaranteed than there is.
    #[error("the classes' guaranteed shares add up to {0} percent")]
    Shares(u32),
    /// A window without slots, or bounds that contradict each other.
    #[error("{0:?} is not a window: its bounds must be above 0 and in order")]
    Window(WindowSettings),
    /// No class has this name.
    #[error("there is no class {0}")]
    NoClass(String),
}
