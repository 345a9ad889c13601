//! Starts the daemon: puts its configuration together from file and arguments.

use std::path::Path;

use super::{
    Ending,
    args::{Global, Run},
    file,
};
use crate::{
    clock,
    config::{self, Checked, Config, DEFAULT_PATH, Interface, LogLevel, RunOptions},
    daemon,
    failure::{Code, Failure},
    output::Output,
};

/// Threads beside the one that dispatches: for control requests and neighbours.
const WORKERS: usize = 2;

/// Runs the daemon until it is told to end.
pub(super) fn run(run: &Run, global: &Global, output: &Output) -> Result<(), Ending> {
    let options = options(run, global, output)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Code::HOST_UNFIT, "cannot start threads").cause(format_args!("system: {error}"))
    })?;
    Ok(runtime.block_on(daemon::run(options))?)
}

/// The configuration, with what the arguments say applied.
fn options(run: &Run, global: &Global, output: &Output) -> Result<RunOptions, Ending> {
    let config_path = file::path(run.config.as_deref()).map(Path::to_owned);
    let mut config = match &config_path {
        Some(path) => {
            let Checked { config, warnings } = config::load_with_files(path, clock::calendar_s())?;
            // An expired certificate must not keep a dispatcher from starting again.
            warnings.iter().for_each(|warning| output.failure(warning));
            config
        }
        None if run.iface.is_empty() => return Err(nothing_to_run().into()),
        None => Config::default(),
    };
    choose_interfaces(&mut config, run);
    config.require_interface(&config_path.as_deref().unwrap_or(Path::new(DEFAULT_PATH)).display().to_string())?;
    if let Some(socket) = &global.socket {
        config.daemon.socket = socket.clone();
    }
    if global.verbose {
        config.daemon.log = LogLevel::Debug;
    } else if global.quiet {
        config.daemon.log = LogLevel::Error;
    }
    match &config_path {
        Some(path) => output.detail(&format!("configuration: {}", path.display())),
        None => output
            .note(&format!("there is no {DEFAULT_PATH}: starting without services; `dispatcher service add` adds one")),
    }
    Ok(RunOptions { config, config_path })
}

fn nothing_to_run() -> Failure {
    Failure::new(Code::UNREADABLE, "no configuration")
        .at(DEFAULT_PATH)
        .fix("write one, name one with --config, or name an interface with --iface to start without services")
}

/// Interfaces on the command line stand for those of the file; one that the file has too keeps its lease and `on_exit`.
fn choose_interfaces(config: &mut Config, run: &Run) {
    if !run.iface.is_empty() {
        let configured = std::mem::take(&mut config.interfaces);
        for name in &run.iface {
            if !config.interfaces.iter().any(|chosen| chosen.name == *name) {
                let known = configured.iter().find(|interface| interface.name == *name);
                config.interfaces.push(known.cloned().unwrap_or_else(|| Interface::named(name)));
            }
        }
    }
    if let Some(mode) = run.mode {
        for interface in &mut config.interfaces {
            interface.mode = mode;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::AttachMode;

    fn interface(name: &str) -> Interface {
        Interface { lease: Some(Duration::from_secs(9)), ..Interface::named(name) }
    }

    fn chosen(ifaces: &[&str], mode: Option<AttachMode>) -> Vec<Interface> {
        let mut config = Config { interfaces: vec![interface("eth0"), interface("eth1")], ..Config::default() };
        let iface = ifaces.iter().map(|name| (*name).to_owned()).collect();
        choose_interfaces(&mut config, &Run { config: None, iface, mode });
        config.interfaces
    }

    #[test]
    fn interfaces_of_the_command_line_stand_for_those_of_the_file() {
        assert_eq!(chosen(&[], None), [interface("eth0"), interface("eth1")]);
        assert_eq!(chosen(&["eth1", "eth9", "eth1"], None), [interface("eth1"), Interface::named("eth9")]);
    }

    #[test]
    fn the_mode_of_the_command_line_is_for_all() {
        let generic = |interface| Interface { mode: AttachMode::Generic, ..interface };
        let mode = Some(AttachMode::Generic);
        assert_eq!(chosen(&[], mode), [generic(interface("eth0")), generic(interface("eth1"))]);
        assert_eq!(chosen(&["eth9"], mode), [generic(Interface::named("eth9"))]);
    }
}
