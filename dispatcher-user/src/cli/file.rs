//! Finds and checks configuration files.

use std::path::{Path, PathBuf};

use super::{Ending, args::Format};
use crate::{
    config::{self, Config, DEFAULT_PATH, Invalid},
    failure::Failure,
    output::Output,
};

/// Reads the file that was named, or the usual one if it is there.
pub(super) fn configured(named: Option<&Path>) -> Result<Option<(Config, PathBuf)>, Invalid> {
    let usual = Path::new(DEFAULT_PATH);
    let path = match named {
        Some(path) => path,
        None if usual.try_exists().is_ok_and(|exists| !exists) => return Ok(None),
        None => usual,
    };
    Ok(Some((config::load(path)?, path.to_owned())))
}

/// Says whether a file could be run with. As JSON, the items are what is wrong with it.
pub(super) fn check(named: Option<&Path>, output: &Output) -> Result<(), Ending> {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    let name = path.display().to_string();
    let checked = config::load(path).and_then(|config| {
        config.require_interface(&name)?;
        Ok(config)
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
