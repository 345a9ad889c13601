//! Gives a new flow its backend: asks the daemon under the client's lock, or picks by the ring and writes the flow.

use super::{
    FlowTable, Placed, Tables,
    mapped::{state_after, towards},
};
use crate::{
    address::Family,
    backend::Backend,
    client::{Client, ClientKey},
    client_lock::{self, ClientLock},
    config::Config,
    counter::Counter,
    flow::{Assignment, Flow, FlowKey, state, target},
    hash,
    parse::Headers,
    ring,
    service::{self, Service, scheduler},
    verdict::{Upcall, Verdict},
};

/// How many ring slots a pick in the kernel tries before it gives up.
const PROBES: usize = 4;

/// Sends a packet up under its client's lock; nothing if the daemon cannot be asked.
#[inline(always)]
pub(super) fn upcall<A: Family, T: Tables>(
    headers: &Headers<A>,
    service: &Service,
    config: &Config,
    now_ns: u64,
    tables: &T,
) -> Option<Upcall> {
    if !config.daemon_is_alive(now_ns) {
        return None;
    }
    let key = ClientKey::new(headers.key.src, service.id);
    let reason = lock(&key, config.node, now_ns, tables)?;
    let upcall = Upcall { service: service.id, reason };
    if tables.send_up(&upcall) {
        return Some(upcall);
    }
    tables.count(Counter::UpcallRefused);
    if reason == Counter::Upcall {
        tables.remove_lock(&key);
    }
    None
}

/// Places a client's lock where none stands; gives what a packet that goes up now is counted as.
#[inline(always)]
fn lock<T: Tables>(key: &ClientKey, node: u16, now_ns: u64, tables: &T) -> Option<Counter> {
    match tables.lock(key) {
        Some(standing) if now_ns < standing.expires_ns => return Some(Counter::UpcallLocked),
        // Its owner never removed it: it does not count any more.
        Some(_) => tables.remove_lock(key),
        None => {}
    }
    let expires_ns = now_ns.wrapping_add(client_lock::LIFETIME_NS);
    match tables.place_lock(key, &ClientLock { expires_ns, node, pad: [0; 6] }) {
        Placed::Yes => Some(Counter::Upcall),
        Placed::Stands => Some(Counter::UpcallLocked),
        Placed::Full => {
            tables.count(Counter::LockTableFull);
            None
        }
    }
}

/// Picks by the ring, without the daemon. The slots after the first are tried should a backend have just left.
#[inline(always)]
pub(super) fn pick<A: Family, T: Tables>(headers: &Headers<A>, service: &Service, tables: &T) -> u16 {
    let hash = if service.scheduler == scheduler::SH { hash::client(&headers.key) } else { hash::flow(&headers.key) };
    for probe in 0..PROBES {
        let id = tables.ring_slot(service.ring, ring::slot(hash.wrapping_add(probe as u64)));
        if tables.backend(id).is_some_and(Backend::takes_flows) {
            return id;
        }
    }
    ring::EMPTY
}

/// True if the backend's answers could not be told from those of another live flow: the same client port, to another
/// VIP that leads to the same backend.
#[inline(always)]
pub(super) fn conflicts<A: Family, T: FlowTable<A>>(
    headers: &Headers<A>,
    service: &Service,
    backend: &Backend,
    tables: &T,
) -> bool {
    if service.forward != service::forward::NAT {
        return false;
    }
    let answers = tables.with_flow(&headers.key.answered_by(backend), |flow| (flow.address, flow.port, flow.state));
    let Some((dst, dport, back)) = answers else { return false };
    if back == state::CLOSED || (dst == headers.key.dst && dport == headers.key.dport) {
        return false;
    }
    // It is over once either side has reset it, or both have sent FIN. Answers to nothing are over too.
    // The address names the backend: each service has an ID of its own for it.
    let lives = |flow: &mut Flow<A>| {
        let is_there = flow.address == A::from_mapped(&backend.addr) && flow.port == backend.port;
        is_there && flow.state != state::CLOSED && (flow.state < state::CLOSING || back < state::CLOSING)
    };
    tables.with_flow(&FlowKey { dst, dport, ..headers.key }, lives).unwrap_or(false)
}

/// Gives a new flow to a backend: writes its entries, and the client's if the service keeps clients.
#[inline(always)]
pub(super) fn take<A: Family, T: Tables + FlowTable<A>>(
    headers: &Headers<A>,
    service: &Service,
    (id, backend): (u16, &Backend),
    now_ns: u64,
    tables: &T,
) -> Verdict<A> {
    let assignment = Assignment::new(&headers.key, &headers.arrival, service, (id, backend));
    let state = state_after(state::SYN, headers);
    let mut written = tables.insert_flow(&headers.key, || Flow {
        packets: 1,
        bytes: u64::from(headers.length),
        last_seen_ns: now_ns,
        ..assignment.towards_backend(state)
    });
    if assignment.target == target::BACKEND_NAT {
        written &=
            tables.insert_flow(&assignment.answer_key(), || Flow { last_seen_ns: now_ns, ..assignment.answer_entry() });
    }
    if !written {
        tables.count(Counter::FlowTableFull);
    }
    if service.has_client_affinity() {
        let expires_ns = now_ns.wrapping_add(service.affinity_ns);
        let client = Client { expires_ns, backend: id, generation: backend.generation, pad: [0; 4] };
        tables.insert_client(&ClientKey::new(headers.key.src, service.id), &client);
    }
    tables.count_flow(id, true);
    if state >= state::CLOSING {
        tables.count_flow(id, false);
    }
    Verdict::Forward(towards(assignment.target, assignment.destination, (id, backend)))
}
