//! Sends a request on an HTTP/1.1 tunnel, which it has for itself until the response has ended.
//!
//! HTTP/1.1 cannot take a request back. When a client gives up, its tunnel is kept if the backend finishes soon and with
//! little: a TLS handshake for each impatient client would cost more than the rest of its answer.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::UPGRADE};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1::SendRequest},
};
use tokio::time::timeout;

use super::{
    RequestBody,
    error::{BodyError, Cause, Progress, SendError},
    home::Home,
    lease::Lease,
    response::ResponseBody,
    target,
    upgrade::Upgrade,
};

/// Sends, and waits for the response's head.
pub(super) async fn send<B: RequestBody>(
    lease: Lease<B>,
    request: Request<B>,
) -> Result<Response<ResponseBody<B>>, SendError<B>> {
    let connection = lease.connection();
    let home = Arc::clone(&connection.home);
    let Some(mut sender) = connection.take_http1() else {
        return Err(SendError::unsent(Cause::Closed("it had ended".into()), request));
    };
    let (mut parts, body) = request.into_parts();
    if let Err(error) = target::for_http1(&mut parts) {
        connection.put_back_http1(sender);
        return Err(SendError::spent(Cause::Malformed(error), Progress::Unsent));
    }
    if parts.headers.contains_key(UPGRADE) {
        connection.may_be_upgraded();
    }
    connection.count_request();
    let answer = Box::pin(sender.try_send_request(Request::from_parts(parts, body)));
    let mut pending = Pending { answer: Some(answer), place: Some(Place { sender, lease }) };
    let answer = pending.answer().await;
    let place = pending.place.take();
    let (mut response, place) = match (answer, place) {
        (Ok(response), Some(place)) => (response, place),
        (Ok(_), None) => return Err(SendError::spent(Cause::Closed("it was given up".into()), Progress::Unknown)),
        (Err(error), _) => return Err(failed(error)),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upgrade = Upgrade::new(hyper::upgrade::on(&mut response), home);
        return Ok(response.map(|_none| ResponseBody::upgraded(upgrade)));
    }
    Ok(response.map(|body| ResponseBody::http1(Exchange::new(body, place))))
}

fn failed<B>(mut error: TrySendError<Request<B>>) -> SendError<B> {
    if let Some(request) = error.take_message() {
        return SendError::unsent(Cause::Closed(error.into_error().into()), request);
    }
    let error = error.into_error();
    let cause = if error.is_user() {
        Cause::RequestBody(error.into())
    } else if error.is_parse() {
        Cause::Response(error.into())
    } else {
        Cause::Closed(error.into())
    };
    SendError::spent(cause, Progress::Unknown)
}

type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + Send>>;

/// A tunnel that is in use: the way to send on it, and its place in the pool.
struct Place<B> {
    sender: SendRequest<B>,
    lease: Lease<B>,
}

impl<B: RequestBody> Place<B> {
    /// Gives the tunnel back if it is ready for the next request, or closes.
    fn give_back_if_ready(self) -> Result<(), Self> {
        if !self.sender.is_ready() && !self.sender.is_closed() {
            return Err(self);
        }
        self.lease.connection().put_back_http1(self.sender);
        Ok(())
    }

    /// Gives the tunnel back as soon as it is ready.
    fn give_back(self) {
        let Err(mut place) = self.give_back_if_ready() else { return };
        let home = Arc::clone(&place.lease.connection().home);
        home.runtime.clone().spawn(async move {
            let ready = timeout(home.settings.remainder.time, place.sender.ready()).await;
            if !matches!(ready, Ok(Ok(()))) || place.give_back_if_ready().is_err() {
                tracing::debug!(backend = %home.settings.backend, "a tunnel was not ready after its response: closed");
            }
        });
    }

    /// Lets the backend finish what nobody waits for, within bounds; closes the tunnel if that is not enough.
    fn give_back_after(self, rest: impl Future<Output = Option<()>> + Send + 'static) {
        let home = Arc::clone(&self.lease.connection().home);
        home.runtime.clone().spawn(async move {
            let Self { mut sender, lease } = self;
            let finish = async {
                rest.await?;
                sender.ready().await.ok()
            };
            if matches!(timeout(home.settings.remainder.time, finish).await, Ok(Some(()))) {
                home.counts.cancelled_and_kept.add();
                lease.connection().put_back_http1(sender);
            } else {
                home.counts.cancelled_and_closed.add();
                lease.connection().leave();
            }
        });
    }
}

/// A request whose answer has not begun.
struct Pending<B: RequestBody> {
    answer: Option<Answer<B>>,
    place: Option<Place<B>>,
}

impl<B: RequestBody> Pending<B> {
    async fn answer(&mut self) -> Result<Response<Incoming>, TrySendError<Request<B>>> {
        match &mut self.answer {
            Some(answer) => answer.await,
            None => std::future::pending().await,
        }
    }
}

impl<B: RequestBody> Drop for Pending<B> {
    fn drop(&mut self) {
        let (Some(answer), Some(place)) = (self.answer.take(), self.place.take()) else { return };
        let bytes = remainder_bytes(&place.lease.connection().home);
        place.give_back_after(async move {
            let response = answer.await.ok()?;
            read_rest(response.into_body(), bytes).await
        });
    }
}

/// A response whose body is on its way.
pub(super) struct Exchange<B: RequestBody> {
    body: Option<Incoming>,
    /// Nothing once the tunnel was given back.
    place: Option<Place<B>>,
}

impl<B: RequestBody> Exchange<B> {
    fn new(body: Incoming, place: Place<B>) -> Self {
        let mut exchange = Self { body: Some(body), place: Some(place) };
        exchange.give_back_at_end();
        exchange
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => self.give_back_at_end(),
            Some(Err(_)) => self.place = None,
            None => {
                if let Some(place) = self.place.take() {
                    place.give_back();
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Http1)))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }

    /// Gives the tunnel back at the body's end; if hyper is not there yet, the next call or the drop does it.
    fn give_back_at_end(&mut self) {
        if self.is_end_stream()
            && let Some(place) = self.place.take()
        {
            self.place = place.give_back_if_ready().err();
        }
    }
}

impl<B: RequestBody> Drop for Exchange<B> {
    fn drop(&mut self) {
        let (Some(body), Some(place)) = (self.body.take(), self.place.take()) else { return };
        if body.is_end_stream() {
            return place.give_back();
        }
        let bytes = remainder_bytes(&place.lease.connection().home);
        place.give_back_after(read_rest(body, bytes));
    }
}

fn remainder_bytes(home: &Home) -> u64 {
    home.settings.remainder.bytes
}

/// Reads a body to its end; nothing if it has more than `bytes`.
async fn read_rest(mut body: Incoming, bytes: u64) -> Option<()> {
    if body.size_hint().lower() > bytes {
        return None;
    }
    let mut read = 0_u64;
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = frame.ok()?.into_data().unwrap_or_default();
        read = read.saturating_add(data.len() as u64);
        if read > bytes {
            return None;
        }
    }
    Some(())
}
