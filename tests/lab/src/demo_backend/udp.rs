//! Answers each datagram with who got it and what was in it.

use super::Backend;
use nix::sys::socket::{setsockopt, sockopt};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::UdpSocket;

const LARGEST: usize = 65_535;
/// Room for a burst of some thousand datagrams.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Opens the socket.
pub(super) async fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).await?;
    // Beyond the system's limit as root, up to it otherwise.
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER))?;
    Ok(socket)
}

/// Answers every datagram, for ever.
pub(super) async fn echo(socket: UdpSocket, backend: Arc<Backend>) {
    let mut buffer = vec![0; LARGEST];
    loop {
        // Errors here are those of earlier answers, to clients that are gone (ICMP port unreachable).
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let payload = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let answer = backend.answer(client, Some(&payload));
        let _outcome = socket.send_to(&answer, client).await;
    }
}
