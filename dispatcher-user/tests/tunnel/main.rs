//! Tunnels against real TLS servers on loopback, named after what they promise.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod authority;
mod backend;

mod cancelling;
mod failing;
mod http1;
mod limits;
mod nginx;
mod opening;
mod renewing;
mod streaming;
mod trust;
mod upgrading;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use authority::Authority;
use backend::{Backend, Options};
use bytes::Bytes;
use dispatcher_user::tunnel::{
    context::{Standing, TunnelState, TunnelView},
    error::SendError,
    lease::Need,
    pool::Pool,
    response::ResponseBody,
    settings::Settings,
};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};

type TestBody = UnsyncBoxBody<Bytes, io::Error>;
type TestPool = Pool<TestBody>;

/// No test takes nearly as long; a hanging one fails instead.
const BOUND: Duration = Duration::from_secs(60);

/// Runs a test on a runtime as the daemon has one.
fn run(test: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = runtime.block_on(async { timeout(BOUND, tokio::spawn(test)).await });
    runtime.shutdown_background();
    result.expect("the test hangs").unwrap();
}

/// Waits for a condition.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut looks = interval(Duration::from_millis(2));
    let wait = async {
        while !holds() {
            looks.tick().await;
        }
    };
    timeout(BOUND / 2, wait).await.unwrap_or_else(|_elapsed| panic!("{what} does not happen"));
}

/// Settings with times that suit a test.
fn settings(authority: &Authority, address: SocketAddr) -> Settings {
    Settings {
        backoff_first: Duration::from_millis(10),
        backoff_longest: Duration::from_millis(50),
        ..Settings::new("shop/b1", address, authority.client())
    }
}

/// A backend that speaks both HTTPs, its authority, and a pool with all its kept tunnels open.
async fn shop(alpn: &[&str]) -> (Authority, Backend, TestPool) {
    let authority = Authority::new();
    let backend = Backend::start(Options::new(authority.server(authority::NAME, alpn, false)));
    let pool = Pool::start(settings(&authority, backend.address));
    open(&pool, 4).await;
    (authority, backend, pool)
}

/// Waits until so many tunnels are open and none drains.
async fn open(pool: &TestPool, wanted: usize) {
    standing(pool, Standing { open: wanted, draining: 0 }).await;
}

async fn standing(pool: &TestPool, wanted: Standing) {
    let mut standing = pool.standing();
    let reached = timeout(BOUND / 2, standing.wait_for(|now| *now == wanted)).await.is_ok();
    assert!(reached, "{wanted:?} is not reached: {:#?}", pool.view());
}

fn get(path: &str) -> Request<TestBody> {
    let uri = format!("https://{}{path}", authority::NAME);
    Request::get(uri).body(Empty::new().map_err(|never| match never {}).boxed_unsync()).unwrap()
}

fn post(path: &str, body: TestBody) -> Request<TestBody> {
    Request::post(format!("https://{}{path}", authority::NAME)).body(body).unwrap()
}

/// Sends a request on any tunnel, waiting for one if need be.
async fn send(
    pool: &TestPool,
    request: Request<TestBody>,
) -> Result<Response<ResponseBody<TestBody>>, SendError<TestBody>> {
    pool.lease(None, Need::Any, BOUND / 4).await.unwrap().send(request).await
}

/// The whole answer to a request that must succeed.
async fn fetch(pool: &TestPool, request: Request<TestBody>) -> Bytes {
    let response = send(pool, request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

/// The open tunnels.
fn tunnels(pool: &TestPool) -> Vec<TunnelView> {
    pool.view().tunnels.into_iter().filter(|tunnel| tunnel.state == TunnelState::Open).collect()
}

/// Requests without a pause from `clients`, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<(usize, Vec<String>)>,
}

impl Load {
    fn start(pool: &Arc<TestPool>, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let (pool, stop) = (Arc::clone(pool), Arc::clone(&stop));
            tasks.spawn(async move {
                let (mut answered, mut failed) = (0, Vec::new());
                while !stop.load(Ordering::SeqCst) && failed.len() < 10 {
                    match one_of_load(&pool, client % 4).await {
                        Ok(()) => answered += 1,
                        Err(error) => failed.push(error),
                    }
                }
                (answered, failed)
            });
        }
        Self { stop, clients: tasks }
    }

    /// Ends it; how many requests were answered, and why others were not.
    async fn end(mut self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let (mut answered, mut failed) = (0, Vec::new());
        while let Some(client) = self.clients.join_next().await {
            let (more, reasons) = client.unwrap();
            answered += more;
            failed.extend(reasons);
        }
        (answered, failed)
    }
}

/// One request of a session that has a slot. What the backend has not looked at is sent again.
async fn one_of_load(pool: &TestPool, slot: usize) -> Result<(), String> {
    for _ in 0..3 {
        let lease = pool.lease(Some(slot), Need::Any, BOUND / 4).await.map_err(|error| error.to_string())?;
        let response = match lease.send(get("/bytes/1000")).await {
            Err(error) if error.progress.is_safe_to_repeat() => continue,
            other => other.map_err(|error| format!("{error} ({:?})", error.progress))?,
        };
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        return if body.len() == 1000 { Ok(()) } else { Err(format!("{} bytes", body.len())) };
    }
    Err("refused three times".to_owned())
}
