//! Opens a tunnel: dials, and begins HTTP on it.

use std::{future::poll_fn, sync::Arc};

use h2::{Ping, PingPong};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};

use super::{
    RequestBody,
    connection::{Connection, Sender},
    dial::{self, Dialled},
    drive::{Driver, Http2},
    error::{BoxError, OpenError},
    home::Home,
    settings::Protocol,
};

/// Bytes of a response's headers.
const MAX_HEADER_BYTES: u32 = 64 * 1024;
/// Bytes of an upload that wait within HTTP/2 for the network. More would only delay what comes after them.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams at once until the backend said its own bound; none is opened before that.
const UNTIL_SETTINGS: usize = 1;

/// An open tunnel, and what keeps it.
pub(super) struct Opened<B> {
    pub(super) connection: Arc<Connection<B>>,
    pub(super) driver: Driver,
    /// HTTP/2's pings; HTTP/1.1 has none.
    pub(super) pings: Option<PingPong>,
}

/// Opens a tunnel for a slot, within the time that the settings give.
pub(super) async fn open<B: RequestBody>(
    home: &Arc<Home>,
    slot: usize,
    protocol: Protocol,
) -> Result<Opened<B>, OpenError> {
    let bound = home.settings.connect_timeout;
    let attempt = async {
        let dialled = dial::dial(&home.settings, protocol).await?;
        if dialled.facts.is_http2() {
            begin_http2(home, slot, dialled).await
        } else {
            begin_http1(home, slot, dialled).await
        }
    };
    timeout(bound, attempt).await.unwrap_or(Err(OpenError::TimedOut(bound)))
}

async fn begin_http2<B: RequestBody>(home: &Arc<Home>, slot: usize, dialled: Dialled) -> Result<Opened<B>, OpenError> {
    let settings = &home.settings;
    let (sender, mut io) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window())
        .initial_max_send_streams(UNTIL_SETTINGS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(dialled.stream)
        .await
        .map_err(|error| OpenError::Http2(error.into()))?;
    let mut pings = io.ping_pong();
    let connection = Arc::new(Connection::new(
        slot,
        dialled.facts,
        dialled.meter,
        Arc::clone(home),
        Sender::Http2(sender),
        settings.max_streams,
    ));
    let mut driver = Driver::spawn(home, Arc::clone(&connection), Http2::new(io, Arc::clone(&connection)));
    // A backend's first frame is its SETTINGS (RFC 9113, section 3.4). Once a ping is answered they are in force: how
    // many requests it takes at once is known before the first one is sent.
    if let Some(pings) = &mut pings
        && let Err(error) = ping(&connection, pings).await
    {
        // The driver knows more: with TLS 1.3 a backend refuses our certificate after the handshake.
        return Err(OpenError::Http2(driver.ended().await.err().unwrap_or_else(|| error.into())));
    }
    connection.look();
    Ok(Opened { connection, driver, pings })
}

async fn begin_http1<B: RequestBody>(home: &Arc<Home>, slot: usize, dialled: Dialled) -> Result<Opened<B>, OpenError> {
    let (sender, io) = hyper::client::conn::http1::Builder::new()
        .handshake(TokioIo::new(dialled.stream))
        .await
        .map_err(OpenError::Http1)?;
    let connection =
        Arc::new(Connection::new(slot, dialled.facts, dialled.meter, Arc::clone(home), Sender::Http1(sender), 1));
    let idle = Arc::clone(&connection);
    let run = async move {
        match io.with_upgrades().await {
            // A backend may close a connection that it has no use for; hyper misses a message there.
            Err(error) if error.is_incomplete_message() && idle.streams() == 0 => Ok(()),
            ended => ended.map_err(BoxError::from),
        }
    };
    let driver = Driver::spawn(home, Arc::clone(&connection), run);
    Ok(Opened { connection, driver, pings: None })
}

/// Asks an HTTP/2 backend for a sign of life, and notes how long that takes.
pub(super) async fn ping<B>(connection: &Connection<B>, pings: &mut PingPong) -> Result<(), h2::Error> {
    let asked = Instant::now();
    // It fails if an earlier ping, which nobody waited for to the end, is still under way: that one's answer will do.
    pings.send_ping(Ping::opaque()).ok();
    poll_fn(|cx| pings.poll_pong(cx)).await?;
    let round_trip_ns = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
    connection.set_round_trip_ns(round_trip_ns);
    Ok(())
}
