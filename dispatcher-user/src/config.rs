//! The configuration: what a dispatcher is told before it starts.

mod change;
mod document;
mod dump;
mod files;
mod problem;
mod qos;
pub mod quantity;
mod read;
pub mod rules;
mod secure;
mod service;
pub mod words;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use self::{
    change::apply_change,
    dump::dump,
    read::{Checked, Invalid, load, load_with_files, parse},
};
use crate::core::model::{QosClassSpec, ServiceSpec};

/// Where the configuration is looked for if none is named.
pub const DEFAULT_PATH: &str = "/etc/dispatcher/dispatcher.toml";
/// Where the control socket is unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/dispatcher/control.sock";
/// Where the state file is unless told otherwise.
pub const DEFAULT_STATE: &str = "/var/lib/dispatcher/state.json";
/// The key file's name unless told otherwise; it is beside the state file.
const KEYS_FILE: &str = "cookie.keys";
/// Where tables and links are pinned unless told otherwise.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/dispatcher";

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The daemon itself.
    pub daemon: Daemon,
    /// Interfaces to attach to, each named once.
    pub interfaces: Vec<Interface>,
    /// Services in the order of the file; names, VIPs and backends do not clash.
    pub services: Vec<ServiceSpec>,
    /// QoS classes: the default one, then the others in the order of the file. The first one that matches takes a request.
    pub qos: Vec<QosClassSpec>,
}

impl Default for Config {
    fn default() -> Self {
        let daemon = Daemon::default();
        Self { daemon, interfaces: Vec::new(), services: Vec::new(), qos: qos::with_default(Vec::new()) }
    }
}

/// Section `[daemon]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Path of the control socket.
    pub socket: PathBuf,
    /// Path of the state file.
    pub state: PathBuf,
    /// Path of the file with the keys that seal cookies.
    pub keys: PathBuf,
    /// Directory in the BPF file system for tables and links.
    pub pins: PathBuf,
    /// Capacity of each of the two flow tables, in entries; a `nat` flow takes two.
    pub flows: u32,
    /// What is logged.
    pub log: LogLevel,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            socket: DEFAULT_SOCKET.into(),
            state: DEFAULT_STATE.into(),
            keys: Path::new(DEFAULT_STATE).with_file_name(KEYS_FILE),
            pins: DEFAULT_PINS.into(),
            flows: DEFAULT_FLOWS,
            log: LogLevel::Info,
        }
    }
}

/// Entries of each flow table unless told otherwise.
const DEFAULT_FLOWS: u32 = 262_144;
const _: () = assert!(DEFAULT_FLOWS as usize == dispatcher_common::table::DEFAULT_FLOWS);

/// Section `[[interface]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, as `ip link` shows it.
    pub name: String,
    /// How the program is attached.
    pub mode: AttachMode,
    /// The program places no new flows once the daemon has not renewed its lease for this long; `None`: it always may.
    pub lease: Option<Duration>,
    /// What SIGTERM does to the attachment.
    pub on_exit: OnExit,
}

impl Interface {
    /// An interface of which only the name is said.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), mode: AttachMode::Native, lease: None, on_exit: OnExit::Detach }
    }
}

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the kernel's network stack; works everywhere, slower.
    Generic,
}

/// What SIGTERM does to an attachment; SIGINT always detaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExit {
    /// The program is detached.
    Detach,
    /// The program stays and forwards mapped flows until the next start takes over.
    Keep,
}

/// What is logged: this level and the graver ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What will fail if nobody looks after it.
    Warn,
    /// What changed.
    Info,
    /// Why.
    Debug,
    /// Everything.
    Trace,
}

/// What `dispatcher run` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// The configuration, with what the command line said already applied.
    pub config: Config,
    /// The file it came from; `None` if there was none.
    pub config_path: Option<PathBuf>,
}
