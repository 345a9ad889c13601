//! Pins: what stays in the BPF filesystem while no daemon runs, and its removal.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use dispatcher_common::table;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

const LINK_PREFIX: &str = "link_";

/// What goes wrong with pins.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The BPF filesystem is not there and could not be mounted.
    #[error("no BPF filesystem at {path}, and mounting one failed: {errno}")]
    Mount {
        /// Where it should be.
        path: PathBuf,
        /// The kernel's reason.
        errno: Errno,
    },
    /// The directory is not within a BPF filesystem.
    #[error("{0} is not within a BPF filesystem")]
    NotBpf(PathBuf),
    /// Another daemon uses the pins.
    #[error("another dispatcher uses the pins in {0}")]
    Taken(PathBuf),
    /// A file or directory could not be used.
    #[error("{path}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// No pinned link is of that interface.
    #[error("nothing is attached to {interface}: {path} does not exist")]
    NotAttached {
        /// The interface.
        interface: String,
        /// Where its link would be pinned.
        path: PathBuf,
    },
}

/// The directory of one dispatcher's pins, held against other daemons for as long as this lives.
#[derive(Debug)]
pub struct PinDirectory {
    path: PathBuf,
    _held: Flock<File>,
}

impl PinDirectory {
    /// Opens or creates the directory `path`, and mounts the BPF filesystem if it is missing.
    ///
    /// # Errors
    /// If there is no BPF filesystem and none can be mounted, or if another daemon holds the directory.
    pub fn open(path: &Path) -> Result<Self, PinError> {
        let parent = path.parent().unwrap_or(path);
        if !is_bpf(parent) {
            mount(Some("bpf"), parent, Some("bpf"), MsFlags::empty(), None::<&str>)
                .map_err(|errno| PinError::Mount { path: parent.to_owned(), errno })?;
            tracing::info!(path = %parent.display(), "mounted the BPF filesystem");
        }
        fs::create_dir_all(path).map_err(|source| PinError::File { path: path.to_owned(), source })?;
        if !is_bpf(path) {
            return Err(PinError::NotBpf(path.to_owned()));
        }
        let directory = File::open(path).map_err(|source| PinError::File { path: path.to_owned(), source })?;
        let held = Flock::lock(directory, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, _)| PinError::Taken(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), _held: held })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the table `name` is pinned.
    #[must_use]
    pub fn table(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the link of `interface` is pinned.
    #[must_use]
    pub fn link(&self, interface: &str) -> PathBuf {
        link_path(&self.path, interface)
    }

    /// Removes the pin of an interface's link.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove_link(&self, interface: &str) -> Result<(), PinError> {
        remove(&self.link(interface))
    }

    /// The interfaces whose links are pinned.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn linked_interfaces(&self) -> Result<Vec<String>, PinError> {
        linked_interfaces(&self.path)
    }

    /// Removes every pin and the directory. Links go first, so that no packet meets tables that are gone.
    ///
    /// # Errors
    /// If a pin cannot be removed; the others are removed all the same.
    pub fn remove_all(self) -> Result<(), PinError> {
        remove_all(&self.path)
    }
}

/// Detaches without a daemon: removes the pinned link of `interface`, or with `None` every pin. Names what was detached.
///
/// # Errors
/// If nothing is attached to `interface`, or a pin cannot be removed, or a daemon holds the directory.
pub fn detach_offline(path: &Path, interface: Option<&str>) -> Result<Vec<String>, PinError> {
    if !path.exists() {
        return match interface {
            Some(interface) => {
                Err(PinError::NotAttached { interface: interface.to_owned(), path: link_path(path, interface) })
            }
            None => Ok(Vec::new()),
        };
    }
    let directory = PinDirectory::open(path)?;
    let linked = directory.linked_interfaces()?;
    let Some(interface) = interface else {
        directory.remove_all()?;
        return Ok(linked);
    };
    let link = directory.link(interface);
    if !linked.iter().any(|name| name == interface) {
        return Err(PinError::NotAttached { interface: interface.to_owned(), path: link });
    }
    remove(&link)?;
    Ok(vec![interface.to_owned()])
}

impl Drop for PinDirectory {
    /// Tables without a link serve nobody: a start that failed, or an end that kept nothing, leaves none behind.
    fn drop(&mut self) {
        if linked_interfaces(&self.path).is_ok_and(|linked| linked.is_empty())
            && let Err(error) = remove_all(&self.path)
        {
            tracing::warn!("pins are left behind: {error}");
        }
    }
}

fn is_bpf(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// Interface names may hold dots and bpffs refuses them; no interface name holds a colon.
fn link_path(directory: &Path, interface: &str) -> PathBuf {
    directory.join(format!("{LINK_PREFIX}{}", interface.replace('.', ":")))
}

fn linked_interfaces(directory: &Path) -> Result<Vec<String>, PinError> {
    let wrap = |source| PinError::File { path: directory.to_owned(), source };
    let mut interfaces = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(interfaces),
        entries => entries.map_err(wrap)?,
    };
    for entry in entries {
        if let Some(interface) = entry.map_err(wrap)?.file_name().to_string_lossy().strip_prefix(LINK_PREFIX) {
            interfaces.push(interface.replace(':', "."));
        }
    }
    interfaces.sort();
    Ok(interfaces)
}

fn remove_all(directory: &Path) -> Result<(), PinError> {
    let mut outcome = Ok(());
    for interface in linked_interfaces(directory)? {
        outcome = outcome.and(remove(&link_path(directory, &interface)));
    }
    for name in table::PINNED {
        outcome = outcome.and(remove(&directory.join(name)));
    }
    outcome?;
    match fs::remove_dir(directory) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PinError::File { path: directory.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), PinError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PinError::File { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
