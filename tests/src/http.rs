//! One connection to a demo backend, held open for as long as the test wants.

use dispatcher_lab::Namespace;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use serde::Deserialize;
use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// What a demo backend says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// Who answered.
    pub backend: String,
    /// Whom it saw.
    pub client: SocketAddr,
    /// How many requests and datagrams it had answered then.
    pub requests: u64,
    /// What was in the datagram.
    #[serde(default)]
    pub echo: String,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(text)))
    }
}

/// A connection that was answered once, and stays open.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// The first answer.
    pub answer: Answer,
}

impl Connection {
    /// Connects from the namespace of the calling thread and asks once.
    ///
    /// # Errors
    /// When the connection fails or says nothing for ten seconds.
    pub fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let stream = match from {
            None => TcpStream::connect_timeout(&to, PATIENCE)?,
            Some(from) => connect_from(from, to)?,
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let answer = ask(&stream)?;
        Ok(Self { stream, answer })
    }

    /// Asks once more on the same connection.
    ///
    /// # Errors
    /// When it is broken.
    pub fn ask(&self) -> io::Result<Answer> {
        ask(&self.stream)
    }
}

/// Opens so many connections one after the other and holds all of them.
///
/// # Panics
/// When one fails.
pub fn hold(client: &Namespace, to: SocketAddr, from: Option<IpAddr>, count: usize) -> Vec<Connection> {
    let open = |number| Connection::open(to, from).unwrap_or_else(|error| panic!("connection {number}: {error}"));
    client.run(|| (1..=count).map(open).collect()).unwrap_or_else(|error| panic!("{error}"))
}

fn ask(mut stream: &TcpStream) -> io::Result<Answer> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    let (mut reply, mut chunk) = (Vec::new(), [0; 2048]);
    while !reply.ends_with(b"}\n") {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reply.extend(chunk.iter().take(length));
    }
    let start = reply.windows(4).position(|window| window == b"\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer::read(reply.split_at(start).1))
}

/// The standard library cannot bind before it connects.
fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let handle = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&handle, sockopt::ReuseAddr, &true)?;
    bind(handle.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    connect(handle.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(TcpStream::from(handle))
}
