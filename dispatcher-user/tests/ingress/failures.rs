//! When something fails: a client gets a complete answer or a clear one, or sees that something is missing.

use std::{sync::atomic::Ordering, time::Duration};

use dispatcher_user::{
    core::model::{LimitsSpec, LostBackend},
    qos::settings::WindowSettings,
};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;

use crate::{
    browser::{Browser, bytes, empty},
    run,
    stage::{Script, Stage, Stands},
    until,
};

#[test]
fn an_answer_that_breaks_off_is_never_taken_for_a_whole_one() {
    run(async {
        for alpn in [&["h2"][..], &["http/1.1"]] {
            let stage = Stage::set(Script { alpn, ..Script::default() }).await;
            for is_http2 in [false, true] {
                for size in [400_000, 4_000_000] {
                    let browser = Browser::new(&stage, is_http2);
                    let (mut connection, _) = browser.open().await;
                    let request = browser.request(Method::GET, &format!("/broken/{size}"), empty());
                    match connection.send(request).await {
                        Ok(response) if response.status() == StatusCode::OK => {
                            response.into_body().collect().await.unwrap_err();
                        }
                        // It broke off before a byte had gone out.
                        Ok(response) => assert_eq!(response.status(), StatusCode::BAD_GATEWAY),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    });
}

#[test]
fn a_killed_backend_s_sessions_are_redispatched_and_stay_where_they_are_then() {
    run(async {
        let stage = Stage::set(Script::default()).await;
        let mut browsers: Vec<(Browser, String)> = Vec::new();
        for client in 0..12 {
            let mut browser = Browser::new(&stage, client % 2 == 0);
            let home = browser.get("/cart/add/x").await.backend().to_owned();
            browsers.push((browser, home));
        }
        let (dead, id) = ("b1", 1);
        stage.backend(dead).kill();
        stage.set_backend(id, Stands::Gone);
        for (browser, home) in &mut browsers {
            let answer = browser.get("/cart").await;
            assert_eq!(answer.status, StatusCode::OK);
            if home == dead {
                assert_ne!(answer.backend(), dead);
                assert_eq!(browser.get("/cart").await.backend(), answer.backend());
            } else {
                assert_eq!((answer.backend(), answer.text()), (home.as_str(), "x"));
            }
        }
        let moved = browsers.iter().filter(|(_, home)| home == dead).count() as u64;
        assert!(moved > 0);
        assert_eq!(stage.service.counters.redispatched.value(), moved);
        // It comes back, and nobody goes back to it.
        stage.set_backend(id, Stands::Ready);
        for (browser, home) in &mut browsers {
            if home == dead {
                assert_ne!(browser.get("/cart").await.backend(), dead);
            }
        }
    });
}

#[test]
fn a_strict_service_gives_a_lost_session_no_other_backend() {
    run(async {
        let stage = Stage::set(Script { lost: LostBackend::Strict, ..Script::default() }).await;
        let mut browser = Browser::new(&stage, true);
        let home = browser.get("/cart/add/x").await.backend().to_owned();
        let id: u16 = home[1..].parse().unwrap();
        stage.set_backend(id, Stands::Gone);
        let answer = browser.get("/cart").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers.contains_key("retry-after") && answer.text().contains("the session's backend"));
        stage.set_backend(id, Stands::Ready);
        assert_eq!(browser.get("/cart").await.text(), "x");
        assert_eq!(stage.service.counters.lost.value(), 1);
    });
}

#[test]
fn a_draining_backend_keeps_its_sessions_and_gets_no_new_ones() {
    run(async {
        let stage = Stage::set(Script::default()).await;
        let mut browser = Browser::new(&stage, true);
        let home = browser.get("/cart/add/x").await.backend().to_owned();
        stage.set_backend(home[1..].parse().unwrap(), Stands::Draining);
        for client in 0..10 {
            assert_eq!(browser.get("/cart").await.text(), "x");
            assert_ne!(Browser::new(&stage, client % 2 == 0).get("/cart").await.backend(), home);
        }
    });
}

#[test]
fn nobody_gets_an_error_while_a_backend_dies_under_load() {
    run(async {
        let stage = Stage::set(Script::default()).await;
        let mut clients = JoinSet::new();
        for client in 0..16 {
            let mut browser = Browser::new(&stage, client % 2 == 0);
            clients.spawn(async move {
                for _ in 0..30 {
                    let answer = browser.get("/bytes/2000").await;
                    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 2000), "{answer:?}");
                }
            });
        }
        until("load", || stage.backend("b0").seen.requests.load(Ordering::SeqCst) > 20).await;
        // Nobody has told the balancer yet: retries alone carry it.
        stage.backend("b0").kill();
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        assert!(stage.service.counters.retried.value() > 0);
    });
}

#[test]
fn tunnels_that_are_cut_cost_nobody_an_error() {
    run(async {
        for alpn in [&["h2"][..], &["http/1.1"]] {
            let stage = Stage::set(Script { alpn, ..Script::default() }).await;
            let mut clients = JoinSet::new();
            for client in 0..8 {
                let mut browser = Browser::new(&stage, client % 2 == 0);
                clients.spawn(async move {
                    for _ in 0..40 {
                        let answer = browser.get("/cart").await;
                        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                    }
                });
            }
            let seen =
                || stage.backends.iter().map(|backend| backend.seen.requests.load(Ordering::SeqCst)).sum::<usize>();
            for (count, backend) in (1..).zip(stage.backends.iter().cycle().take(6)) {
                until("more load", || seen() > count * 40).await;
                backend.cut();
            }
            while let Some(client) = clients.join_next().await {
                client.unwrap();
            }
        }
    });
}

#[test]
fn what_may_have_been_carried_out_is_not_sent_twice() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        let seen = &stage.backends[0].seen;
        let mut browser = Browser::new(&stage, true);
        let answer = browser.post("/reset", bytes("order")).await.unwrap();
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert_eq!(seen.requests.load(Ordering::SeqCst), 1);
        let answer = browser.get("/reset").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert_eq!(seen.requests.load(Ordering::SeqCst), 1 + 2, "once more, and there is no other backend");
    });
}

