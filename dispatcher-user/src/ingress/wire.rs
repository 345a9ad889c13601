//! Stands between TLS and the HTTP library: looks at the bytes of both directions, and notes whether they move.

pub mod http1;
pub mod http2;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use self::{
    http1::{Fault, Framing},
    http2::{Flood, Frames},
};
use super::connection::Connection;
use crate::{clock, core::model::Alpn};

/// How long a client may go on sending after its connection was closed for what it had sent. Closing a socket with bytes
/// that nobody read resets it, and the client might never see the answer (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
/// How much it may send then.
const LINGER_BYTES: usize = 256 * 1024;

/// A connection's bytes, with an eye on them.
#[derive(Debug)]
pub struct Wire<IO> {
    io: IO,
    connection: Arc<Connection>,
    reader: Reader,
    linger: Option<Linger>,
}

#[derive(Debug)]
enum Reader {
    Http1 { framing: Framing, is_broken: bool },
    Http2 { frames: Box<Frames>, flood: Option<Flood> },
}

#[derive(Debug)]
struct Linger {
    deadline: Pin<Box<Sleep>>,
    bytes: usize,
}

impl<IO> Wire<IO> {
    /// Looks at the bytes of `io`, which speaks `protocol`.
    pub fn new(io: IO, protocol: Alpn, connection: Arc<Connection>) -> Self {
        let reader = match protocol {
            Alpn::Http11 => Reader::Http1 { framing: Framing::default(), is_broken: false },
            Alpn::H2 => Reader::Http2 { frames: Box::new(Frames::new(clock::monotonic_ns())), flood: None },
        };
        Self { io, connection, reader, linger: None }
    }
}

impl Reader {
    /// Looks at what was read; returns how much of it the library may have.
    fn see(&mut self, bytes: &[u8], connection: &Connection) -> usize {
        let now_ns = clock::monotonic_ns();
        match self {
            Self::Http1 { .. } if connection.is_upgraded() => {
                connection.read(false, now_ns);
                bytes.len()
            }
            Self::Http1 { framing, is_broken } => {
                let seen = framing.see(bytes);
                *is_broken |= seen.is_broken;
                if let Some(fault) = framing.fault() {
                    connection.refuse(fault);
                }
                connection.read(framing.is_in_head(), now_ns);
                seen.pass
            }
            Self::Http2 { frames, flood } => {
                *flood = frames.see(bytes, now_ns).err();
                connection.read(frames.is_in_head(), now_ns);
                if flood.is_some() { 0 } else { bytes.len() }
            }
        }
    }

