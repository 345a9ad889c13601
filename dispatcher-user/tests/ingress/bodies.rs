//! Bodies are streamed both ways, as fast as the slower side and no faster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dispatcher_user::{core::model::LimitsSpec, qos::settings::WindowSettings};
use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use crate::{
    authority::SHOP,
    browser::{Body, Browser, bytes, empty, whole},
    run,
    stage::{Script, Stage},
    until,
};

const PIECE: usize = 16 * 1024;

/// So many pieces, each counted when it is asked for.
fn pieces(count: usize, asked: &Arc<AtomicUsize>) -> Body {
    let asked = Arc::clone(asked);
    let frames = stream::iter(0..count).map(move |_| {
        asked.fetch_add(1, Ordering::SeqCst);
        Ok(Frame::data(Bytes::from(vec![b'u'; PIECE])))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A body that is sent from outside.
fn channel() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = stream::unfold(receiver, |mut receiver| async {
        let data: Bytes = receiver.recv().await?;
        Some((Ok(Frame::data(data)), receiver))
    });
    (sender, StreamBody::new(frames).boxed_unsync())
}

#[test]
fn uploads_of_every_size_arrive_whole() {
    run(async {
        for alpn in [&["h2"][..], &["http/1.1"]] {
            let stage = Stage::set(Script { alpn, ..Script::default() }).await;
            for is_http2 in [false, true] {
                let mut browser = Browser::new(&stage, is_http2);
                for size in [1, 1_000, 20_000, 65_536, 65_537, 3_000_000] {
                    let answer = browser.post("/length", bytes(vec![b'u'; size])).await.unwrap();
                    assert_eq!((answer.status.as_u16(), answer.text()), (200, size.to_string().as_str()));
                }
                // Without a length.
                let answer = browser.post("/length", pieces(20, &Arc::default())).await.unwrap();
                assert_eq!(answer.text(), (20 * PIECE).to_string());
            }
        }
    });
}

#[test]
fn an_answer_may_begin_before_the_body_ends() {
    run(async {
        let stage = Stage::set(Script { alpn: &["h2"], backends: 1, ..Script::default() }).await;
        let browser = Browser::new(&stage, true);
        let (mut connection, _) = browser.open().await;
        let (sender, body) = channel();
        sender.send(Bytes::from_static(b"first")).await.unwrap();
        let mut response = connection.send(browser.request(Method::POST, "/mirror", body)).await.unwrap();
        for word in ["first", "second", "third"] {
            let heard = response.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(heard, word.as_bytes());
            let next = match word {
                "first" => "second",
                _ => "third",
            };
            sender.send(Bytes::from(next)).await.unwrap();
        }
        drop(sender);
        let rest = response.collect().await.unwrap().to_bytes();
        assert_eq!(rest, "third");
    });
}

#[test]
fn an_upload_goes_no_faster_than_the_backend_takes_it() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        for is_http2 in [false, true] {
            let asked = Arc::new(AtomicUsize::new(0));
            let browser = Browser::new(&stage, is_http2);
            let (mut connection, _) = browser.open().await;
            // It never reads the body.
            let request = browser.request(Method::POST, "/hang", pieces(10_000, &asked));
            let sending = tokio::spawn(async move { connection.send(request).await.map(drop) });
            let mut before = usize::MAX;
            let mut looks = tokio::time::interval(Duration::from_millis(200));
            // Until it stands still.
            while before != asked.load(Ordering::SeqCst) {
                before = asked.load(Ordering::SeqCst);
                looks.tick().await;
            }
            // Kernel buffers of loopback hold some megabytes; all of it would be 160.
            assert!(before < 2_000, "{before} pieces were sent");
            sending.abort();
        }
    });
}

