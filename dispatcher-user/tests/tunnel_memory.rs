//! Bodies of any size take the same memory. A process of its own, so that nothing else is measured.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

#[path = "tunnel/authority.rs"]
mod authority;
#[path = "tunnel/backend.rs"]
#[expect(dead_code, reason = "it can do more than is measured here")]
mod backend;

use std::{convert::Infallible, fs, sync::atomic::Ordering, time::Duration};

use authority::{Authority, NAME};
use backend::{Backend, Options};
use bytes::Bytes;
use dispatcher_user::tunnel::{lease::Need, pool::Pool, settings::Settings};
use http::Request;
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;

type TestPool = Pool<UnsyncBoxBody<Bytes, Infallible>>;

const SIZE: u64 = 100_000_000;
const CHUNK: usize = 16 * 1024;
/// What both sides of a tunnel, windows and sockets may take besides what they had.
const ALLOWED: u64 = 8_000_000;

/// The most memory that this process had since the last call, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    // The kernel starts to count again (proc(5), clear_refs).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    kilobytes * 1024
}

async fn download(pool: &TestPool, size: u64) {
    let request = Request::get(format!("https://{NAME}/bytes/{size}")).body(Empty::new().boxed_unsync()).unwrap();
    let mut body = pool.choose(Some(0), Need::Any).unwrap().send(request).await.unwrap().into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len() as u64;
    }
    assert_eq!(read, size);
}

async fn upload(pool: &TestPool, size: u64) {
    let chunk = Bytes::from(vec![7; CHUNK]);
    let count = size.div_ceil(CHUNK as u64);
    let frames = futures_util::stream::iter((0..count).map(move |_| Ok(Frame::data(chunk.clone()))));
    let request = Request::post(format!("https://{NAME}/count")).body(StreamBody::new(frames).boxed_unsync()).unwrap();
    let response = pool.choose(Some(0), Need::Any).unwrap().send(request).await.unwrap();
    let counted = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(counted, (count * CHUNK as u64).to_string());
}

#[test]
fn bodies_of_a_hundred_megabytes_take_no_more_memory_than_small_ones() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let test = async {
        for alpn in ["h2", "http/1.1"] {
            let authority = Authority::new();
            let backend = Backend::start(Options::new(authority.server(NAME, &[alpn], false)));
            let pool = TestPool::start(Settings::new("shop/b1", backend.address, authority.client()));
            pool.standing().wait_for(|standing| standing.open == 4).await.unwrap();
            // Whatever is allocated once is allocated now.
            download(&pool, SIZE / 50).await;
            upload(&pool, SIZE / 50).await;
            let before = peak();
            download(&pool, SIZE).await;
            let down = peak().saturating_sub(before);
            upload(&pool, SIZE).await;
            let up = peak().saturating_sub(before);
            println!("{alpn}: {down} bytes more for a download, {up} for an upload");
            assert!(down < ALLOWED && up < ALLOWED, "{alpn}: {down} and {up} bytes more");
            assert!(backend.seen.consumed.load(Ordering::SeqCst) >= SIZE);
        }
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(300), test).await.unwrap() });
}
