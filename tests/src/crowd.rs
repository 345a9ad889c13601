//! Customers who fill their carts, all at the same time, and notice everything that should not be.
//!
//! The demo backends keep carts in their own memory. A customer who is led to another one finds a cart without his items,
//! so that a session that is lost cannot go unseen.

use crate::{
    customer::{self, Answer, Customer, Fault, Memory, Version},
    stage::Stage,
};
use dispatcher_lab::{addresses::VIP4, config::SHOP_PORT, wait_until};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Runtime,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// The longest that a crowd may take to do what it has to, on any machine.
const LONGEST: Duration = Duration::from_secs(240);
/// How long a customer waits before he knocks again.
const PAUSE: Duration = Duration::from_millis(50);
/// A demo backend has room for a hundred.
const MOST_ITEMS: usize = 90;
/// Bytes of what customers look at.
const PICTURE: usize = 20_000;

/// A crowd that shops.
#[derive(Debug)]
pub struct Crowd {
    runtime: Runtime,
    shopping: Vec<JoinHandle<Receipt>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whole answers so far.
    answers: AtomicU64,
    /// Set when the customers are to finish.
    is_closing: AtomicBool,
}

/// What a customer has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The session; there is but one.
    pub session: String,
    /// The backend that had the cart last.
    pub home: String,
    /// Items that are in it.
    pub items: usize,
    /// Whole answers, refusals included.
    pub answers: u64,
    /// Those of them on a TLS connection that resumed an earlier one.
    pub resumed: u64,
    /// From where to where the session was moved.
    pub moves: Vec<(String, String)>,
    /// Answers that were a refusal, 502 or 503, and their words.
    pub refusals: Vec<String>,
    /// Requests without a whole answer.
    pub broken: Vec<String>,
    /// Connections that were not to be had.
    pub not_asked: Vec<String>,
}

/// A cart, as a demo backend shows it.
#[derive(Debug, Deserialize)]
struct Cart {
    backend: String,
    session: String,
    items: Vec<String>,
}

impl Crowd {
    /// Lets so many customers in, one half over HTTP/1.1 and one over HTTP/2.
    ///
    /// # Panics
    /// When the client's namespace cannot be entered.
    #[must_use]
    pub fn enter(stage: &Stage, customers: usize, memory: Memory) -> Self {
        let runtime = customer::place(stage.client());
        let shared = Arc::new(Shared::default());
        let shop = |number: usize| {
            let version = if number.is_multiple_of(2) { Version::Http1 } else { Version::Http2 };
            let to = (VIP4, SHOP_PORT).into();
            let customer = Customer::new(stage.lab.certificates(), to, version, memory);
            runtime.spawn(Shopper::new(customer, &shared).shop())
        };
        let shopping = (0..customers).map(shop).collect();
        Self { runtime, shopping, shared }
    }

    /// Waits until every customer has had about so many answers more.
    ///
    /// # Panics
    /// When they do not get them.
    pub fn wait_for_answers(&self, each: usize) {
        let answers = || self.shared.answers.load(Ordering::Relaxed);
        let wanted = answers() + u64::try_from(each * self.shopping.len()).unwrap();
        wait_until("answers", LONGEST, || {
            assert!(!self.shopping.iter().any(JoinHandle::is_finished), "a customer has given up; see above");
            answers() >= wanted
        })
        .unwrap_or_else(|error| panic!("{error}: {} of {wanted}", answers()));
    }

    /// Lets every customer look at his cart a last time and leave.
    ///
    /// # Panics
    /// When a cart is not what was put in, or an answer not what it should be.
    #[must_use]
    pub fn leave(self) -> Vec<Receipt> {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        let shopping = self.shopping;
        let all = async {
            let mut receipts = Vec::new();
            for customer in shopping {
                receipts.push(customer.await.unwrap_or_else(|error| panic::resume_unwind(error.into_panic())));
            }
            receipts
        };
        self.runtime.block_on(async { timeout(LONGEST, all).await.unwrap() })
    }
}

/// Asserts that nobody has seen anything but whole answers, from one and the same backend.
///
/// # Panics
/// When somebody has.
pub fn assert_undisturbed(receipts: &[Receipt]) {
    for receipt in receipts {
        let Receipt { moves, refusals, broken, not_asked, .. } = receipt;
        let is_fine = moves.is_empty() && refusals.is_empty() && broken.is_empty() && not_asked.is_empty();
        assert!(is_fine, "{receipt:?}");
    }
}