#[test]
fn a_request_that_its_backend_ends_moves_no_session() {
    run(async {
        let stage = Stage::set(Script { alpn: &["h2"], ..Script::default() }).await;
        let mut browser = Browser::new(&stage, true);
        let home = browser.get("/cart/add/x").await.backend().to_owned();
        assert_eq!(browser.get("/reset").await.status, StatusCode::BAD_GATEWAY);
        let seen = |name: &str| stage.backend(name).seen.requests.load(Ordering::SeqCst);
        let elsewhere: usize = ["b0", "b1", "b2"].iter().filter(|name| **name != home).map(|name| seen(name)).sum();
        assert_eq!((seen(&home), elsewhere), (1 + 2, 0));
        assert_eq!(browser.get("/cart").await.text(), "x");
        assert_eq!(stage.service.counters.redispatched.value(), 0);
    });
}

#[test]
fn without_a_backend_the_answer_says_so_and_when_to_come_back() {
    run(async {
        let stage = Stage::set(Script { backends: 1, ..Script::default() }).await;
        stage.set_backend(0, Stands::Gone);
        for is_http2 in [false, true] {
            let answer = Browser::new(&stage, is_http2).get("/").await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.headers["retry-after"], "2");
            assert_eq!(answer.text(), "503 Service Unavailable: no backend is ready\n");
        }
        assert_eq!(stage.service.counters.no_backend.value(), 2);
    });
}

#[test]
fn an_answer_that_does_not_begin_in_time_is_given_up() {
    run(async {
        let limits = LimitsSpec { response_time: Duration::from_millis(200), ..LimitsSpec::default() };
        for alpn in [&["h2"][..], &["http/1.1"]] {
            let stage = Stage::set(Script { alpn, limits, backends: 1, ..Script::default() }).await;
            let mut browser = Browser::new(&stage, true);
            let answer = browser.get("/hang").await;
            assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(stage.service.counters.late.value(), 1);
            // The backend is not worse for it.
            assert_eq!(browser.get("/").await.status, StatusCode::OK);
        }
    });
}

#[test]
fn who_waits_too_long_for_his_turn_is_told_to_come_back() {
    run(async {
        let script = Script {
            backends: 1,
            window: WindowSettings::Fixed(1),
            queue_timeout: Duration::from_millis(100),
            ..Script::default()
        };
        let stage = Stage::set(script).await;
        let seen = &stage.backends[0].seen;
        let mut first = Browser::new(&stage, true);
        let waiting = tokio::spawn(async move { first.get("/wait").await });
        until("the first request", || seen.requests.load(Ordering::SeqCst) == 1).await;
        let answer = Browser::new(&stage, true).get("/").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers.contains_key("retry-after"));
        seen.go_on.add_permits(1);
        assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
        assert_eq!(Browser::new(&stage, true).get("/").await.status, StatusCode::OK);
        assert_eq!(stage.service.counters.shed.value(), 1);
    });
}

#[test]
fn a_client_that_leaves_takes_its_request_with_it() {
    run(async {
        let stage = Stage::set(Script { backends: 1, alpn: &["h2"], ..Script::default() }).await;
        let seen = &stage.backends[0].seen;
        for (count, is_http2) in [(1, false), (2, true)] {
            let browser = Browser::new(&stage, is_http2);
            let (mut connection, _) = browser.open().await;
            let request = browser.request(Method::GET, "/hang", empty());
            let asking = tokio::spawn(async move { connection.send(request).await.map(drop) });
            until("the request", || seen.requests.load(Ordering::SeqCst) == count).await;
            asking.abort();
            until("the request's end", || seen.dropped.load(Ordering::SeqCst) == count).await;
        }
        until("the count", || stage.service.counters.client_gone.value() == 2).await;
    });
}
