//! Sends a request: to the backend that is chosen, on a tunnel that has room; and once more where that is safe.

use std::{error::Error, fmt::Display, sync::Arc, time::Duration};

use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use tokio::time::{Instant, sleep_until};

use super::{Prepared, Relay, body_answer};
use crate::{
    clock,
    ingress::{
        answer::Answer,
        body::{BodyFault, Meter, Taken, Upload},
        flight::Flight,
        record::Record,
        retry::{self, ATTEMPTS},
        route::{self, Bond, NoRoute, Route},
        service::Backend,
    },
    qos::{
        Ask,
        admission::Permit,
        uplink::SlicedError,
        view::{Shed, ShedReason},
    },
    tunnel::{
        error::{Cause, SendError},
        lease::{Lease, Need},
        response::ResponseBody,
    },
};

/// How long a request that was let through waits for a tunnel with room.
const TUNNEL_WAIT: Duration = Duration::from_secs(2);
/// When a client may ask again where nothing says when a backend will be back.
const RETRY_AFTER_S: u32 = 2;

/// An answer's head, and what holds its request's place.
pub(super) struct Delivery {
    pub(super) response: Response<ResponseBody<Upload>>,
    pub(super) flight: Flight,
}

/// Why an attempt came to nothing.
enum Failed {
    /// It may be made once more, perhaps elsewhere.
    Retry { answer: Answer, fault: Fault },
    /// That is the answer.
    Final(Answer),
}

/// What an attempt failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The backend ended this request and no other: it is there, and may always do so.
    Request,
    /// The tunnel ended.
    Tunnel,
    /// The backend cannot be reached.
    Backend,
}

impl Relay {
    /// Sends a request until there is an answer, or no hope for one.
    pub(super) async fn send(&self, record: &mut Record, prepared: &mut Prepared) -> Result<Delivery, Answer> {
        self.service.budget.deposit();
        let mut refused: Vec<u16> = Vec::new();
        let mut failed_slots = 0;
        let mut failure: Option<Answer> = None;
        loop {
            let now_ns = clock::monotonic_ns();
            let chosen = route::choose(&self.service, &prepared.rules, &prepared.wanted, &refused, now_ns);
            let mut route = match (chosen, failure) {
                (Ok(route), _) => route,
                // There is nowhere else to go: the first failure is the answer.
                (Err(_), Some(answer)) => return Err(answer),
                (Err(none), None) => return Err(self.no_route(none)),
            };
            // Another tunnel than the one that has failed.
            for _ in 0..failed_slots {
                route.slot = next(route.slot, &route.backend);
            }
            record.class = route.class;
            record.backend = Some(Arc::clone(&route.backend));
            record.attempts += 1;
            let backend = route.backend.id;
            let (answer, fault) = match self.attempt(record, prepared, route).await {
                Ok(delivery) => return Ok(delivery),
                Err(Failed::Final(answer)) => return Err(answer),
                Err(Failed::Retry { answer, fault }) => (answer, fault),
            };
            // First another tunnel of the same backend, then another backend.
            let is_backend_out = fault == Fault::Backend || record.attempts > 1;
            // A request that its backend always ends would take its session along, to a backend that knows nothing of it.
            let is_bound = fault == Fault::Request && prepared.wanted.bond == Bond::Session;
            if record.attempts >= ATTEMPTS || (is_backend_out && is_bound) {
                return Err(answer);
            }
            if !self.service.budget.withdraw() {
                self.service.counters.retries_exhausted.one();
                return Err(answer);
            }
            self.service.counters.retried.one();
            if is_backend_out {
                refused.push(backend);
            }
            failed_slots += 1;
            failure = Some(answer);
        }
    }

