//! Packets of services whose TLS ends here: the local stack gets them, and their flows are counted.

use super::{
    FlowTable, Tables,
    mapped::{seen, state_after},
};
use crate::{
    address::Family,
    counter::Counter,
    flow::{Flow, NO_BACKEND, state, target},
    parse::{self, Headers},
    service::Service,
    verdict::Verdict,
};

/// Decides for a packet that [`super::mapped()`] left, to a service whose TLS ends here.
///
/// Its TTL may well be 1: it ends at its destination, and not on the way. A reset without a flow goes to the local stack
/// too, which may know a connection whose entry was evicted.
#[inline(always)]
pub(super) fn local<A: Family, T: Tables + FlowTable<A>>(
    headers: &Headers<A>,
    service: &Service,
    now_ns: u64,
    tables: &T,
) -> Verdict<A> {
    if headers.key.src.is_forbidden_source() {
        return Verdict::Drop(Counter::BadSource);
    }
    if tables.with_flow(&headers.key, |flow| reopen(flow, headers, now_ns)) == Some(true) || !makes_flow(headers) {
        return Verdict::Pass(Counter::Secure);
    }
    if tables.config().lease_is_over(now_ns) {
        return Verdict::Pass(Counter::LeaseOver);
    }
    tables.count(Counter::FlowsLocal);
    if !tables.insert_flow(&headers.key, || entry(headers, service, now_ns)) {
        tables.count(Counter::FlowTableFull);
    }
    Verdict::Pass(Counter::Secure)
}

/// Counts a SYN at a flow that ends here, which then begins anew if it is over; false for any other flow.
#[inline(always)]
fn reopen<A: Family>(flow: &mut Flow<A>, headers: &Headers<A>, now_ns: u64) -> bool {
    if flow.target != target::LOCAL {
        return false;
    }
    seen(flow, headers, now_ns);
    flow.state = state_after(flow.state, headers);
    true
}

/// True if a packet without a flow makes one. A SYN does not: a flood of them costs no entries, and pushes out no live
/// flow. What follows the local stack's answer does.
#[inline(always)]
fn makes_flow<A: Family>(headers: &Headers<A>) -> bool {
    !headers.opens() && !headers.has(parse::RST)
}

#[inline(always)]
fn entry<A: Family>(headers: &Headers<A>, service: &Service, now_ns: u64) -> Flow<A> {
    let arrival = &headers.arrival;
    Flow {
        packets: 1,
        bytes: u64::from(headers.length),
        last_seen_ns: now_ns,
        fence: 0,
        address: headers.key.dst,
        port: headers.key.dport,
        backend: NO_BACKEND,
        generation: 0,
        service: service.id,
        delta: 0,
        target: target::LOCAL,
        state: state_after(state::SYN, headers),
        peer_mac: arrival.peer_mac,
        local_mac: arrival.local_mac,
        ifindex: arrival.ifindex,
        pad: A::Padding::default(),
    }
}
