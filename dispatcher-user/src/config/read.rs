//! Reads a configuration file: the daemon, its interfaces, its services, or all that is wrong with them.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use super::{
    Config, Daemon, Interface,
    document::{Faults, Placed, Schema, Section},
    problem::{Fault, Problem, position},
    rules::{self, check_interface_name, parse_duration},
    service::{self, read_services},
};
use crate::failure::{Code, Failure};

/// The file as a whole.
const ROOT: Schema = Schema {
    name: "the configuration",
    keys: &["daemon", "interface", "service"],
    not_built: &[("qos", "[[qos]]"), ("cluster", "[cluster]")],
};
const DAEMON: Schema = Schema {
    name: "[daemon]",
    keys: &["socket", "state", "pins", "flows", "log"],
    not_built: &[("admin", "daemon.admin")],
};
const INTERFACE: Schema = Schema { name: "[[interface]]", keys: &["name", "mode", "lease", "on_exit"], not_built: &[] };

/// Capacities that a flow table may have.
const FLOWS: std::ops::RangeInclusive<i64> = 1024..=16_777_216;
/// Bytes of a socket's path: `sun_path` of unix(7), less the final zero.
const MAX_SOCKET_PATH: usize = 107;

/// Everything that is wrong with a configuration: at least one thing, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong.
    pub faults: Vec<Failure>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl From<Failure> for Invalid {
    fn from(failure: Failure) -> Self {
        Self { faults: vec![failure] }
    }
}

/// Reads the file at `path`.
///
/// # Errors
/// It cannot be read, or something is wrong with it.
pub fn load(path: &Path) -> Result<Config, Invalid> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| {
        Failure::new(Code::UNREADABLE, "cannot read the configuration").at(&name).cause(format_args!("system: {error}"))
    };
    let bytes = fs::read(path).map_err(unreadable)?;
    parse_bytes(&bytes, &name)
}

/// Reads a configuration that claims to be text.
fn parse_bytes(bytes: &[u8], name: &str) -> Result<Config, Invalid> {
    match str::from_utf8(bytes) {
        Ok(text) => parse(text, name),
        Err(error) => {
            let valid = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
            let fault = Fault {
                problem: Problem::Syntax("the file is not UTF-8 text".to_owned()),
                span: valid.len()..valid.len(),
            };
            Err(fault.told(name, &valid).into())
        }
    }
}

/// Reads the configuration `text`, which errors call `name`.
///
/// # Errors
/// Something is wrong with it.
pub fn parse(text: &str, name: &str) -> Result<Config, Invalid> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut faults = Faults::default();
    for error in errors {
        faults.add(&error.span().unwrap_or_default(), Problem::Syntax(error.message().to_owned()));
    }
    if !faults.0.is_empty() {
        // One slip often confuses the rest of its line.
        return Err(told(faults, name, text, true));
    }
    let root = Section::open(&ROOT, document.get_ref(), 0..0, &mut faults);
    let config = Config {
        daemon: read_daemon(&root, &mut faults),
        interfaces: read_interfaces(&root, &mut faults),
        services: read_services(&root.sections("service", &service::SERVICE, &mut faults), &mut faults),
    };
    if faults.0.is_empty() { Ok(config) } else { Err(told(faults, name, text, false)) }
}

/// Puts faults in the order of the file, and into words.
fn told(faults: Faults, name: &str, text: &str, one_a_line: bool) -> Invalid {
    let Faults(mut faults) = faults;
    faults.sort_by_key(|fault| fault.span.start);
    if one_a_line {
        faults.dedup_by_key(|fault| position(text, fault.span.start).0);
    }
    Invalid { faults: faults.iter().map(|fault| fault.told(name, text)).collect() }
}

fn read_daemon(root: &Section<'_, '_>, faults: &mut Faults) -> Daemon {
    let mut daemon = Daemon::default();
    let Some(section) = root.section("daemon", &DAEMON, faults) else { return daemon };
    if let Some(socket) = path(&section, "socket", faults) {
        let length = socket.value.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            faults.add(&socket.span, Problem::SocketPath { length, most: MAX_SOCKET_PATH });
        }
        daemon.socket = socket.value;
    }
    if let Some(state) = path(&section, "state", faults) {
        daemon.state = state.value;
    }
    if let Some(pins) = path(&section, "pins", faults) {
        daemon.pins = pins.value;
    }
    if let Some(flows) = section.number_within("flows", FLOWS, faults) {
        daemon.flows = u32::try_from(flows).unwrap_or(daemon.flows);
    }
    daemon.log = section.word("log", faults).unwrap_or(daemon.log);
    daemon
}

/// An absolute path: a daemon has no directory that its operator could mean by a relative one.
fn path(section: &Section<'_, '_>, key: &'static str, faults: &mut Faults) -> Option<Placed<PathBuf>> {
    section.parsed(key, faults, |text| {
        let path = PathBuf::from(text);
        let is_good = path.is_absolute() && path.file_name().is_some() && !text.contains('\0');
        if is_good { Ok(path) } else { Err(Problem::Path { key }) }
    })
}

fn read_interfaces(root: &Section<'_, '_>, faults: &mut Faults) -> Vec<Interface> {
    let mut names = BTreeSet::new();
    let mut interfaces = Vec::new();
    for section in root.sections("interface", &INTERFACE, faults) {
        let lease = section.parsed("lease", faults, |text| parse_duration(text, rules::LEASE));
        let mode = section.word("mode", faults);
        let on_exit = section.word("on_exit", faults);
        let valid = |name: &str| check_interface_name(name).map(|()| name.to_owned());
        let Some(Placed { value: name, span }) = section.required("name", "\"eth0\"", faults, valid) else { continue };
        if !names.insert(name.clone()) {
            faults.add(&span, Problem::InterfaceTwice(name.clone()));
        }
        let named = Interface::named(name);
        interfaces.push(Interface {
            mode: mode.unwrap_or(named.mode),
            lease: lease.map(|lease| lease.value),
            on_exit: on_exit.unwrap_or(named.on_exit),
            ..named
        });
    }
    interfaces
}

impl Config {
    /// Fails if there is nothing to attach to. `name` is what the configuration is called.
    ///
    /// # Errors
    /// There is no interface.
    pub fn require_interface(&self, name: &str) -> Result<(), Failure> {
        if self.interfaces.is_empty() {
            return Err(Failure::new(Code::NO_INTERFACE, "no interface to attach to")
                .at(name)
                .fix("add [[interface]] with name = \"eth0\", or start with --iface eth0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
