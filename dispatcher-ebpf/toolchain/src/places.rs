//! Where to look for compilers and linkers.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The folders and files of a machine that are searched.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folders of PATH, in order.
    pub path: Vec<PathBuf>,
    /// Cargo's own folder: its `bin` holds what `cargo install` made, whether or not PATH names it.
    pub cargo_home: PathBuf,
    /// Debian's compiler. A rustup compiler of the same name usually comes first in PATH.
    pub debian_rustc: PathBuf,
}

impl Places {
    /// The places of this process.
    #[must_use]
    pub fn from_env() -> Self {
        let home = env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        Self {
            path: env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
            cargo_home: env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from),
            debian_rustc: PathBuf::from("/usr/bin/rustc"),
        }
    }

    /// The first program of that name in PATH, else in cargo's `bin`.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let cargo_bin = self.cargo_home.join("bin");
        let folders = self.path.iter().map(PathBuf::as_path).chain([cargo_bin.as_path()]);
        folders.map(|folder| folder.join(name)).find(|candidate| is_program(candidate))
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
