//! Cookies that say nothing: who brings one is a customer like any other without a session, and nobody else's.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{
    addresses::{VIP4, VIP6},
    config::SHOP_PORT,
    demo_backend::HTTPS_PORT,
    wait_until,
};
use dispatcher_tests::{
    Stage,
    customer::{self, Customer, Memory, Version},
    shop,
    stage::SOON,
};
use serde_json::Value;
use std::{fs, net::SocketAddr};
use tokio::runtime::Runtime;

struct Shop {
    stage: Stage,
    place: Runtime,
}

impl Shop {
    fn open(stage: Stage) -> Self {
        let place = customer::place(stage.client());
        Self { stage, place }
    }

    /// A customer with this cookie and no other memory.
    fn customer(&self, to: SocketAddr, cookie: Option<&str>) -> Customer {
        let mut customer = Customer::new(self.stage.lab.certificates(), to, Version::Http2, Memory::Cookie);
        customer.cookie = cookie.map(str::to_owned);
        customer
    }

    /// The session and the items that a path of carts answers with.
    fn cart(&self, customer: &mut Customer, path: &str) -> (String, Vec<String>) {
        let answer = customer.get_in(&self.place, path);
        assert_eq!(answer.status, 200, "{answer:?}");
        let cart: Value = serde_json::from_slice(&answer.body).unwrap();
        (cart["session"].as_str().unwrap().to_owned(), serde_json::from_value(cart["items"].clone()).unwrap())
    }

    /// Asserts that a cookie counts as none: an empty cart, a session that is nobody's yet, and a cookie of its own.
    fn assert_none(&self, to: SocketAddr, cookie: &str, owner: &str) {
        let mut stranger = self.customer(to, Some(cookie));
        let (session, items) = self.cart(&mut stranger, "/cart");
        assert_ne!(session, owner, "{cookie:?}");
        assert!(items.is_empty(), "{cookie:?}: {items:?}");
        let given = stranger.cookie.clone().unwrap();
        assert_ne!(given, cookie, "a good one was given");
        assert_eq!(self.cart(&mut self.customer(to, Some(&given)), "/cart").0, session, "{cookie:?}");
    }
}

/// The cookie with one letter changed.
fn changed(cookie: &str, at: usize) -> String {
    let mut letters = cookie.as_bytes().to_vec();
    letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(letters).unwrap()
}

#[test]
fn forged_truncated_and_foreign_cookies_count_as_none() {
    let Some(stage) = Stage::start_with_shop("sck") else { return };
    let shop = Shop::open(stage);
    let to: SocketAddr = (VIP4, SHOP_PORT).into();
    let mut owner = shop.customer(to, None);
    let (session, _) = shop.cart(&mut owner, "/cart/add/book");
    let good = owner.cookie.clone().unwrap();
    let (_, items) = shop.cart(&mut shop.customer(to, Some(&good)), "/cart");
    assert_eq!(items, ["book"], "whoever brings the cookie has the cart");

    // Version, secret, nonce, claims and tag are all among these.
    for at in (0..good.len()).step_by(3) {
        shop.assert_none(to, &changed(&good, at), &session);
    }
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        shop.assert_none(to, &good[..length], &session);
    }
    for other in [format!("{good}A"), "A".repeat(good.len()), "x".repeat(4000), session.clone()] {
        shop.assert_none(to, &other, &session);
    }
    // The cookie of a service says nothing at another, though the same secret sealed it.
    let mut elsewhere = shop.customer((VIP6, SHOP_PORT).into(), None);
    let (foreign, _) = shop.cart(&mut elsewhere, "/cart/add/pen");
    shop.assert_none(to, elsewhere.cookie.as_ref().unwrap(), &foreign);
    shop.assert_none((VIP6, SHOP_PORT).into(), &good, &session);
    // A planted one in front of the good one does no harm.
    let mut planted = shop.customer(to, Some(&format!("planted; __Host-sid={good}")));
    assert_eq!(shop.cart(&mut planted, "/cart"), (session, vec!["book".to_owned()]));
}

#[test]
fn cookies_of_secrets_that_are_gone_count_as_none() {
    let Some(stage) = Stage::start_with_shop("scg") else { return };
    let mut shop = Shop::open(stage);
    let to: SocketAddr = (VIP4, SHOP_PORT).into();
    let mut owner = shop.customer(to, None);
    let (session, _) = shop.cart(&mut owner, "/cart/add/book");
    shop.stage.lab.daemon().process().end().unwrap();
    let keys = shop.stage.lab.directory().keys();
    let kept = fs::read(&keys).unwrap();
    fs::remove_file(&keys).unwrap();
    shop.stage.lab.start_dispatcher().unwrap();
    shop.stage.wait_until_available();
    let good = owner.cookie.clone().unwrap();
    shop.assert_none(to, &good, &session);
    // It was the secret, and nothing else.
    shop.stage.lab.daemon().process().end().unwrap();
    fs::write(&keys, kept).unwrap();
    shop.stage.lab.start_dispatcher().unwrap();
    shop.stage.wait_until_available();
    assert_eq!(shop.cart(&mut owner, "/cart"), (session, vec!["book".to_owned()]));
}

#[test]
fn cookie_that_is_brought_after_its_time_counts_as_none() {
    let Some(mut stage) = Stage::start_with_shop("sce") else { return };
    let settings = "session = { idle = \"3s\", lifetime = \"3s\" }";
    let section = shop::section(stage.lab.certificates(), "brief", 9443, HTTPS_PORT, settings);
    stage.lab.configure(&section);
    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    let mut shop = Shop::open(stage);
    let to: SocketAddr = (VIP4, 9443).into();
    let mut owner = shop.customer(to, None);
    let (session, _) = shop.cart(&mut owner, "/cart/add/book");
    let old = owner.cookie.clone().unwrap();
    assert_eq!(shop.cart(&mut shop.customer(to, Some(&old)), "/cart"), (session.clone(), vec!["book".to_owned()]));
    wait_until("the session's end", SOON, || shop.stage.items(&["session", "list", "--service", "brief"]).is_empty())
        .unwrap();
    // The table forgets a session at its time, to the nanosecond; a cookie tells seconds.
    wait_until("the cookie's end", SOON, || shop.cart(&mut shop.customer(to, Some(&old)), "/cart").0 != session)
        .unwrap();
    shop.assert_none(to, &old, &session);
}
