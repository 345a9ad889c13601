//! Detaches, through the daemon or, if none runs, by removing what it left pinned.

use std::path::{Path, PathBuf};

use super::{
    Ending,
    args::{Detach, Format},
    ask, file,
};
use crate::{
    config::DEFAULT_PINS,
    control::{
        api::Request,
        client::{Client, ClientError},
    },
    datapath::pin::{PinError, detach_offline},
    failure::{Code, Failure},
    output::Output,
};

/// Detaches from the interface that is named, or from all.
pub(super) fn detach(detach: &Detach, socket: &Path, output: &Output) -> Result<(), Ending> {
    match Client::connect(socket) {
        Err(ClientError::NoDaemon(_)) => {}
        // Whatever else is wrong with the daemon, it is there.
        _ => return ask::ask(Request::Detach { interface: detach.interface.clone() }, socket, output),
    }
    let pins = pins(detach, output)?;
    output.detail(&format!("no daemon answers on {}; removing pins in {}", socket.display(), pins.display()));
    let detached = detach_offline(&pins, detach.interface.as_deref()).map_err(|error| failure(error, &pins))?;
    if output.format() == Format::Json {
        output.json(&detached)?;
    }
    match detached.as_slice() {
        [] => output.note("nothing was attached"),
        names => output.note(&format!("detached from {} (no daemon runs)", names.join(", "))),
    }
    Ok(())
}

/// Where a daemon would have its pins. A damaged configuration must not keep anybody from detaching.
fn pins(detach: &Detach, output: &Output) -> Result<PathBuf, Ending> {
    match (file::configured(detach.config.as_deref()), &detach.config) {
        (Ok(Some(config)), _) => Ok(config.daemon.pins),
        (Ok(None), _) => Ok(DEFAULT_PINS.into()),
        (Err(invalid), Some(_named)) => Err(invalid.into()),
        (Err(invalid), None) => {
            output
                .note(&format!("{invalid}\nlooking for pins in {DEFAULT_PINS}; --config names another configuration"));
            Ok(DEFAULT_PINS.into())
        }
    }
}

fn failure(error: PinError, pins: &Path) -> Failure {
    let message = error.to_string();
    match error {
        PinError::NotAttached { .. } => Failure::new(Code::NOT_FOUND, message)
            .fix("if another configuration attached it, name that with --config or its socket with --socket"),
        PinError::Taken(_) => Failure::new(Code::ALREADY_RUNNING, message).fix("name its socket with --socket"),
        PinError::Mount { .. } | PinError::NotBpf(_) | PinError::File { .. } => {
            Failure::new(Code::CANNOT_DETACH, format!("cannot remove the pins in {}", pins.display()))
                .cause(format_args!("system: {message}"))
        }
    }
}