/// How many customers have their cart at each backend.
#[must_use]
pub fn homes(receipts: &[Receipt]) -> BTreeMap<&str, usize> {
    let mut homes = BTreeMap::new();
    for receipt in receipts {
        *homes.entry(receipt.home.as_str()).or_default() += 1;
    }
    homes
}

/// A customer at work.
struct Shopper {
    customer: Customer,
    shared: Arc<Shared>,
    items: Vec<String>,
    receipt: Receipt,
}

impl Shopper {
    fn new(customer: Customer, shared: &Arc<Shared>) -> Self {
        Self { customer, shared: Arc::clone(shared), items: Vec::new(), receipt: Receipt::default() }
    }

    async fn shop(mut self) -> Receipt {
        let mut number = 0;
        while number == 0 || !self.shared.is_closing.load(Ordering::Relaxed) {
            number += 1;
            if self.items.len() < MOST_ITEMS {
                self.put(&format!("item-{number}")).await;
            }
            self.browse(number).await;
        }
        self.look().await;
        self.receipt.items = self.items.len();
        self.receipt
    }

    /// Puts an item into the cart, once and not twice, whatever happens on the way.
    async fn put(&mut self, item: &str) {
        loop {
            if let Some(answer) = self.ask(&format!("/cart/add/{item}")).await {
                self.compare(&answer, Some(item));
                return;
            }
            // Whether it is in the cart, the cart knows.
            if self.look_for(item).await {
                return;
            }
        }
    }

    /// Looks at the cart until it is there to be looked at.
    async fn look(&mut self) {
        self.look_for("").await;
    }

    /// The same, when an item may be in it or not; true if it is.
    async fn look_for(&mut self, item: &str) -> bool {
        loop {
            if let Some(answer) = self.ask("/cart").await {
                let is_there = cart(&answer).items.last().is_some_and(|last| last == item);
                self.compare(&answer, is_there.then_some(item));
                return is_there;
            }
        }
    }

    /// Looks at something that belongs to nobody, wherever it is.
    async fn browse(&mut self, number: usize) {
        let is_picture = number.is_multiple_of(2);
        let path = if is_picture { format!("/bytes/{PICTURE}") } else { "/".to_owned() };
        if let Some(answer) = self.ask(&path).await {
            let is_whole = if is_picture { answer.body.len() == PICTURE } else { answer.body.ends_with(b"}\n") };
            assert!(is_whole, "{path}: {answer:?}");
        }
    }

    /// Asks until there is a connection; nothing if there was no answer then, or a refusal.
    async fn ask(&mut self, path: &str) -> Option<Answer> {
        loop {
            match self.customer.get(path).await {
                Ok(answer) => {
                    self.shared.answers.fetch_add(1, Ordering::Relaxed);
                    self.receipt.answers += 1;
                    self.receipt.resumed += u64::from(answer.is_resumed);
                    if answer.status == 200 {
                        return Some(answer);
                    }
                    assert_is_clear(path, &answer);
                    self.receipt.refusals.push(format!(
                        "{} {}",
                        answer.status,
                        String::from_utf8_lossy(&answer.body).trim()
                    ));
                    sleep(PAUSE).await;
                    return None;
                }
                Err(Fault::Broken(why)) => {
                    self.receipt.broken.push(why);
                    return None;
                }
                Err(Fault::NotAsked(why)) => self.receipt.not_asked.push(why),
            }
            sleep(PAUSE).await;
        }
    }

    /// Compares a cart with what was put in. Where the session has moved there is nothing yet.
    fn compare(&mut self, answer: &Answer, added: Option<&str>) {
        let cart = cart(answer);
        let Receipt { session, home, moves, answers, .. } = &mut self.receipt;
        if session.is_empty() {
            (*session, *home) = (cart.session.clone(), cart.backend.clone());
        }
        assert_eq!(cart.session, *session, "another session after {answers} answers");
        if cart.backend != *home {
            moves.push((home.clone(), cart.backend.clone()));
            home.clone_from(&cart.backend);
            self.items.clear();
        }
        self.items.extend(added.map(str::to_owned));
        assert_eq!(cart.items, self.items, "the cart at {} after {moves:?}", cart.backend);
    }
}

fn cart(answer: &Answer) -> Cart {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// A refusal says what is wrong, and when to come again if that is known.
fn assert_is_clear(path: &str, answer: &Answer) {
    let is_clear = match answer.status.as_u16() {
        502 => !answer.body.is_empty(),
        503 => !answer.body.is_empty() && answer.headers.contains_key("retry-after"),
        _ => false,
    };
    assert!(is_clear, "{path}: {answer:?}");
}
