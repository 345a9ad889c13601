//! A connection that becomes something else (WebSocket): its bytes are passed both ways until one side ends.

use std::{io, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, response::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt as _, copy_bidirectional},
    time::timeout,
};

use super::refuse;
use crate::{
    clock,
    ingress::{
        answer::Answer,
        body::Upload,
        connection::Connection,
        download::Download,
        flight::Flight,
        record::{End, Record},
    },
    tunnel::{response::ResponseBody, upgrade::Upgrade},
};

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(5);

/// Tells the client that the protocol changes, and sees to it that the connection goes on with it.
pub(super) fn switch(
    head: Parts,
    mut body: ResponseBody<Upload>,
    client: Option<OnUpgrade>,
    flight: Flight,
    mut record: Record,
) -> Response<Download> {
    // From here on it takes no slot: it may last for days, and most of the time nothing happens.
    flight.end(clock::monotonic_ns(), true);
    let (Some(client), Some(backend)) = (client, body.take_upgrade()) else {
        let text = "the backend changes the protocol, which the client did not ask for";
        return refuse(record, Answer::new(StatusCode::BAD_GATEWAY, text));
    };
    record.service().counters.upgraded.one();
    let connection = Arc::clone(record.connection());
    let rest = async move {
        let end = match pass(client, backend, &mut record).await {
            Ok(()) => End::Complete,
            Err(error) => {
                tracing::debug!("an upgraded connection broke: {error}");
                End::CutShort
            }
        };
        record.end(end);
    };
    connection.upgrade(Box::pin(rest));
    Response::from_parts(head, Download::Whole(None))
}

/// Takes the way to another protocol out of a request. hyper hands a connection over that has seen one, also if nothing
/// came of it, and closes it no more; so that is to be done when HTTP ends.
pub(super) fn take_out(request: &mut Request<Incoming>, connection: &Connection) -> Option<OnUpgrade> {
    let upgrade: OnUpgrade = request.extensions_mut().remove()?;
    let left = upgrade.clone();
    connection.end_with(Box::pin(async move {
        let Ok(left) = left.await else { return };
        if let Ok(Err(error)) = timeout(CLOSE, TokioIo::new(left).shutdown()).await {
            tracing::debug!("a connection could not be closed: {error}");
        }
    }));
    Some(upgrade)
}

async fn pass(client: OnUpgrade, backend: Upgrade, record: &mut Record) -> io::Result<()> {
    let mut client = TokioIo::new(client.await.map_err(io::Error::other)?);
    let mut backend = backend.stream().await?;
    let (_up, down) = copy_bidirectional(&mut client, &mut backend).await?;
    record.sent = down;
    Ok(())
}