    async fn attempt(&self, record: &mut Record, prepared: &mut Prepared, route: Route) -> Result<Delivery, Failed> {
        let permit = self.admit(record, prepared, &route).await?;
        let mut flight = Flight::new(Arc::clone(&self.service), route.backend, permit);
        // The time that an answer may take counts from the last byte of a body that is still on its way.
        let meter = if prepared.body.is_streamed() { record.received.clone() } else { None };
        let mut request = prepared.outgoing(&flight);
        let mut slot = route.slot;
        for is_last in [false, true] {
            let lease = match self.lease(&flight.backend, slot, prepared.need()).await {
                Ok(lease) => lease,
                Err(failed) => {
                    flight.end(clock::monotonic_ns(), false);
                    return Err(failed);
                }
            };
            match within(lease.send(request), prepared.rules.limits.response_time, meter.as_ref()).await {
                Some(Ok(response)) => {
                    let asked_ns = meter.as_ref().map_or(0, Meter::moved_ns);
                    record.answer_ns = flight.answered(clock::monotonic_ns(), asked_ns);
                    return Ok(Delivery { response, flight });
                }
                // The tunnel had ended, and nothing of the request was used up.
                Some(Err(SendError { request: Some(unsent), .. })) if !is_last => {
                    self.service.counters.retried.one();
                    request = *unsent;
                    slot = next(slot, &flight.backend);
                }
                Some(Err(error)) => {
                    let failed = prepared.failed(&error, &flight.backend);
                    flight.end(clock::monotonic_ns(), false);
                    return Err(failed);
                }
                // The flight is dropped, not ended: the backend may still be at it.
                None => {
                    self.service.counters.late.one();
                    let answer = Answer::new(StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time");
                    return Err(Failed::Final(answer));
                }
            }
        }
        Err(Failed::Final(unavailable("the backend's tunnels end")))
    }

    /// Takes a place on a tunnel; waits a little if there is none.
    async fn lease(&self, backend: &Backend, slot: Option<u16>, need: Need) -> Result<Lease<Upload>, Failed> {
        let preferred = slot.map(usize::from);
        if let Ok(lease) = backend.tunnels.choose(preferred, need) {
            return Ok(lease);
        }
        backend.tunnels.lease(preferred, need, TUNNEL_WAIT).await.map_err(|error| {
            tracing::debug!("no tunnel: {error}");
            Failed::Retry { answer: unavailable("the backend cannot be reached"), fault: Fault::Backend }
        })
    }

    /// Waits for the request's turn.
    async fn admit(&self, record: &mut Record, prepared: &Prepared, route: &Route) -> Result<Permit, Failed> {
        let mut ask = Ask::new(route.class, prepared.wanted.client);
        ask.bytes = prepared.body.held();
        ask.patience = patience(&prepared.head.headers);
        let admitted = route.backend.admission.admit(ask).await;
        match admitted {
            Ok(permit) => {
                record.wait_ns = u64::try_from(permit.waited().as_nanos()).unwrap_or(u64::MAX);
                Ok(permit)
            }
            Err(Shed { reason: ShedReason::Closed, .. }) => {
                let answer = unavailable("the backend is gone");
                Err(Failed::Retry { answer, fault: Fault::Backend })
            }
            Err(shed) => {
                self.service.counters.shed.one();
                let answer = Answer::new(StatusCode::SERVICE_UNAVAILABLE, shed).retry_after(shed.retry_after_s);
                Err(Failed::Final(answer))
            }
        }
    }

    fn no_route(&self, none: NoRoute) -> Answer {
        match none {
            NoRoute::NoBackend => self.service.counters.no_backend.one(),
            NoRoute::Lost => self.service.counters.lost.one(),
        }
        unavailable(none)
    }
}

impl Prepared {
    fn need(&self) -> Need {
        if self.upgrade.is_some() { Need::Upgrade } else { Need::Any }
    }

    /// The request as it is sent. If it can be sent again, this stays as it is; else the request is spent.
    fn outgoing(&mut self, flight: &Flight) -> Request<Upload> {
        let again = self.body.again();
        self.is_spent = again.is_none();
        let head = if self.is_spent { take(&mut self.head) } else { self.head.clone() };
        let body = std::mem::replace(&mut self.body, again.unwrap_or(Taken::None));
        Request::from_parts(head, flight.permit().map_or(Upload::None, |permit| body.with(permit)))
    }

