//! The files of one lab: its run directory, the daemon's socket and state, its logs, and its pins.

use crate::{LabError, Suffix};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where a lab's files are. Nothing is created or removed unless asked for.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    run: PathBuf,
    pins: PathBuf,
}

impl RunDirectory {
    /// The files of the lab with that suffix.
    #[must_use]
    pub fn of(suffix: &Suffix) -> Self {
        Self {
            run: PathBuf::from(suffix.apply("/run/dispatcher-lab")),
            pins: PathBuf::from(suffix.apply("/sys/fs/bpf/dispatcher")),
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.run
    }

    /// The daemon's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    /// The daemon's state file.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.run.join("state.json")
    }

    /// The secrets that the daemon seals cookies and tickets with.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.run.join("keys")
    }

    /// The daemon's configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.run.join("dispatcher.toml")
    }

    /// The output of one of the lab's programs.
    #[must_use]
    pub fn log(&self, program: &str) -> PathBuf {
        self.run.join(format!("{program}.log"))
    }

    /// The folder of certificates and keys.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.run.join("tls")
    }

    /// The folder of pinned maps and links, in bpffs.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.run.join("processes")
    }

    /// Creates the folder for a new lab; it goes away with the claim, and the pins with it.
    ///
    /// # Errors
    /// When another lab has it.
    pub fn claim(self, suffix: &Suffix) -> Result<Claim, LabError> {
        match fs::create_dir(&self.run) {
            Ok(()) => Ok(Claim { directory: self, removed_on_drop: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(LabError::Exists { what: self.run.display().to_string(), flag: suffix.flag() })
            }
            Err(source) => Err(LabError::File { path: self.run, source }),
        }
    }

    /// Removes the folder and the pins; says whether there was anything.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self) -> Result<bool, LabError> {
        let mut any = false;
        for folder in [&self.run, &self.pins] {
            match fs::remove_dir_all(folder) {
                Ok(()) => any = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(LabError::File { path: folder.clone(), source: error });
                }
            }
        }
        Ok(any)
    }
}

/// A lab's files while the lab stands.
#[derive(Debug)]
pub struct Claim {
    directory: RunDirectory,
    removed_on_drop: bool,
}

impl Claim {
    /// Where they are.
    #[must_use]
    pub const fn directory(&self) -> &RunDirectory {
        &self.directory
    }

    /// Leaves the files after this value.
    pub fn keep(&mut self) {
        self.removed_on_drop = false;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.removed_on_drop
            && let Err(error) = self.directory.remove()
        {
            eprintln!("{error}");
        }
    }
}
