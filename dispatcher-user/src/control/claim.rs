//! Claims a socket path, so that one dispatcher alone answers there and only its user and group may ask.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use crate::failure::{Code, Failure};

/// A socket path that is this process's own until dropped; then the socket and its lock file are removed.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// Device and inode of our socket: a path that no longer leads there is not ours to remove.
    inode: (u64, u64),
    lock_path: PathBuf,
    /// Holds the lock for as long as it is open. The kernel releases it when the process dies, however it dies.
    _lock: File,
}

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another dispatcher lives there.
    #[error("another dispatcher{} answers on {}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
        /// The process, if it said so.
        pid: Option<u32>,
    },
    /// Something that is no socket has the name.
    #[error("{} exists and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// The path names no file.
    #[error("{} names no file", .0.display())]
    NoName(PathBuf),
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<ClaimError> for Failure {
    fn from(error: ClaimError) -> Self {
        let message = error.to_string();
        match error {
            ClaimError::Taken { .. } => Self::new(Code::ALREADY_RUNNING, message)
                .fix("stop it first, or give this one its own daemon.socket, daemon.state and daemon.pins"),
            ClaimError::NotASocket(_) => Self::new(Code::SOCKET_UNUSABLE, message).fix("move it away"),
            ClaimError::NoName(_) => Self::new(Code::SOCKET_UNUSABLE, message),
            ClaimError::Io { source, .. } => {
                Self::new(Code::SOCKET_UNUSABLE, message).cause(format_args!("system: {source}"))
            }
        }
    }
}

impl Claim {
    /// Makes a listening socket at `path`, mode 0660, in a directory that is made with mode 0750 if it is not there.
    ///
    /// A socket that a dead daemon left behind is replaced.
    ///
    /// # Errors
    /// Another dispatcher lives there, or the file system refuses.
    pub fn listen(path: &Path) -> Result<(Self, UnixListener), ClaimError> {
        let directory = directory_of(path)?;
        let lock_path = beside(path, ".lock")?;
        let lock = lock(path, &lock_path)?;
        refuse_living(path)?;
        let listener = bind_closed(path, &directory)?;
        let inode = inode(path).map_err(io_error("look at", path))?;
        Ok((Self { path: path.to_owned(), inode, lock_path, _lock: lock }, listener))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Both may be gone already: then there is nothing to remove.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            fs::remove_file(&self.path).ok();
        }
        fs::remove_file(&self.lock_path).ok();
    }
}

/// The directory of `path`, made if it is missing.
fn directory_of(path: &Path) -> Result<PathBuf, ClaimError> {
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(ClaimError::NoName(path.to_owned())),
    };
    let made = DirBuilder::new().recursive(true).mode(0o750).create(directory);
    made.map_err(io_error("create", directory))?;
    Ok(directory.to_owned())
}

/// Takes the lock file, and writes our process ID into it.
fn lock(path: &Path, lock_path: &Path) -> Result<File, ClaimError> {
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let mut file = options.open(lock_path).map_err(io_error("open", lock_path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(lock_path).ok().and_then(|text| text.trim().parse().ok());
                return Err(ClaimError::Taken { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", lock_path)(source)),
        }
        // A daemon that ends removes the file: what was locked just now may no longer have the name.
        let ours = file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        if ours.is_ok_and(|ours| inode(lock_path).is_ok_and(|named| named == ours)) {
            file.set_len(0).map_err(io_error("write", lock_path))?;
            writeln!(file, "{}", std::process::id()).map_err(io_error("write", lock_path))?;
            return Ok(file);
        }
    }
}

/// Fails if the path is taken by something that lives, or that is no socket.
fn refuse_living(path: &Path) -> Result<(), ClaimError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io_error("look at", path))?,
    };
    if !metadata.file_type().is_socket() {
        return Err(ClaimError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ClaimError::Taken { path: path.to_owned(), pid: None }),
        // Nobody listens: left behind.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(io_error("ask whether a dispatcher answers on", path)(error)),
    }
}

/// Binds in a directory that nobody else may enter, sets the mode, and only then moves the socket to its place:
/// whatever the umask, nobody can connect before the mode is right.
fn bind_closed(path: &Path, directory: &Path) -> Result<UnixListener, ClaimError> {
    // Short, because a socket's path has 107 bytes at most (`sun_path`), and this one must not be the longer.
    let closed = directory.join(format!(".{}", std::process::id()));
    match DirBuilder::new().mode(0o700).create(&closed) {
        // Left behind by a dead process that had our number. Nobody else gets here: we hold the lock.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_dir_all(&closed).map_err(io_error("remove", &closed))?;
            DirBuilder::new().mode(0o700).create(&closed).map_err(io_error("create", &closed))?;
        }
        other => other.map_err(io_error("create", &closed))?,
    }
    let bound = bind_and_move(&closed.join("s"), path);
    fs::remove_dir_all(&closed).map_err(io_error("remove", &closed))?;
    bound
}

fn bind_and_move(temporary: &Path, path: &Path) -> Result<UnixListener, ClaimError> {
    let listener = UnixListener::bind(temporary).map_err(io_error("listen on", path))?;
    fs::set_permissions(temporary, Permissions::from_mode(0o660)).map_err(io_error("set the mode of", path))?;
    fs::rename(temporary, path).map_err(io_error("create", path))?;
    Ok(listener)
}

fn beside(path: &Path, suffix: &str) -> Result<PathBuf, ClaimError> {
    let mut name = path.file_name().ok_or_else(|| ClaimError::NoName(path.to_owned()))?.to_owned();
    name.push(suffix);
    Ok(path.with_file_name(name))
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClaimError {
    let path = path.to_owned();
    move |source| ClaimError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_user_and_group_may_ask() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run/control.sock");
        let (_claim, _listener) = Claim::listen(&path).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o750);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn nothing_is_left_behind() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        drop(Claim::listen(&path).unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let stranger = UnixListener::bind(&path).unwrap();
        assert!(matches!(Claim::listen(&path), Err(ClaimError::Taken { pid: None, .. })));
        drop(stranger);
        let (_claim, _listener) = Claim::listen(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_daemon_that_has_stopped_answering_is_still_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let (claim, listener) = Claim::listen(&path).unwrap();
        drop(listener);
        let error = Claim::listen(&path).unwrap_err();
        let expected = format!("another dispatcher (pid {}) answers on {}", std::process::id(), path.display());
        assert_eq!(error.to_string(), expected);
        drop(claim);
        Claim::listen(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Claim::listen(&path), Err(ClaimError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_successor_keeps_its_socket() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let (claim, _listener) = Claim::listen(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        drop(claim);
        UnixStream::connect(&path).unwrap();
    }
}