    /// What a failure comes to.
    fn failed(&self, error: &SendError<Upload>, backend: &Backend) -> Failed {
        tracing::debug!(backend = %backend.name, progress = ?error.progress, "a request was not answered: {error}");
        if let Some(answer) = client_fault(&error.cause) {
            return Failed::Final(answer);
        }
        let answer = Answer::new(StatusCode::BAD_GATEWAY, "the backend failed before it answered");
        if !self.is_spent && retry::is_harmless(error.progress, &self.method) {
            let is_alone = matches!(error.cause, Cause::Reset(_));
            Failed::Retry { answer, fault: if is_alone { Fault::Request } else { Fault::Tunnel } }
        } else {
            Failed::Final(answer)
        }
    }
}

/// The answer to a request that failed for what its client did.
fn client_fault(cause: &Cause) -> Option<Answer> {
    match cause {
        Cause::Malformed(error) => Some(Answer::new(StatusCode::BAD_REQUEST, error)),
        Cause::RequestBody(error) => Some(match find(error.as_ref()) {
            Some(SlicedError::Client(fault)) => body_answer(fault),
            Some(SlicedError::Shed(_)) => unavailable("the backend is gone"),
            None => Answer::new(StatusCode::BAD_REQUEST, "the request's body broke off").last(),
        }),
        Cause::Closed(_) | Cause::Reset(_) | Cause::Response(_) => None,
    }
}

/// A body's own error, which HTTP libraries wrap in theirs.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a SlicedError<BodyFault>> {
    let mut error = Some(error);
    while let Some(each) = error {
        if let Some(found) = each.downcast_ref() {
            return Some(found);
        }
        error = each.source();
    }
    None
}

/// The slot after this one.
fn next(slot: Option<u16>, backend: &Backend) -> Option<u16> {
    slot.map(|slot| slot.saturating_add(1).checked_rem(backend.kept).unwrap_or(0))
}

/// An answer for when there is no backend to ask.
fn unavailable(text: impl Display) -> Answer {
    Answer::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(RETRY_AFTER_S)
}

fn take(head: &mut Parts) -> Parts {
    let (empty, ()) = Request::new(()).into_parts();
    std::mem::replace(head, empty)
}

/// How long the client waits for the answer, if it says so (gRPC over HTTP/2, `grpc-timeout`).
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // Eight digits at most; the type would take a sign.
    let value: u64 = Some(digits).filter(|digits| digits.len() <= 8 && !digits.starts_with('+'))?.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// Waits for an answer's head; nothing if it is late. While a body is on its way, the time counts from its last byte.
async fn within<F: Future>(sent: F, time: Duration, meter: Option<&Meter>) -> Option<F::Output> {
    let mut sent = std::pin::pin!(sent);
    let mut begun_ns = clock::monotonic_ns();
    loop {
        let deadline = Instant::now() + time.saturating_sub(Duration::from_nanos(clock::monotonic_ns() - begun_ns));
        tokio::select! {
            biased;
            output = sent.as_mut() => return Some(output),
            () = sleep_until(deadline) => {
                let moved_ns = meter.map_or(0, Meter::moved_ns);
                if moved_ns <= begun_ns {
                    return None;
                }
                begun_ns = moved_ns;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_client_says_how_long_it_waits() {
        let said = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            patience(&headers)
        };
        assert_eq!(said("2S"), Some(Duration::from_secs(2)));
        assert_eq!(said("150m"), Some(Duration::from_millis(150)));
        assert_eq!(said("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "S", "2", "2s", "-2S", "+2S", "123456789S", "2 S"] {
            assert_eq!(said(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_not_waited_for() {
        let second = Duration::from_secs(1);
        assert_eq!(within(std::future::ready(7), second, None).await, Some(7));
        assert_eq!(within(std::future::pending::<()>(), second, None).await, None);
    }
}
