//! WebSocket: a connection becomes something else, from the client through to the backend.

use std::{sync::atomic::Ordering, time::Duration};

use dispatcher_user::core::model::LimitsSpec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    authority::SHOP,
    browser::Browser,
    run,
    stage::{Script, Stage},
    until,
};

fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {SHOP}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Reads an answer's head.
async fn head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn bytes_pass_both_ways_until_one_side_ends() {
    run(async {
        // A backend that has both: the upgrade needs HTTP/1.1.
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        let mut stream = Browser::new(&stage, false).tls().await.unwrap();
        stream.write_all(handshake("/echo").as_bytes()).await.unwrap();
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("upgrade: websocket") && answer.contains("connection: upgrade"), "{answer}");
        // Nothing that would be a bad request is one now.
        for said in [&b"\x81\x05hello"[..], b"GET / HTTP/1.1\n\n\r\n", &[0xff; 100_000]] {
            stream.write_all(said).await.unwrap();
            let mut heard = vec![0; said.len()];
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, said);
        }
        assert_eq!(stage.service.counters.upgraded.value(), 1);
        assert_eq!(stage.edge.registry().connections().len(), 1, "it still counts as a connection");
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
        until("its end", || stage.edge.registry().connections().is_empty()).await;
    });
}

#[test]
fn a_backend_may_refuse_and_the_connection_goes_on_with_http() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        let mut stream = Browser::new(&stage, false).tls().await.unwrap();
        for _ in 0..2 {
            stream.write_all(handshake("/status/403").as_bytes()).await.unwrap();
            let answer = head(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
            assert!(!answer.contains("upgrade"), "{answer}");
        }
    });
}

#[test]
fn an_upgraded_connection_takes_no_slot_and_ends_with_the_service() {
    run(async {
        let limits = LimitsSpec { idle: Duration::from_millis(300), ..LimitsSpec::default() };
        let script = Script {
            backends: 1,
            limits,
            window: dispatcher_user::qos::settings::WindowSettings::Fixed(1),
            ..Script::default()
        };
        let stage = Stage::set(script).await;
        let mut stream = Browser::new(&stage, false).tls().await.unwrap();
        stream.write_all(handshake("/echo").as_bytes()).await.unwrap();
        head(&mut stream).await;
        assert_eq!(Browser::new(&stage, true).get("/").await.status.as_u16(), 200);
        assert_eq!(stage.backends[0].seen.requests.load(Ordering::SeqCst), 2);
        stage.edge.end(Duration::from_millis(50)).await;
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap_or(0), 0);
    });
}
