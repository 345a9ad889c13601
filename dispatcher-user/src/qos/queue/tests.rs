//! Clients take turns, the newest goes first where that is wanted, and who holds most pays for the room.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use proptest::prelude::*;

use super::*;
use crate::qos::{
    request::{Ask, Request},
    settings::{ClassId, MAX_COST},
};

/// All requests here are from long ago.
const NEWEST_FIRST: Order = Order::NewestFirst { long_ago_ns: 0 };

/// A queue with its requests, each of which carries its number.
struct Bench {
    requests: Requests<u32>,
    queue: Queue,
    order: Order,
    count: u32,
}

impl Bench {
    fn new(order: Order) -> Self {
        Self { requests: Requests::new(), queue: Queue::new(), order, count: 0 }
    }

    fn push_sized(&mut self, client: u64, cost: u32, bytes: u64) -> Key {
        let ask = Ask { cost, bytes, ..Ask::new(ClassId(0), client) };
        let key = self.requests.insert(Request::new(0, &ask, self.count));
        self.count += 1;
        self.queue.push(&mut self.requests, key, self.order);
        key
    }

    fn push(&mut self, client: u64) -> Key {
        self.push_sized(client, 1, 0)
    }

    fn pop(&mut self) -> Option<Request<u32>> {
        let key = self.queue.pop(&mut self.requests, self.order)?;
        self.requests.remove(key)
    }

    fn pop_numbers(&mut self, count: usize) -> Vec<u32> {
        (0..count).map_while(|_| self.pop()).map(|request| request.payload).collect()
    }

    fn remove(&mut self, key: Key) {
        self.queue.remove(&mut self.requests, key);
        self.requests.remove(key);
    }

    /// Whose request is crowding.
    fn crowding(&self) -> Option<(u64, u32)> {
        let request = self.requests.find(self.queue.crowding()?).unwrap();
        Some((request.client, request.payload))
    }
}

#[test]
fn clients_take_turns_and_each_is_served_in_order() {
    let mut bench = Bench::new(Order::OldestFirst);
    for client in [1, 1, 1, 2, 2, 3] {
        bench.push(client);
    }
    assert_eq!(bench.pop_numbers(10), [0, 3, 5, 1, 4, 2]);
    assert_eq!((bench.queue.len(), bench.queue.clients(), bench.queue.bytes()), (0, 0, 0));
}

#[test]
fn a_client_that_comes_late_waits_for_one_turn_of_each_other() {
    let mut bench = Bench::new(Order::OldestFirst);
    for number in 0..40 {
        bench.push(number % 2);
    }
    bench.pop_numbers(5);
    bench.push(9);
    assert_eq!(bench.pop_numbers(2).last(), Some(&40));
}

#[test]
fn in_a_standing_queue_the_newest_request_goes_first() {
    let mut bench = Bench::new(NEWEST_FIRST);
    for client in 0..5 {
        bench.push(client);
    }
    assert_eq!(bench.pop_numbers(2), [4, 3]);
    bench.push(7);
    assert_eq!(bench.pop_numbers(10), [5, 2, 1, 0]);
}

#[test]
fn in_a_standing_queue_clients_still_take_turns() {
    let mut bench = Bench::new(NEWEST_FIRST);
    for _ in 0..10 {
        bench.push(1);
    }
    bench.push(2);
    bench.push(1);
    // Client 1 had the newest request, client 2 has its turn before the next one of client 1.
    assert_eq!(bench.pop_numbers(4), [11, 10, 9, 8]);
}

#[test]
fn in_a_standing_queue_a_client_whose_own_requests_are_new_keeps_their_order() {
    let mut bench = Bench::new(NEWEST_FIRST);
    bench.push(1);
    bench.push(1);
    for number in [2, 3] {
        let ask = Ask::new(ClassId(0), 2);
        let key = bench.requests.insert(Request::new(5, &ask, number));
        bench.queue.push(&mut bench.requests, key, NEWEST_FIRST);
    }
    assert_eq!(bench.pop_numbers(4), [2, 1, 3, 0]);
}

#[test]
fn clients_that_come_once_do_not_shut_out_one_that_had_its_turn() {
    let mut bench = Bench::new(NEWEST_FIRST);
    let (regular, mut served) = (1, 0);
    for stranger in 0..100 {
        bench.push(100 + stranger);
    }
    // It always has more waiting, so it keeps its place among those that were served.
    bench.push(regular);
    for round in 0_u64..2000 {
        // More come than can be served, so the round would never end by itself.
        for stranger in 0..3 {
            bench.push(1000 + round * 3 + stranger);
        }
        bench.push(regular);
        served += u32::from(bench.pop().unwrap().client == regular);
    }
    // A fair share among thousands of clients is small, but not nothing.
    assert!(served >= 3, "{served}");
}

