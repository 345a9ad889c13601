//! Sends a request on an HTTP/2 tunnel: a stream of the one connection.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use h2::client::ResponseFuture;
use http::{Request, Response};
use tokio::task::AbortHandle;

use super::{
    RequestBody,
    connection::Connection,
    error::{Cause, Progress, SendError},
    lease::Lease,
    response::ResponseBody,
    target,
    upload::{Stopped, Upload},
};

/// Sends, and waits for the response's head.
pub(super) async fn send<B: RequestBody>(
    lease: Lease<B>,
    request: Request<B>,
) -> Result<Response<ResponseBody<B>>, SendError<B>> {
    let connection = lease.connection();
    let Some(sender) = connection.http2() else {
        return Err(SendError::unsent(Cause::Closed("it had ended".into()), request));
    };
    let mut sender = match sender.ready().await {
        Ok(sender) => sender,
        Err(error) => {
            // At once, and not when the driver sees it: the next choice must not fall on it again.
            connection.told_to_leave();
            return Err(SendError::unsent(Cause::Closed(error.into()), request));
        }
    };
    let (mut parts, body) = request.into_parts();
    if let Err(error) = target::for_http2(&mut parts) {
        return Err(SendError::spent(Cause::Malformed(error), Progress::Unsent));
    }
    let has_body = !body.is_end_stream();
    let (mut response, stream) = sender
        .send_request(Request::from_parts(parts, ()), !has_body)
        .map_err(|error| SendError::spent(Cause::Malformed(error.into()), Progress::Unsent))?;
    drop(sender);
    connection.count_request();
    let mut upload = has_body.then(|| Upload::new(stream, body));
    let head = head(&mut response, &mut upload).await.inspect_err(|error| {
        if error.progress == Progress::Refused && matches!(error.cause, Cause::Closed(_)) {
            connection.told_to_leave();
        }
    })?;
    let upload = upload.map(|upload| go_on(upload, Arc::clone(connection)));
    Ok(head.map(|stream| ResponseBody::http2(stream, upload, lease)))
}

/// Waits for the response's head, and sends the body meanwhile. The upload is taken away once it has ended.
async fn head<B: RequestBody>(
    response: &mut ResponseFuture,
    upload: &mut Option<Upload<B>>,
) -> Result<Response<h2::RecvStream>, SendError<B>> {
    poll_fn(|cx| {
        if let Some(Poll::Ready(ended)) = upload.as_mut().map(|upload| upload.poll(cx)) {
            *upload = None;
            if let Err(Stopped::ByBody(error)) = ended {
                return Poll::Ready(Err(SendError::spent(Cause::RequestBody(error), Progress::Unknown)));
            }
        }
        Pin::new(&mut *response).poll(cx).map_err(SendError::of_stream)
    })
    .await
}

/// Sends the rest of a body while the response is on its way already.
fn go_on<B: RequestBody>(mut upload: Upload<B>, connection: Arc<Connection<B>>) -> AbortHandle {
    let place = Place::new(connection);
    let runtime = place.0.home.runtime.clone();
    let task = runtime.spawn(async move {
        let _place = place;
        if let Err(Stopped::ByBody(error)) = poll_fn(|cx| upload.poll(cx)).await {
            tracing::debug!("a request's body broke off after its response began: {error}");
        }
    });
    task.abort_handle()
}

/// Keeps a stream counted that outlives its response.
struct Place<B>(Arc<Connection<B>>);

impl<B> Place<B> {
    fn new(connection: Arc<Connection<B>>) -> Self {
        connection.take_more();
        Self(connection)
    }
}

impl<B> Drop for Place<B> {
    fn drop(&mut self) {
        self.0.give_back_stream();
    }
}
