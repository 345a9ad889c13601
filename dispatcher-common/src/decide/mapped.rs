//! Packets of flows that have a backend: count, and forward.

use super::{FlowTable, Tables};
use crate::{
    address::Family,
    backend::Backend,
    counter::Counter,
    flow::{Flow, state, target},
    parse::{self, Headers},
    verdict::{Endpoint, Forward, Hop, Translation, Verdict},
};

/// What one look at a flow's entry gave.
struct Hit<A: Family> {
    flow: Flow<A>,
    /// The sender of this direction has just ended it.
    closed: bool,
    /// The client opens a connection with the ports of an ended one, if its backend takes it.
    reopened: bool,
    /// The packet came another way than those before.
    moved: bool,
}

/// Decides for a packet of a known flow that goes straight on; nothing for any other packet.
#[inline(always)]
pub fn mapped<A: Family, T: Tables + FlowTable<A>>(
    headers: &Headers<A>,
    now_ns: u64,
    tables: &T,
) -> Option<Verdict<A>> {
    if headers.fault.is_some() {
        return None;
    }
    let hit = tables.with_flow(&headers.key, |flow| is_open(flow, headers).then(|| hit(flow, headers, now_ns)))??;
    if hit.flow.target == target::LOCAL {
        return Some(Verdict::Pass(Counter::Secure));
    }
    if headers.ttl <= 1 {
        return Some(Verdict::Pass(Counter::TtlExpired));
    }
    let flow = &hit.flow;
    if flow.target == target::CLIENT {
        let hop = Hop { ifindex: flow.ifindex, mac: flow.peer_mac, source_mac: flow.local_mac };
        let translation = Translation::Source(endpoint(flow));
        return Some(Verdict::Forward(Forward { translation, hop, backend: flow.backend }));
    }
    to_backend(headers, &hit, tables)
}

/// True if a packet goes on by its flow's entry alone.
///
/// A connection that a SYN opens here asks for its service anew, which may no longer be one whose TLS ends here.
#[inline(always)]
fn is_open<A: Family>(flow: &Flow<A>, headers: &Headers<A>) -> bool {
    flow.state != state::HELD && !(headers.opens() && flow.target == target::LOCAL)
}

/// Counts a packet at its flow, and moves the flow's state; but a packet whose TTL ends here does nothing to a flow
/// that goes on.
#[inline(always)]
fn hit<A: Family>(flow: &mut Flow<A>, headers: &Headers<A>, now_ns: u64) -> Hit<A> {
    if headers.ttl <= 1 && flow.target != target::LOCAL {
        return Hit { flow: *flow, closed: false, reopened: false, moved: false };
    }
    seen(flow, headers, now_ns);
    let (before, after) = (flow.state, state_after(flow.state, headers));
    let reopened = before >= state::CLOSING && after < state::CLOSING;
    if !reopened {
        flow.state = after;
    }
    Hit {
        flow: *flow,
        closed: before < state::CLOSING && after >= state::CLOSING,
        reopened,
        moved: flow.peer_mac != headers.arrival.peer_mac || flow.ifindex != headers.arrival.ifindex,
    }
}

#[inline(always)]
pub(super) fn seen<A: Family>(flow: &mut Flow<A>, headers: &Headers<A>, now_ns: u64) {
    flow.packets = flow.packets.wrapping_add(1);
    flow.bytes = flow.bytes.wrapping_add(u64::from(headers.length));
    flow.last_seen_ns = now_ns;
}

/// A packet of a known flow on its way to the backend; nothing if the backend no longer keeps it.
#[inline(always)]
fn to_backend<A: Family, T: Tables + FlowTable<A>>(
    headers: &Headers<A>,
    hit: &Hit<A>,
    tables: &T,
) -> Option<Verdict<A>> {
    let flow = &hit.flow;
    let backend = tables.backend(flow.backend)?;
    if !backend.keeps_flows(flow.generation) || (hit.reopened && !may_reopen(headers, flow, backend, tables)) {
        return None;
    }
    if !backend.is_reachable() {
        return Some(Verdict::Drop(Counter::NoNeighbour));
    }
    if hit.reopened || hit.closed {
        tables.count_flow(flow.backend, hit.reopened);
    }
    if hit.reopened {
        reopen(headers, flow, backend, tables);
    }
    if hit.moved {
        follow_client(headers, backend, tables);
    }
    Some(Verdict::Forward(towards(flow.target, endpoint(flow), (flow.backend, backend))))
}

/// The state of a direction after a packet, whatever it was before.
#[inline(always)]
pub(super) fn state_after<A: Family>(before: u8, headers: &Headers<A>) -> u8 {
    let before = if before == state::SYN && !headers.opens() { state::ESTABLISHED } else { before };
    if headers.tcp_flags & (parse::FIN | parse::RST | parse::SYN) == 0 {
        before
    } else if headers.has(parse::RST) {
        state::CLOSED
    } else if headers.has(parse::FIN) {
        before.max(state::CLOSING)
    } else if headers.opens() && before >= state::CLOSING {
        state::SYN
    } else {
        before
    }
}

/// True if the backend takes the connection, and its answers have not become another flow's since the last one ended.
#[inline(always)]
fn may_reopen<A: Family, T: FlowTable<A>>(headers: &Headers<A>, flow: &Flow<A>, backend: &Backend, tables: &T) -> bool {
    // A service has one VIP and port. Its number is compared, because the verifier wants addresses on a stack aligned.
    let is_its = |answers: &mut Flow<A>| answers.service == flow.service;
    let answers = &headers.key.answered_by(backend);
    backend.takes_flows() && (flow.target != target::BACKEND_NAT || tables.with_flow(answers, is_its).unwrap_or(false))
}

/// Begins both directions anew: the answers of a connection that lives must not look like those of an ended one.
#[inline(always)]
fn reopen<A: Family, T: FlowTable<A>>(headers: &Headers<A>, flow: &Flow<A>, backend: &Backend, tables: &T) {
    tables.with_flow(&headers.key, |flow| flow.state = state::SYN);
    if flow.target == target::BACKEND_NAT {
        tables.with_flow(&headers.key.answered_by(backend), |flow| flow.state = state::ESTABLISHED);
    }
}

/// Turns replies to where the client's packets come from now: its router may have failed over.
#[inline(always)]
fn follow_client<A: Family, T: FlowTable<A>>(headers: &Headers<A>, backend: &Backend, tables: &T) {
    let turn = |flow: &mut Flow<A>| {
        flow.peer_mac = headers.arrival.peer_mac;
        flow.local_mac = headers.arrival.local_mac;
        flow.ifindex = headers.arrival.ifindex;
    };
    tables.with_flow(&headers.key, turn);
    tables.with_flow(&headers.key.answered_by(backend), turn);
}

#[inline(always)]
pub(super) fn endpoint<A: Family>(flow: &Flow<A>) -> Endpoint<A> {
    Endpoint { address: flow.address, port: flow.port, delta: flow.delta }
}

/// How a client's packet leaves for its backend.
#[inline(always)]
pub fn towards<A: Family>(target: u8, destination: Endpoint<A>, (id, backend): (u16, &Backend)) -> Forward<A> {
    let hop = Hop { ifindex: backend.ifindex, mac: backend.mac, source_mac: backend.source_mac };
    let translation =
        if target == target::BACKEND_NAT { Translation::Destination(destination) } else { Translation::None };
    Forward { translation, hop, backend: id }
}
