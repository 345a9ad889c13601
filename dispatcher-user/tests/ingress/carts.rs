//! A session's requests reach the backend that has its cart, however they come.

use dispatcher_user::core::model::{Affinity, SecureRule};
use rustls::version::{TLS12, TLS13};
use tokio::task::JoinSet;

use crate::{
    browser::Browser,
    run,
    stage::{Script, Stage},
};

/// `/cart/**` alone is secure.
fn cart_rule() -> Vec<SecureRule> {
    ["/cart", "/cart/**"].map(|path| SecureRule { path: Some(path.parse().unwrap()), ..SecureRule::default() }).to_vec()
}

/// Puts items into a cart, over a new connection each time, with other requests between; then looks at it.
async fn shop(mut browser: Browser, items: usize) {
    let mut wanted = Vec::new();
    for item in 0..items {
        wanted.push(format!("item{item}"));
        let answer = browser.get(&format!("/cart/add/item{item}")).await;
        assert_eq!(answer.text(), wanted.join(","), "at {}", answer.backend());
        browser.get("/browse").await;
    }
    assert_eq!(browser.get("/cart").await.text(), wanted.join(","));
}

#[test]
fn a_cart_stays_whole_over_new_connections_with_a_cookie() {
    run(async {
        let stage = Stage::set(Script { rules: cart_rule(), ..Script::default() }).await;
        let mut clients = JoinSet::new();
        for client in 0..24 {
            clients.spawn(shop(Browser::new(&stage, client % 2 == 0), 5));
        }
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        let seen: Vec<usize> = stage
            .backends
            .iter()
            .map(|backend| backend.seen.requests.load(std::sync::atomic::Ordering::SeqCst))
            .collect();
        assert!(seen.iter().all(|count| *count > 20), "the load is spread: {seen:?}");
    });
}

#[test]
fn a_cart_stays_whole_by_tls_resumption_without_cookies() {
    run(async {
        let stage = Stage::set(Script { rules: cart_rule(), ..Script::default() }).await;
        for version in [&TLS13, &TLS12] {
            for is_http2 in [false, true] {
                let mut browser = Browser::of(&stage, is_http2, false, &[version]);
                assert!(!browser.get("/browse").await.is_resumed);
                for round in 1..4 {
                    let answer = browser.get("/cart/add/x").await;
                    assert!(answer.is_resumed, "{version:?}");
                    assert_eq!(answer.text().split(',').count(), round, "{version:?}");
                }
                shop(Browser::of(&stage, is_http2, false, &[version]), 3).await;
            }
        }
        assert_eq!(stage.service.cookie_counters.counts().valid, 0);
    });
}

#[test]
fn a_cart_stays_whole_by_a_header_that_names_the_session() {
    run(async {
        let stage = Stage::set(Script { header: Some("x-basket"), ..Script::default() }).await;
        for round in 1..=6 {
            let mut browser = Browser::of(&stage, round % 2 == 0, false, &[&TLS13]);
            let mut request = browser.request(http::Method::GET, "/cart/add/x", crate::browser::empty());
            request.headers_mut().insert("x-basket", "basket-7".parse().unwrap());
            let answer = browser.ask(request).await.unwrap();
            assert_eq!(answer.text().split(',').count(), round);
            assert!(!answer.headers.contains_key("set-cookie"), "such a client has no use for one");
        }
    });
}

#[test]
fn what_is_not_secure_is_balanced_request_by_request() {
    run(async {
        let stage = Stage::set(Script { rules: cart_rule(), ..Script::default() }).await;
        let mut browser = Browser::new(&stage, true);
        let home = browser.get("/cart/add/x").await.backend().to_owned();
        let mut away = 0;
        for _ in 0..20 {
            away += usize::from(browser.get("/browse").await.backend() != home);
        }
        assert!(away > 0, "every request went to {home}");
        assert_eq!(browser.get("/cart").await.backend(), home);
    });
}

