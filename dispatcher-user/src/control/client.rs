//! The command line's side of the control socket: one blocking call after another.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    control::{
        api::{Line, Request, Response, VERSION},
        server::ANSWER_TIMEOUT,
    },
    failure::{Code, Failure},
};

/// Longer than the daemon's own patience, so that its word on what took so long arrives.
const TIMEOUT: Duration = Duration::from_secs(ANSWER_TIMEOUT.as_secs() + 5);
/// Bytes of an answer: far more than the longest listing, and less than what would hurt.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers on {}", .0.display())]
    NoDaemon(PathBuf),
    /// The socket's mode keeps this user out.
    #[error("you may not use {}", .0.display())]
    Forbidden(PathBuf),
    /// No answer came.
    #[error("the daemon did not answer within {} s", TIMEOUT.as_secs())]
    Silent,
    /// The connection ended without an answer.
    #[error("the daemon closed the connection without an answer")]
    Closed,
    /// The connection broke.
    #[error("cannot talk to the daemon on {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer is none that this version knows.
    #[error("cannot understand the daemon's answer")]
    Answer(#[source] serde_json::Error),
    /// The daemon speaks another version.
    #[error("the daemon speaks version {0} of the control interface, this is version {VERSION}")]
    Version(u32),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        let same_version = "use the `dispatcher` that belongs to the daemon";
        match error {
            ClientError::NoDaemon(_) => Self::new(Code::NO_DAEMON, message)
                .fix("start it with `dispatcher run`, or name its socket with --socket"),
            ClientError::Forbidden(_) => {
                Self::new(Code::SOCKET_FORBIDDEN, message).fix("run this as root, or as a member of the socket's group")
            }
            ClientError::Silent | ClientError::Closed => Self::new(Code::DAEMON_SILENT, message),
            ClientError::Io { source, .. } => {
                Self::new(Code::NO_DAEMON, message).cause(format_args!("system: {source}"))
            }
            ClientError::Answer(source) => Self::new(Code::PROTOCOL, message).cause(source).fix(same_version),
            ClientError::Version(_) => Self::new(Code::PROTOCOL, message).fix(same_version),
        }
    }
}

impl Client {
    /// Connects to the daemon that answers on `path`.
    ///
    /// # Errors
    /// Nobody answers there, or this user may not ask.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let failed = |source: io::Error| {
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
                ClientError::NoDaemon(path.to_owned())
            } else if source.kind() == ErrorKind::PermissionDenied {
                ClientError::Forbidden(path.to_owned())
            } else {
                ClientError::Io { path: path.to_owned(), source }
            }
        };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        stream.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// No answer came, or none that is understood. That the daemon refused is an answer.
    pub fn call(&mut self, body: Request) -> Result<Response, ClientError> {
        let mut line = serde_json::to_vec(&Line { version: VERSION, body }).map_err(ClientError::Answer)?;
        line.push(b'\n');
        // A daemon that refuses the connection answers without reading; its answer is then already here.
        let sent = self.stream.get_mut().write_all(&line);
        line.clear();
        let received = (&mut self.stream).take(MAX_ANSWER).read_until(b'\n', &mut line);
        match received {
            Ok(0) => return Err(sent.map_or_else(|error| self.broken(error), |()| ClientError::Closed)),
            Ok(_) => {}
            Err(error) => return Err(self.broken(error)),
        }
        let answer: serde_json::Value = serde_json::from_slice(&line).map_err(ClientError::Answer)?;
        match answer.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version != u64::from(VERSION) => {
                return Err(ClientError::Version(u32::try_from(version).unwrap_or(u32::MAX)));
            }
            _ => {}
        }
        let answer: Line<Response> = serde_json::from_value(answer).map_err(ClientError::Answer)?;
        Ok(answer.body)
    }

    fn broken(&self, source: io::Error) -> ClientError {
        if matches!(source.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            ClientError::Silent
        } else if matches!(source.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
            ClientError::Closed
        } else {
            ClientError::Io { path: self.path.clone(), source }
        }
    }
}
