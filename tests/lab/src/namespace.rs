//! A network namespace that is gone when its owner is.

use crate::{LabError, command};
use nix::sched::{CloneFlags, setns};
use std::{
    fs::{self, File},
    panic,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output},
    thread,
};

/// Where `ip netns` keeps the names of namespaces.
const FOLDER: &str = "/run/netns";

/// A named network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    deleted_on_drop: bool,
}

impl Namespace {
    /// Creates a namespace, with its loopback up, that is deleted on drop.
    ///
    /// # Errors
    /// When there is one of that name, or without root.
    pub fn create(name: &str) -> Result<Self, LabError> {
        if path_of(name).exists() {
            return Err(LabError::Exists { what: format!("namespace {name}"), flag: String::new() });
        }
        command::succeed(Command::new("ip").args(["netns", "add", name]), None)?;
        let namespace = Self { name: name.to_owned(), deleted_on_drop: true };
        namespace.ip(&["link set lo up"])?;
        Ok(namespace)
    }

    /// Uses a namespace that somebody else created and will delete.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn open(name: &str) -> Result<Self, LabError> {
        if !path_of(name).exists() {
            return Err(LabError::NoNamespace(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), deleted_on_drop: false })
    }

    /// Its name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the namespace to live on after this value.
    pub fn keep(&mut self) {
        self.deleted_on_drop = false;
    }

    /// Runs a closure inside the namespace, in a thread of its own.
    ///
    /// Sockets it opens, threads and programs it starts belong to the namespace, and stay there.
    /// The mounts are the host's (`ip netns exec` would mount another /sys, without bpffs).
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// When the closure does.
    pub fn run<T: Send>(&self, closure: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let path = path_of(&self.name);
        let handle = File::open(&path).map_err(LabError::file(path))?;
        let inside = || {
            setns(handle, CloneFlags::CLONE_NEWNET)
                .map_err(|source| LabError::System { what: format!("cannot enter {}", self.name), source })?;
            Ok(closure())
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|cause| panic::resume_unwind(cause))
    }

    /// Starts a program inside the namespace.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child, LabError> {
        self.run(|| command.spawn().map_err(|source| command::start_error(command, source)))?
    }

    /// Runs a program inside the namespace to its end, and collects what it prints.
    ///
    /// # Errors
    /// When it cannot be started; how it ends is up to the caller.
    pub fn output(&self, command: &mut Command) -> Result<Output, LabError> {
        self.run(|| command.output().map_err(|source| command::start_error(command, source)))?
    }

    /// Runs a program inside the namespace to its end, on the caller's terminal.
    ///
    /// # Errors
    /// As [`Namespace::output`].
    pub fn status(&self, command: &mut Command) -> Result<ExitStatus, LabError> {
        self.run(|| command.status().map_err(|source| command::start_error(command, source)))?
    }

    /// Runs a program inside the namespace that must succeed; returns what it printed.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn succeed(&self, command: &mut Command) -> Result<String, LabError> {
        self.run(|| command::succeed(command, None))?
    }

    /// Carries out lines of `ip -batch` inside the namespace.
    ///
    /// # Errors
    /// When a line fails; those before it have been carried out.
    pub fn ip<L: AsRef<str> + Sync>(&self, lines: &[L]) -> Result<(), LabError> {
        let batch: String = lines.iter().map(|line| format!("{}\n", line.as_ref())).collect();
        self.run(|| command::succeed(Command::new("ip").args(["-batch", "-"]), Some(&batch)))??;
        Ok(())
    }

    /// Writes settings below /proc/sys, which shows a thread its own namespace.
    ///
    /// # Errors
    /// When a setting is not there or refuses the value.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<(), LabError> {
        self.run(|| {
            settings.iter().try_for_each(|(name, value)| {
                let path = PathBuf::from("/proc/sys").join(name);
                fs::write(&path, value).map_err(LabError::file(path))
            })
        })?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.deleted_on_drop
            && let Err(error) = delete(&self.name)
        {
            eprintln!("{error}");
        }
    }
}

/// Deletes a namespace by name, if there is one.
pub(crate) fn delete(name: &str) -> Result<bool, LabError> {
    if !path_of(name).exists() {
        return Ok(false);
    }
    command::succeed(Command::new("ip").args(["netns", "delete", name]), None)?;
    Ok(true)
}

/// Whether there is a namespace of that name.
pub(crate) fn exists(name: &str) -> bool {
    path_of(name).exists()
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(name)
}