    /// What a read comes to once nothing more may pass; nothing while all is well.
    fn end(&self) -> Option<Poll<io::Result<()>>> {
        match self {
            Self::Http1 { is_broken: true, .. } => {
                Some(Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, Fault::Chunk))))
            }
            // The answer to a bad head closes the connection. Until then there is nothing to read, and no end either: that
            // would be taken for a client who left without waiting for it.
            Self::Http1 { framing, .. } if framing.is_refused() => Some(Poll::Pending),
            Self::Http1 { .. } => None,
            Self::Http2 { flood, .. } => {
                flood.map(|flood| Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, flood))))
            }
        }
    }

    /// True if the client may be sending what nobody will read.
    fn is_unfinished(&self) -> bool {
        match self {
            Self::Http1 { framing, .. } => !framing.is_between(),
            Self::Http2 { .. } => false,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Wire<IO> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(end) = this.reader.end() {
            return end;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let pass = this.reader.see(read, &this.connection);
        buffer.set_filled(before + pass);
        if pass == 0 { this.reader.end().unwrap_or(Poll::Pending) } else { Poll::Ready(Ok(())) }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    /// Notes how a write went.
    fn wrote(&mut self, result: &Poll<io::Result<usize>>) {
        self.connection.written(result.is_pending(), clock::monotonic_ns);
        if let (Reader::Http2 { frames, .. }, Poll::Ready(Ok(bytes))) = (&mut self.reader, result) {
            frames.sent(*bytes);
        }
    }

    /// Reads and forgets until the client has closed too, within bounds.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let linger =
            self.linger.get_or_insert_with(|| Linger { deadline: Box::pin(sleep(LINGER)), bytes: LINGER_BYTES });
        let mut space = [0; 4096];
        loop {
            if linger.deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut space);
            let Ok(()) = ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer)) else {
                return Poll::Ready(());
            };
            let read = buffer.filled().len();
            linger.bytes = linger.bytes.saturating_sub(read);
            if read == 0 || linger.bytes == 0 {
                return Poll::Ready(());
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(context, bytes);
        this.wrote(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_flush(context);
        // A write may have filled a buffer only; the flush tells whether the client takes it.
        this.connection.written(result.is_pending(), clock::monotonic_ns);
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
            if !this.reader.is_unfinished() {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn wire(protocol: Alpn) -> (DuplexStream, Wire<DuplexStream>, Arc<Connection>) {
        let (client, io) = duplex(64 * 1024);
        let address = "192.0.2.1:1".parse().unwrap();
        let connection = Arc::new(Connection::new(address, address, clock::monotonic_ns()));
        (client, Wire::new(io, protocol, Arc::clone(&connection)), connection)
    }

    /// True if a read has to wait.
    fn must_wait(wire: &mut Wire<DuplexStream>) -> bool {
        let mut space = [0; 64];
        let mut buffer = ReadBuf::new(&mut space);
        let mut context = Context::from_waker(std::task::Waker::noop());
        Pin::new(wire).poll_read(&mut context, &mut buffer).is_pending()
    }

    #[tokio::test]
    async fn a_bad_head_passes_whole_and_nothing_behind_it() {
        let (mut client, mut wire, connection) = wire(Alpn::Http11);
        let head = b"GET / HTTP/1.1\nhost: shop\r\n\r\n";
        client.write_all(&[&head[..], b"GET /admin HTTP/1.1\r\n\r\n"].concat()).await.unwrap();
        let mut read = vec![0; 1024];
        assert_eq!(wire.read(&mut read).await.unwrap(), head.len());
        assert_eq!(connection.fault(), Some(Fault::BareLineFeed));
        client.write_all(b"GET /admin HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(must_wait(&mut wire));
        drop(client);
        assert!(must_wait(&mut wire), "an end would look like a client who left");
    }

    #[tokio::test]
    async fn a_broken_body_ends_in_an_error() {
        let (mut client, mut wire, connection) = wire(Alpn::Http11);
        client.write_all(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\naX\r\n").await.unwrap();
        let mut read = Vec::new();
        let error = wire.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(read.ends_with(b"1\r\na"));
        assert_eq!(connection.fault(), Some(Fault::Chunk));
    }

    #[tokio::test]
    async fn a_flood_ends_in_an_error() {
        let (mut client, mut wire, _) = wire(Alpn::H2);
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(300)).await.unwrap();
        let error = wire.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("SETTINGS"), "{error}");
    }

    #[tokio::test]
    async fn what_is_upgraded_is_not_looked_at() {
        let (mut client, mut wire, connection) = wire(Alpn::Http11);
        connection.upgrade(Box::pin(std::future::ready(())));
        let frames = [b"\x81\x05hello\n".repeat(10), b"GET / HTTP/1.1\n\n".to_vec()].concat();
        client.write_all(&frames).await.unwrap();
        drop(client);
        let mut read = Vec::new();
        wire.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, frames);
        assert_eq!(connection.fault(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_waits_for_a_client_that_still_sends_but_not_for_ever() {
        let (mut client, mut wire, _) = wire(Alpn::Http11);
        client.write_all(b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\nabc").await.unwrap();
        assert_ne!(wire.read(&mut [0; 1024]).await.unwrap(), 0);
        let begun = tokio::time::Instant::now();
        wire.shutdown().await.unwrap();
        assert!(begun.elapsed() >= LINGER);

        let (mut client, mut wire) = {
            let (client, wire, _) = self::wire(Alpn::Http11);
            (client, wire)
        };
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_ne!(wire.read(&mut [0; 1024]).await.unwrap(), 0);
        let begun = tokio::time::Instant::now();
        wire.shutdown().await.unwrap();
        assert!(begun.elapsed() < LINGER, "a client that is through is not waited for");
    }
}
