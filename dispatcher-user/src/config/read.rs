//! Reads a configuration file: the daemon, its interfaces, its services, or all that is wrong with them.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use super::{
    Config, Daemon, Interface, KEYS_FILE,
    document::{Faults, Placed, Schema, Section},
    files::Files,
    problem::{Fault, Problem, position},
    qos,
    rules::{self, check_interface_name, parse_duration},
    service::{self, read_services},
};
use crate::failure::{Code, Failure};

/// The file as a whole.
const ROOT: Schema = Schema {
    name: "the configuration",
    keys: &["daemon", "interface", "service", "qos"],
    not_built: &[("cluster", "[cluster]")],
};
const DAEMON: Schema = Schema {
    name: "[daemon]",
    keys: &["socket", "state", "keys", "pins", "flows", "log"],
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

/// A configuration whose files were looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// What is wrong with its files, but keeps nobody from starting with them.
    pub warnings: Vec<Failure>,
}

/// Reads the file at `path`, and none of those that it names. Relative paths in it start from its directory.
///
/// # Errors
/// It cannot be read, or something is wrong with it.
pub fn load(path: &Path) -> Result<Config, Invalid> {
    let (text, base) = text_of(path)?;
    let name = path.display().to_string();
    let Reading { config, faults, .. } = read(&text, &name, Some(&base))?;
    if faults.0.is_empty() { Ok(config) } else { Err(told(faults, &name, &text, false)) }
}

/// Reads the file at `path`, and looks into the certificate, key and authority files that it names; it is `now_s` by
/// the calendar, seconds since 1970.
///
/// # Errors
/// It cannot be read, or something is wrong with it or with them.
pub fn load_with_files(path: &Path, now_s: i64) -> Result<Checked, Invalid> {
    let (text, base) = text_of(path)?;
    let name = path.display().to_string();
    let Reading { config, mut faults, files } = read(&text, &name, Some(&base))?;
    let problems = files.check(now_s);
    let is_fatal = !faults.0.is_empty() || problems.iter().any(|(_, problem)| problem.is_fatal());
    for (span, problem) in problems {
        faults.add(&span, problem);
    }
    let invalid = told(faults, &name, &text, false);
    if is_fatal { Err(invalid) } else { Ok(Checked { config, warnings: invalid.faults }) }
}

/// What a file holds, and the directory that it is in.
fn text_of(path: &Path) -> Result<(String, PathBuf), Invalid> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| {
        Failure::new(Code::UNREADABLE, "cannot read the configuration").at(&name).cause(format_args!("system: {error}"))
    };
    let bytes = fs::read(path).map_err(unreadable)?;
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let base = absolute.parent().unwrap_or(&absolute).to_owned();
    Ok((decode(bytes, &name)?, base))
}

/// Takes bytes that claim to be text for text.
fn decode(bytes: Vec<u8>, name: &str) -> Result<String, Invalid> {
    String::from_utf8(bytes).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(error.as_bytes().get(..end).unwrap_or_default()).into_owned();
        let problem = Problem::Syntax("the file is not UTF-8 text".to_owned());
        Fault { problem, span: valid.len()..valid.len() }.told(name, &valid).into()
    })
}

/// Reads the configuration `text`, which errors call `name`. Relative paths in it are kept as they are.
///
/// # Errors
/// Something is wrong with it.
pub fn parse(text: &str, name: &str) -> Result<Config, Invalid> {
    let Reading { config, faults, .. } = read(text, name, None)?;
    if faults.0.is_empty() { Ok(config) } else { Err(told(faults, name, text, false)) }
}

/// What was made of a text, for whatever it is worth with these faults.
struct Reading {
    config: Config,
    faults: Faults,
    files: Files,
}

/// Reads a text; fails at once only if it is no TOML.
fn read(text: &str, name: &str, base: Option<&Path>) -> Result<Reading, Invalid> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let (mut faults, mut files) = (Faults::default(), Files::new(base));
    for error in errors {
        faults.add(&error.span().unwrap_or_default(), Problem::Syntax(error.message().to_owned()));
    }
    if !faults.0.is_empty() {
        // One slip often confuses the rest of its line.
        return Err(told(faults, name, text, true));
    }
    let root = Section::open(&ROOT, document.get_ref(), 0..0, &mut faults);
    let services = root.sections("service", &service::SERVICE, &mut faults);
    let classes = root.sections("qos", &qos::CLASS, &mut faults);
    let config = Config {
        daemon: read_daemon(&root, &mut faults),
        interfaces: read_interfaces(&root, &mut faults),
        services: read_services(&services, &mut files, &mut faults),
        qos: qos::read_classes(&classes, &mut faults),
    };
    Ok(Reading { config, faults, files })
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
    daemon.keys = match path(&section, "keys", faults) {
        Some(keys) => keys.value,
        // Two daemons of a host have two state files, and each its own keys beside it.
        None => daemon.state.with_file_name(KEYS_FILE),
    };
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
