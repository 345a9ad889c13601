//! The daemon's side of the control socket: reads requests, hands each to the daemon, writes what it answers.

use std::{path::Path, sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::{
    config::rules::{self, RuleError},
    control::{
        api::{Line, Request, Response, VERSION},
        claim::{Claim, ClaimError},
    },
    failure::{Code, Failure},
};

/// A request, and where its answer goes. Dropping the sender answers that the daemon is ending.
pub type Call = (Request, oneshot::Sender<Response>);

/// Connections at one time.
const MAX_CONNECTIONS: usize = 32;
/// Bytes of a request.
const MAX_LINE: usize = 64 * 1024;
/// How long a client may take to say something, or to take its answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the daemon may take to answer; attaching on slow hardware is the longest.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Rest after the system refused to accept a connection; it usually lacks file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A bound control socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    _claim: Claim,
}

impl Server {
    /// Claims `path` and listens there; clients wait until [`Self::serve`] runs.
    ///
    /// # Errors
    /// Another dispatcher answers there, or the file system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, ClaimError> {
        let (claim, listener) = Claim::listen(path)?;
        let failed = |source| ClaimError::Io { action: "listen on", path: path.to_owned(), source };
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, _claim: claim })
    }

    /// Serves until `calls` is closed; dropping the future ends it too, with all connections.
    pub async fn serve(self, calls: mpsc::Sender<Call>) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = calls.closed() => return,
            };
            match accepted {
                Ok((stream, _address)) => {
                    let permit = Arc::clone(&room).try_acquire_owned();
                    let calls = calls.clone();
                    connections.spawn(async move {
                        match permit {
                            Ok(_permit) => converse(stream, calls).await,
                            Err(_full) => refuse(stream).await,
                        }
                    });
                }
                Err(error) => {
                    warn!("control socket: cannot accept: {error}");
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

/// Answers a connection's requests, one after the other, until it ends.
async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        match timeout(CLIENT_TIMEOUT, read_line(&mut reader, &mut line)).await {
            Ok(Ok(Read::Line)) => {}
            Ok(Ok(Read::End)) => return,
            Ok(Ok(Read::TooLong)) => {
                let failure = Failure::new(Code::PROTOCOL, format!("a request has at most {MAX_LINE} bytes"));
                write(&mut writer, Response::Failed(failure)).await;
                return;
            }
            Ok(Err(error)) => return debug!("control socket: {error}"),
            Err(_elapsed) => return debug!("control socket: a client said nothing for {CLIENT_TIMEOUT:?}"),
        }
        let response = match parse(&line) {
            Ok(request) => ask(&calls, request).await,
            Err(failure) => Response::Failed(failure),
        };
        if !write(&mut writer, response).await {
            return;
        }
    }
}

/// What reading a line came to.
enum Read {
    /// A line.
    Line,
    /// The client has closed.
    End,
    /// More than [`MAX_LINE`] bytes without a line's end.
    TooLong,
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> std::io::Result<Read> {
    let most = MAX_LINE + 1;
    let count = reader.take(most as u64).read_until(b'\n', line).await?;
    Ok(match count {
        0 => Read::End,
        _ if count == most && !line.ends_with(b"\n") => Read::TooLong,
        _ => Read::Line,
    })
}

/// Reads the version first: a request of another version may have a shape that this one does not know.
fn parse(line: &[u8]) -> Result<Request, Failure> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let malformed = |error| Failure::new(Code::PROTOCOL, "the request is malformed").cause(error);
    let Version { version } = serde_json::from_slice(line).map_err(malformed)?;
    if version != VERSION {
        let message = format!("the request has version {version}, this daemon speaks version {VERSION}");
        return Err(Failure::new(Code::PROTOCOL, message).fix("use the `dispatcher` that belongs to the daemon"));
    }
    let line: Line<Request> = serde_json::from_slice(line).map_err(malformed)?;
    check(&line.body).map_err(|error| Failure::new(Code::REFUSED, error.to_string()))?;
    Ok(line.body)
}

/// Holds a request to the rules that the command line keeps too: not every client is that one.
fn check(request: &Request) -> Result<(), RuleError> {
    match request {
        Request::Change { change } => rules::check_change(change),
        Request::Attach { interface, .. } | Request::Detach { interface: Some(interface) } => {
            rules::check_interface_name(interface)
        }
        Request::Flows(query) => rules::check_limit(query.limit),
        Request::Sessions(query) => rules::check_limit(query.limit),
        Request::SetClass { class, change } => rules::check_class_change(class, change),
        Request::Detach { interface: None }
        | Request::Status
        | Request::Services
        | Request::Service { .. }
        | Request::Backends { .. }
        | Request::RemoveFlow { .. }
        | Request::Locks
        | Request::ReleaseLock { .. }
        | Request::Session { .. }
        | Request::MoveSession { .. }
        | Request::MoveSessions { .. }
        | Request::RemoveSession { .. }
        | Request::Tunnels { .. }
        | Request::Pool { .. }
        | Request::ResetTunnels { .. }
        | Request::Classes
        | Request::Drops
        | Request::ConfigDump
        | Request::LogLevel { .. } => Ok(()),
    }
}

/// Puts a request to the daemon and waits for its answer.
async fn ask(calls: &mpsc::Sender<Call>, request: Request) -> Response {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        calls.send((request, answer)).await.ok()?;
        answered.await.ok()
    };
    let failure = match timeout(ANSWER_TIMEOUT, asked).await {
        Ok(Some(response)) => return response,
        Ok(None) => Failure::new(Code::BUSY, "the daemon is ending"),
        Err(_elapsed) => {
            Failure::new(Code::BUSY, format!("the daemon did not answer within {} s", ANSWER_TIMEOUT.as_secs()))
        }
    };
    Response::Failed(failure)
}

async fn refuse(stream: UnixStream) {
    let (_reader, mut writer) = stream.into_split();
    let message = format!("the daemon serves {MAX_CONNECTIONS} control connections already");
    write(&mut writer, Response::Failed(Failure::new(Code::BUSY, message))).await;
}

/// Writes a line; false if the client does not take it.
async fn write(writer: &mut OwnedWriteHalf, body: Response) -> bool {
    let mut line = match serde_json::to_vec(&Line { version: VERSION, body }) {
        Ok(line) => line,
        Err(error) => {
            warn!("control socket: cannot write an answer: {error}");
            return false;
        }
    };
    line.push(b'\n');
    matches!(timeout(CLIENT_TIMEOUT, writer.write_all(&line)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests;
