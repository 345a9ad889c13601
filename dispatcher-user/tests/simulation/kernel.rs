//! The XDP program: the real parsing, decision and rewriting, over tables in memory; and the sweeper's walk.

use std::hash::Hash;

use dispatcher_common::{
    address::Family,
    counter::Counter,
    decide::{FlowTable, decide},
    flow::{Flow, FlowKey, state, target},
    parse::{Headers, Parsed, parse},
    rewrite,
    service::{TCP, UDP},
    verdict::Verdict,
};

use crate::tables::{Map, Tables, grown};

const SECOND_NS: u64 = 1_000_000_000;

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It left, rewritten, for the backend or from it.
    Forwarded {
        backend: u16,
        frame: Vec<u8>,
        mac: [u8; 6],
    },
    Passed(Counter),
    Dropped(Counter),
    WentUp,
}

impl Fate {
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Forwarded { backend, .. } => format!("forwarded to {backend}"),
            Self::Passed(_) | Self::Dropped(_) | Self::WentUp => format!("{self:?}"),
        }
    }
}

/// Runs the program on a frame that came by `ifindex`.
pub(crate) fn receive(tables: &Tables, now_ns: u64, frame: Vec<u8>, ifindex: u32) -> Fate {
    tables.current.replace((frame.clone(), ifindex));
    match parse(frame.as_slice(), ifindex) {
        Parsed::V4(headers) => receive_of(tables, now_ns, frame, &headers),
        Parsed::V6(headers) => receive_of(tables, now_ns, frame, &headers),
        Parsed::Other => Fate::Passed(Counter::NotOurs),
    }
}

fn receive_of<A: Family>(tables: &Tables, now_ns: u64, mut frame: Vec<u8>, headers: &Headers<A>) -> Fate
where
    Tables: FlowTable<A>,
{
    let verdict = decide(headers, now_ns, tables);
    match verdict {
        Verdict::Pass(counter) | Verdict::Drop(counter) => tables.counters.borrow_mut().add(counter),
        Verdict::Up(upcall) => tables.counters.borrow_mut().add(upcall.reason),
        Verdict::Forward(_) => {}
    }
    match verdict {
        Verdict::Pass(counter) => Fate::Passed(counter),
        Verdict::Drop(counter) => Fate::Dropped(counter),
        Verdict::Up(_) => Fate::WentUp,
        Verdict::Forward(forward) => {
            rewrite::apply(frame.as_mut_slice(), headers, &forward).expect("a parsed frame can be rewritten");
            Fate::Forwarded { backend: forward.backend, frame, mac: forward.hop.mac }
        }
    }
}

/// One pass of the sweeper: removes flows that are over. Gives their keys and the live flows of each backend.
pub(crate) fn sweep(tables: &Tables, now_ns: u64) -> (Vec<FlowKey<dispatcher_common::address::V6>>, Vec<(u16, u64)>) {
    let mut live = Map::default();
    let mut over = walk(&mut tables.flows4.borrow_mut(), now_ns, &mut live);
    over.extend(walk(&mut tables.flows6.borrow_mut(), now_ns, &mut live));
    let mut live: Vec<(u16, u64)> = live.into_iter().collect();
    live.sort_unstable();
    (over, live)
}

fn walk<A: Family + Hash>(
    flows: &mut Map<FlowKey<A>, Flow<A>>,
    now_ns: u64,
    live: &mut Map<u16, u64>,
) -> Vec<FlowKey<dispatcher_common::address::V6>> {
    let is_idle = |key: &FlowKey<A>, flow: &Flow<A>, flow_state: u8| {
        now_ns.saturating_sub(flow.last_seen_ns) > idle_limit_ns(key.proto, flow_state)
    };
    let mut over = Vec::new();
    for (key, flow) in flows.iter().filter(|(_, flow)| flow.target != target::CLIENT) {
        let back = way_back(key, flow);
        let answers_idle = flows.get(&back).is_none_or(|answers| is_idle(key, answers, flow.state));
        if is_idle(key, flow, flow.state) && answers_idle {
            over.push((*key, back));
        } else if flow.state < state::CLOSING {
            *live.entry(flow.backend).or_default() += 1;
        }
    }
    for (key, back) in &over {
        flows.remove(key);
        flows.remove(back);
    }
    over.iter().map(|(key, _)| grown(key)).collect()
}

fn way_back<A: Family>(key: &FlowKey<A>, flow: &Flow<A>) -> FlowKey<A> {
    FlowKey { src: flow.address, dst: key.src, sport: flow.port, dport: key.sport, ..*key }
}

/// As the sweeper's.
fn idle_limit_ns(proto: u8, flow_state: u8) -> u64 {
    match (proto, flow_state) {
        (TCP, state::SYN | state::HELD) => 60 * SECOND_NS,
        (TCP, state::CLOSING) => 120 * SECOND_NS,
        (TCP, state::CLOSED) => 10 * SECOND_NS,
        (UDP, _) => 300 * SECOND_NS,
        _ => 900 * SECOND_NS,
    }
}
