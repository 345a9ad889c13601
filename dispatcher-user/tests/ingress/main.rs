//! The request path against real clients and backends on loopback, named after what it promises.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod authority;
mod browser;
mod farm;
mod stage;

mod bad_requests;
mod bodies;
mod carts;
mod failures;
mod messages;
mod upgrades;

use std::{future::Future, time::Duration};

use tokio::time::{interval, timeout};

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