#[test]
fn a_cookie_alone_leads_back_without_a_row_in_the_table() {
    run(async {
        let script = Script { rules: cart_rule(), affinity: Affinity::Cookie, ..Script::default() };
        let stage = Stage::set(script).await;
        let mut browser = Browser::new(&stage, true);
        let home = browser.get("/browse").await.backend().to_owned();
        for _ in 0..10 {
            assert_eq!(browser.get("/browse").await.backend(), home);
        }
        assert!(stage.service.sessions.is_empty());
        // What is secure begins where the cookie leads.
        assert_eq!(browser.get("/cart/add/x").await.backend(), home);
        assert_eq!(stage.service.sessions.len(), 1);
    });
}

#[test]
fn with_affinity_session_every_request_follows() {
    run(async {
        let script = Script { rules: cart_rule(), affinity: Affinity::Session, ..Script::default() };
        let stage = Stage::set(script).await;
        let mut browser = Browser::new(&stage, false);
        let home = browser.get("/browse").await.backend().to_owned();
        for _ in 0..10 {
            assert_eq!(browser.get("/browse").await.backend(), home);
        }
        assert_eq!(stage.service.sessions.len(), 1);
    });
}

#[test]
fn a_table_that_was_lost_is_made_again_from_cookies() {
    run(async {
        let stage = Stage::set(Script::default()).await;
        let mut browsers: Vec<Browser> = (0..12).map(|client| Browser::new(&stage, client % 2 == 0)).collect();
        for browser in &mut browsers {
            browser.get("/cart/add/before").await;
        }
        let (rows, _) = stage.service.sessions.list(100, |_| true);
        assert_eq!(rows.len(), 12);
        for (id, _) in rows {
            assert!(stage.service.sessions.remove(id));
        }
        for browser in &mut browsers {
            assert_eq!(browser.get("/cart").await.text(), "before");
        }
    });
}

#[test]
fn cookies_that_are_not_ours_are_as_good_as_none() {
    run(async {
        let stage = Stage::set(Script::default()).await;
        let mut browser = Browser::new(&stage, true);
        browser.get("/cart/add/x").await;
        let good = browser.cookie.clone().unwrap();
        let half = good[..good.len() / 2].to_owned();
        let mut changed = good.clone().into_bytes();
        let last = changed.len() - 10;
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        for bad in [half, String::from_utf8(changed).unwrap(), "x".repeat(4000), String::new()] {
            let mut stranger = Browser::new(&stage, true);
            stranger.cookie = Some(bad.clone());
            let answer = stranger.get("/cart").await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, ""), "{bad:?}");
            assert_ne!(stranger.cookie, Some(bad), "a new one was given");
        }
        let counts = stage.service.cookie_counters.counts();
        assert_eq!((counts.malformed, counts.forged), (3, 1), "{counts:?}");
        // A good one beside a bad one counts.
        let mut planted = Browser::new(&stage, true);
        planted.cookie = Some(format!("planted; __Host-sid={good}"));
        assert_eq!(planted.get("/cart").await.text(), "x");
    });
}

#[test]
fn a_proxy_s_connection_says_nothing_on_whose_request_it_is() {
    run(async {
        let stage = Stage::set(Script::default()).await;
        let browser = Browser::of(&stage, true, false, &[&TLS13]);
        let (mut connection, _) = browser.open().await;
        let mut carts = Vec::new();
        for _ in 0..4 {
            let mut request = browser.request(http::Method::GET, "/cart/add/x", crate::browser::empty());
            request.headers_mut().insert("via", "1.1 proxy".parse().unwrap());
            let response = connection.send(request).await.unwrap();
            carts.push(crate::browser::whole(response, false).await.unwrap().text().to_owned());
        }
        assert_eq!(carts, ["x"; 4], "four users of a proxy share no cart");
        for round in 1..4 {
            let request = browser.request(http::Method::GET, "/cart/add/x", crate::browser::empty());
            let response = connection.send(request).await.unwrap();
            let answer = crate::browser::whole(response, false).await.unwrap();
            assert_eq!(answer.text().split(',').count(), round, "a client's own connection does");
        }
    });
}
