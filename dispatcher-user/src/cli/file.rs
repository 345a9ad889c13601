//! Finds and checks configuration files.

use std::path::Path;

use super::{Ending, args::Format};
use crate::{
    clock,
    config::{self, Checked, Config, DEFAULT_PATH, Invalid},
    failure::Failure,
    output::Output,
};

/// The file that was named, or the usual one if it is there.
pub(super) fn path(named: Option<&Path>) -> Option<&Path> {
    let usual = Path::new(DEFAULT_PATH);
    named.or_else(|| usual.try_exists().unwrap_or(true).then_some(usual))
}

/// Reads the file that was named, or the usual one if it is there. The files that it names are not looked into: not
/// everybody may read them, and not every command needs them.
pub(super) fn configured(named: Option<&Path>) -> Result<Option<Config>, Invalid> {
    path(named).map(config::load).transpose()
}

/// Says whether a file could be run with, and whether clients will trust what it names. As JSON, the items are what is wrong with it.
pub(super) fn check(named: Option<&Path>, output: &Output) -> Result<(), Ending> {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    let name = path.display().to_string();
    let checked = config::load_with_files(path, clock::calendar_s()).and_then(|Checked { config, warnings }| {
        config.require_interface(&name)?;
        if warnings.is_empty() { Ok(config) } else { Err(Invalid { faults: warnings }) }
    });
    if output.format() == Format::Json {
        let faults: &[Failure] = checked.as_ref().err().map_or(&[], |invalid| &invalid.faults);
        output.json(faults)?;
    }
    let Config { interfaces, services, .. } = checked?;
    let backends: usize = services.iter().map(|service| service.backends.len()).sum();
    let count = |number, thing| format!("{number} {thing}{}", if number == 1 { "" } else { "s" });
    output.note(&format!(
        "{name} is valid: {}, {}, {}",
        count(interfaces.len(), "interface"),
        count(services.len(), "service"),
        count(backends, "backend")
    ));
    Ok(())
}