#[test]
fn a_download_goes_no_faster_than_the_client_takes_it() {
    run(async {
        for is_http2 in [false, true] {
            let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
            let browser = Browser::new(&stage, is_http2);
            let (mut connection, _) = browser.open().await;
            let size = 200_000_000;
            let response = connection.send(browser.request(Method::GET, &format!("/bytes/{size}"), empty())).await;
            let mut body = response.unwrap().into_body();
            let mut read = 0;
            while read < 10_000_000 {
                read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
            }
            // What was read stays small while the client pauses: the view of the tunnel counts what the backend sent.
            let bytes_in =
                || stage.service.backends()[0].tunnels.view().tunnels.iter().map(|each| each.bytes_in).max().unwrap();
            let mut before = 0;
            let mut looks = tokio::time::interval(Duration::from_millis(200));
            while before != bytes_in() {
                before = bytes_in();
                looks.tick().await;
            }
            assert!(before < 60_000_000, "{before} bytes were taken from the backend");
            while let Some(frame) = body.frame().await {
                read += frame.unwrap().into_data().unwrap().len();
            }
            assert_eq!(read, size);
        }
    });
}

#[test]
fn a_body_that_pauses_for_too_long_is_given_up_before_a_backend_sees_it() {
    run(async {
        let limits = LimitsSpec { body_pause: Duration::from_millis(100), ..LimitsSpec::default() };
        let stage = Stage::set(Script { backends: 1, limits, ..Script::default() }).await;
        let mut stream = Browser::new(&stage, false).tls().await.unwrap();
        let head = format!("POST /length HTTP/1.1\r\nhost: {SHOP}\r\ncontent-length: 5\r\n\r\nhel");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(stage.backends[0].seen.requests.load(Ordering::SeqCst), 0);
        let browser = Browser::new(&stage, true);
        let (mut connection, _) = browser.open().await;
        let (sender, body) = channel();
        sender.send(Bytes::from(vec![b'u'; 100_000])).await.unwrap();
        let response = connection.send(browser.request(Method::POST, "/length", body)).await.unwrap();
        assert_eq!(whole(response, false).await.unwrap().status, StatusCode::REQUEST_TIMEOUT);
    });
}

#[test]
fn half_an_upload_never_looks_whole() {
    run(async {
        let stage = Stage::set(Script { backends: 1, alpn: &["h2"], ..Script::default() }).await;
        let seen = &stage.backends[0].seen;
        for is_http2 in [false, true] {
            for size in [100, 100_000] {
                let browser = Browser::new(&stage, is_http2);
                let (mut connection, _) = browser.open().await;
                let (sender, body) = channel();
                let request = browser.request(Method::POST, "/length", body);
                let sending = tokio::spawn(async move { connection.send(request).await.map(drop) });
                sender.send(Bytes::from(vec![b'u'; size])).await.unwrap();
                // The body ends with its sender, before its end.
                sending.abort();
                drop(sender);
            }
        }
        until("every request's end", || stage.edge.registry().connections().is_empty()).await;
        let answered = stage.service.backends()[0].counters.answers(true);
        assert_eq!(answered[2], 0, "a half was taken for a whole: {answered:?}");
        assert_eq!(seen.dropped.load(Ordering::SeqCst), seen.requests.load(Ordering::SeqCst));
    });
}

#[test]
fn slow_uploads_hold_no_slot() {
    run(async {
        let script = Script { backends: 1, window: WindowSettings::Fixed(2), ..Script::default() };
        let stage = Stage::set(script).await;
        let mut uploads = Vec::new();
        let is_done = Arc::new(AtomicBool::new(false));
        for _ in 0..6 {
            let (sender, body) = channel();
            let mut browser = Browser::new(&stage, true);
            let is_done = Arc::clone(&is_done);
            let upload = tokio::spawn(async move {
                let answer = browser.post("/length", body).await.unwrap();
                assert!(is_done.load(Ordering::SeqCst), "it ended early");
                answer.text().to_owned()
            });
            // More than is taken in before a slot is asked for.
            sender.send(Bytes::from(vec![b'u'; 70_000])).await.unwrap();
            uploads.push((sender, upload));
        }
        until("every upload's beginning", || stage.backends[0].seen.requests.load(Ordering::SeqCst) == 6).await;
        // The backend has two slots, six uploads are on their way, and none of them moves.
        let mut quick = Browser::new(&stage, true);
        for _ in 0..10 {
            assert_eq!(quick.get("/quick").await.status, StatusCode::OK);
        }
        is_done.store(true, Ordering::SeqCst);
        for (sender, upload) in uploads {
            sender.send(Bytes::from_static(b"end")).await.unwrap();
            drop(sender);
            assert_eq!(upload.await.unwrap(), "70003");
        }
    });
}