#[test]
fn a_request_that_cost_more_than_a_turn_is_paid_with_turns() {
    let mut bench = Bench::new(Order::OldestFirst);
    for _ in 0..4 {
        bench.push_sized(1, 3, 0);
    }
    for _ in 0..9 {
        bench.push(2);
    }
    let clients: Vec<u64> = (0..8).map(|_| bench.pop().unwrap().client).collect();
    assert_eq!(clients, [1, 2, 2, 2, 1, 2, 2, 2]);
}

#[test]
fn whoever_holds_most_loses_its_oldest_request() {
    let mut bench = Bench::new(Order::OldestFirst);
    assert_eq!(bench.crowding(), None);
    bench.push(1);
    let greedy: Vec<Key> = (0..8).map(|_| bench.push(2)).collect();
    bench.push(3);
    assert_eq!(bench.crowding(), Some((2, 1)));
    bench.push_sized(3, 1, 1 << 20);
    assert_eq!(bench.crowding(), Some((3, 9)), "bytes count");
    for &key in &greedy[..7] {
        bench.remove(key);
    }
    bench.pop_numbers(2);
    assert_eq!(bench.crowding().map(|(client, _)| client), Some(3));
}

#[derive(Clone, Debug)]
enum Step {
    Push { client: u64, cost: u32, bytes: u64 },
    Pop,
    Remove(usize),
    Turn,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u64..6, 1..=MAX_COST, 0_u64..5000).prop_map(|(client, cost, bytes)| Step::Push { client, cost, bytes }),
        3 => Just(Step::Pop),
        1 => any::<usize>().prop_map(Step::Remove),
        1 => Just(Step::Turn),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever happens in whatever order, no request is lost or comes twice, and what is held is known exactly.
    #[test]
    fn every_request_comes_out_once(steps in steps()) {
        let mut bench = Bench::new(Order::OldestFirst);
        let mut waiting: Vec<(Key, u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Push { client, cost, bytes } => waiting.push((bench.push_sized(client, cost, bytes), client, bytes)),
                Step::Pop => {
                    let popped = bench.queue.pop(&mut bench.requests, bench.order);
                    prop_assert_eq!(popped.is_none(), waiting.is_empty());
                    if let Some(key) = popped {
                        let before = waiting.len();
                        waiting.retain(|&(waits, _, _)| waits != key);
                        prop_assert_eq!(waiting.len() + 1, before);
                        bench.requests.remove(key);
                    }
                }
                Step::Remove(at) if !waiting.is_empty() => {
                    let (key, _, _) = waiting.remove(at % waiting.len());
                    bench.remove(key);
                }
                Step::Remove(_) => {}
                Step::Turn => {
                    bench.order = if bench.order == Order::OldestFirst { NEWEST_FIRST } else { Order::OldestFirst };
                }
            }
            prop_assert_eq!(bench.queue.len() as usize, waiting.len());
            prop_assert_eq!(bench.queue.bytes(), waiting.iter().map(|&(_, _, bytes)| bytes).sum::<u64>());
            let mut clients: Vec<u64> = waiting.iter().map(|&(_, client, _)| client).collect();
            clients.sort_unstable();
            clients.dedup();
            prop_assert_eq!(bench.queue.clients(), clients.len());
            prop_assert_eq!(bench.queue.oldest(), waiting.first().map(|&(key, _, _)| key));
            let held = |client| waiting.iter().filter(|of| of.1 == client).map(|of| of.2 + ENTRY_BYTES).sum::<u64>();
            let most = clients.iter().map(|&client| held(client)).max();
            if let Some((client, _)) = bench.crowding() {
                prop_assert!(held(client) * 2 > most.unwrap(), "{} of {most:?}", held(client));
            }
            prop_assert_eq!(bench.crowding().is_none(), waiting.is_empty());
        }
    }

    /// Of clients that always have something waiting, none gets more than one largest request ahead of another.
    #[test]
    fn shares_are_equal_within_a_quantum(costs in prop::collection::vec(1..=MAX_COST, 2..8), newest in any::<bool>()) {
        let order = if newest { NEWEST_FIRST } else { Order::OldestFirst };
        let mut bench = Bench::new(order);
        let mut got = vec![0_u32; costs.len()];
        for (client, &cost) in (0..).zip(&costs) {
            for _ in 0..5 {
                bench.push_sized(client, cost, 0);
            }
        }
        for _ in 0..500 {
            let request = bench.pop().unwrap();
            got[request.client as usize] += request.cost;
            bench.push_sized(request.client, request.cost, 0);
            let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
            prop_assert!(most - least <= 2 * MAX_COST, "{got:?} for costs {costs:?}");
        }
    }
}
