//! The daemon's log on stderr, with a level that can change while it runs.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::config::LogLevel;

/// Holds the level.
pub(super) struct Logging {
    level: LogLevel,
    filter: reload::Handle<Targets, Registry>,
}

impl Logging {
    /// Starts to log.
    pub(super) fn start(level: LogLevel) -> Self {
        let (layer, filter) = reload::Layer::new(filter_of(level));
        let output = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal()).with_target(false);
        // A second start within one process, as tests make, goes on with the first's subscriber.
        tracing_subscriber::registry().with(layer).with(output).try_init().ok();
        Self { level, filter }
    }

    /// What is logged now.
    pub(super) fn level(&self) -> LogLevel {
        self.level
    }

    /// Changes what is logged.
    pub(super) fn set(&mut self, level: LogLevel) {
        if self.filter.reload(filter_of(level)).is_ok() {
            self.level = level;
        }
    }
}

/// The number by which the XDP programs know a level ([`dispatcher_common::config::Config::log_level`]).
pub(super) fn kernel_level(level: LogLevel) -> u32 {
    match level {
        LogLevel::Off => 0,
        LogLevel::Error => 1,
        LogLevel::Warn => 2,
        LogLevel::Info => 3,
        LogLevel::Debug => 4,
        LogLevel::Trace => 5,
    }
}

fn filter_of(level: LogLevel) -> Targets {
    // It warns of every attribute that a newer kernel has.
    let others = [("netlink_packet_route", LevelFilter::ERROR.min(filter_level(level)))];
    Targets::new().with_default(filter_level(level)).with_targets(others)
}

fn filter_level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
