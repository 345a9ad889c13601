//! The dispatch decision: what happens to a packet, in the order that makes a mapped packet cheapest.
//!
//! ```text
//!  faulty? ──▶ for a service: drop, else pass
//!  flow? ────▶ forward (one lookup, and the backend's row)
//!  service? ─▶ no: pass
//!  client entry? ─▶ make the flow here, forward
//!  else place the client's lock, send up
//!  deterministic scheduler, daemon gone, way up full? ─▶ pick by the ring, make the flow here, forward
//! ```

use crate::{
    address::Family,
    backend::Backend,
    client::{Client, ClientKey},
    client_lock::{self, ClientLock},
    config::Config,
    counter::Counter,
    flow::{Assignment, Flow, FlowKey, state, target},
    hash,
    parse::{self, Headers},
    ring,
    service::{self, Service, ServiceKey, scheduler},
    verdict::{Endpoint, Forward, Hop, Translation, Upcall, Verdict},
};

/// The tables that a decision reads and writes, whatever the packet's family.
pub trait Tables {
    /// The service at an address, port and protocol.
    fn service(&self, key: &ServiceKey) -> Option<Service>;
    /// A backend's row; nothing for an ID beyond the table.
    fn backend(&self, id: u16) -> Option<&Backend>;
    /// The backend ID in a slot of a ring, or [`ring::EMPTY`].
    fn ring_slot(&self, ring: u16, slot: usize) -> u16;
    /// A client's entry.
    fn client(&self, key: &ClientKey) -> Option<Client>;
    /// Writes a client's entry.
    fn insert_client(&self, key: &ClientKey, client: &Client);
    /// A client's lock.
    fn lock(&self, key: &ClientKey) -> Option<ClientLock>;
    /// Places a client's lock where none stands.
    fn place_lock(&self, key: &ClientKey, lock: &ClientLock) -> Placed;
    /// Removes a client's lock.
    fn remove_lock(&self, key: &ClientKey);
    /// The daemon's word.
    fn config(&self) -> Config;
    /// Sends the packet being decided up to the daemon; false if there is no room.
    fn send_up(&self, upcall: &Upcall) -> bool;
    /// How far the daemon has consumed the way up, and how far it is filled: positions that only grow.
    fn upcall_positions(&self) -> Positions;
    /// Counts.
    fn count(&self, counter: Counter);
    /// Counts a flow that was opened (true) or closed (false) at a backend.
    fn count_flow(&self, backend: u16, opened: bool);
}

/// The flow table of one family.
pub trait FlowTable<A: Family> {
    /// Visits a flow's entry in place.
    fn with_flow<R>(&self, key: &FlowKey<A>, visit: impl FnOnce(&mut Flow<A>) -> R) -> Option<R>;
    /// Writes the entry that `build` makes; false if the table refuses.
    fn insert_flow(&self, key: &FlowKey<A>, build: impl FnOnce() -> Flow<A>) -> bool;
}

/// What became of a lock that was to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It stands now, and the caller placed it.
    Yes,
    /// Another packet placed one first.
    Stands,
    /// The table is full.
    Full,
}

/// Positions of the way up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Everything below was consumed.
    pub consumed: u64,
    /// Everything below was sent up.
    pub produced: u64,
}

/// How many ring slots a pick in the kernel tries before it gives up.
const PROBES: usize = 4;

/// Decides what happens to a packet with `headers` at `now_ns` (monotonic clock).
///
/// The same as [`mapped`], and [`unmapped`] where that gives nothing. In the kernel the two are programs of their own.
#[inline(always)]
pub fn decide<A: Family, T: Tables + FlowTable<A>>(headers: &Headers<A>, now_ns: u64, tables: &T) -> Verdict<A> {
    mapped(headers, now_ns, tables).unwrap_or_else(|| unmapped(headers, now_ns, tables))
}

/// True if a packet that [`mapped`] left is none of a service's, so that [`unmapped`] would pass it.
#[inline(always)]
pub fn is_foreign<A: Family, T: Tables>(headers: &Headers<A>, tables: &T) -> bool {
    headers.fault.is_none() && tables.service(&service_key(headers)).is_none()
}

/// Decides for every packet that [`mapped`] leaves: faulty ones, held flows, new flows, other hosts' packets.
#[inline(always)]
pub fn unmapped<A: Family, T: Tables + FlowTable<A>>(headers: &Headers<A>, now_ns: u64, tables: &T) -> Verdict<A> {
    if let Some(fault) = headers.fault {
        return faulty(tables.service(&service_key(headers)).is_some(), fault);
    }
    if let Some(verdict) = held(headers, now_ns, tables) {
        return verdict;
    }
    let Some(service) = tables.service(&service_key(headers)) else { return Verdict::Pass(Counter::NotOurs) };
    if let Some(verdict) = refused(headers) {
        return verdict;
    }
    let config = tables.config();
    if config.lease_is_over(now_ns) {
        return Verdict::Pass(Counter::LeaseOver);
    }
    let mut choice = by_affinity(headers, &service, now_ns, tables);
    if choice.is_none() {
        let reason = if scheduler::is_deterministic(service.scheduler) {
            Counter::FlowsByHash
        } else if let Some(upcall) = upcall(headers, &service, &config, now_ns, tables) {
            return Verdict::Up(upcall);
        } else {
            Counter::PickedInKernel
        };
        choice = pick(headers, &service, tables).map(|(id, backend)| (id, backend, reason));
    }
    match choice {
        None => Verdict::Drop(Counter::NoBackend),
        Some((_, backend, _)) if conflicts(headers, &service, backend, tables) => Verdict::Drop(Counter::TupleConflict),
        Some((id, backend, reason)) => {
            tables.count(reason);
            take(headers, &service, (id, backend), now_ns, tables)
        }
    }
}

#[inline(always)]
fn service_key<A: Family>(headers: &Headers<A>) -> ServiceKey {
    ServiceKey::new(headers.key.dst, headers.key.dport, headers.key.proto)
}

/// A packet that cannot be dispatched: ours to drop only if it is for a service.
#[inline(always)]
fn faulty<A: Family>(for_service: bool, fault: Counter) -> Verdict<A> {
    match (for_service, fault) {
        (_, Counter::Fragment) => Verdict::Pass(Counter::Fragment),
        (true, Counter::Tagged) => Verdict::Pass(Counter::Tagged),
        (false, Counter::Tagged) => Verdict::Pass(Counter::NotOurs),
        (true, _) => Verdict::Drop(fault),
        (false, _) => Verdict::Pass(Counter::NotOursMalformed),
    }
}

/// What one look at a flow's entry gave.
struct Hit<A: Family> {
    flow: Flow<A>,
    /// The sender of this direction has just ended it.
    closed: bool,
    /// The client has just opened a connection with the ports of an ended one.
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
    let hit =
        tables.with_flow(&headers.key, |flow| (flow.state != state::HELD).then(|| hit(flow, headers, now_ns)))??;
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

/// Counts a packet at its flow, and moves the flow's state.
#[inline(always)]
fn hit<A: Family>(flow: &mut Flow<A>, headers: &Headers<A>, now_ns: u64) -> Hit<A> {
    seen(flow, headers, now_ns);
    let before = flow.state;
    flow.state = state_after(before, headers);
    Hit {
        flow: *flow,
        closed: before < state::CLOSING && flow.state >= state::CLOSING,
        reopened: before >= state::CLOSING && flow.state < state::CLOSING,
        moved: flow.peer_mac != headers.arrival.peer_mac || flow.ifindex != headers.arrival.ifindex,
    }
}

#[inline(always)]
fn seen<A: Family>(flow: &mut Flow<A>, headers: &Headers<A>, now_ns: u64) {
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
    if !backend.keeps_flows(flow.generation) || (hit.reopened && !backend.takes_flows()) {
        return None;
    }
    if !backend.is_reachable() {
        return Some(Verdict::Drop(Counter::NoNeighbour));
    }
    if hit.reopened || hit.closed {
        tables.count_flow(flow.backend, hit.reopened);
    }
    if hit.moved {
        follow_client(headers, backend, tables);
    }
    Some(Verdict::Forward(towards(flow.target, endpoint(flow), (flow.backend, backend))))
}

/// A packet of a flow that is held; nothing if there is no such flow, or its backend no longer keeps it.
///
/// The flow opens once every packet that went up before has left the daemon. The packets of a flow meet one CPU in
/// order, and the daemon injects a packet before it consumes its record. So when all that had been sent up by the
/// flow's first direct packet is consumed, nothing of the flow can be overtaken.
#[inline(always)]
fn held<A: Family, T: Tables + FlowTable<A>>(headers: &Headers<A>, now_ns: u64, tables: &T) -> Option<Verdict<A>> {
    let positions = tables.upcall_positions();
    let alive = tables.config().daemon_is_alive(now_ns);
    let look = tables.with_flow(&headers.key, |flow| {
        if flow.state != state::HELD {
            return None;
        }
        seen(flow, headers, now_ns);
        if flow.fence == 0 {
            flow.fence = positions.produced;
        }
        let open = !alive || positions.consumed >= flow.fence;
        if open {
            flow.state = state_after(state::SYN, headers);
        }
        Some((*flow, open))
    });
    let (flow, open) = look??;
    let backend = tables.backend(flow.backend)?;
    if !backend.keeps_flows(flow.generation) {
        return None;
    }
    if !open {
        let upcall = Upcall { service: flow.service, reason: Counter::UpcallHeld };
        if tables.send_up(&upcall) {
            let fence = tables.upcall_positions().produced;
            tables.with_flow(&headers.key, |flow| flow.fence = fence);
            return Some(Verdict::Up(upcall));
        }
        // Order yields to delivery.
        tables.count(Counter::UpcallRefused);
        tables.with_flow(&headers.key, |flow| flow.state = state_after(state::SYN, headers));
    }
    if !backend.is_reachable() {
        return Some(Verdict::Drop(Counter::NoNeighbour));
    }
    Some(Verdict::Forward(towards(flow.target, endpoint(&flow), (flow.backend, backend))))
}

/// The state of a direction after a packet, whatever it was before.
#[inline(always)]
fn state_after<A: Family>(before: u8, headers: &Headers<A>) -> u8 {
    let before = if before == state::SYN && !headers.opens() { state::ESTABLISHED } else { before };
    if headers.tcp_flags & (parse::FIN | parse::RST | parse::SYN) == 0 {
        before
    } else if headers.has(parse::RST) {
        state::CLOSED
    } else if headers.has(parse::FIN) {
        state::CLOSING
    } else if headers.opens() && before >= state::CLOSING {
        state::SYN
    } else {
        before
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
fn endpoint<A: Family>(flow: &Flow<A>) -> Endpoint<A> {
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

/// Packets that make no flow.
#[inline(always)]
fn refused<A: Family>(headers: &Headers<A>) -> Option<Verdict<A>> {
    if headers.key.src.is_forbidden_source() {
        Some(Verdict::Drop(Counter::BadSource))
    } else if headers.ttl <= 1 {
        Some(Verdict::Pass(Counter::TtlExpired))
    } else if headers.has(parse::RST) {
        Some(Verdict::Drop(Counter::ResetWithoutFlow))
    } else {
        None
    }
}

/// The client's backend, if the service keeps clients and the backend still takes flows.
#[inline(always)]
fn by_affinity<'t, A: Family, T: Tables>(
    headers: &Headers<A>,
    service: &Service,
    now_ns: u64,
    tables: &'t T,
) -> Option<(u16, &'t Backend, Counter)> {
    if !service.has_client_affinity() {
        return None;
    }
    let client = tables.client(&ClientKey::new(headers.key.src, service.id))?;
    if now_ns >= client.expires_ns {
        return None;
    }
    let backend = tables.backend(client.backend)?;
    (backend.generation == client.generation && backend.takes_flows()).then_some((
        client.backend,
        backend,
        Counter::FlowsByAffinity,
    ))
}

/// Sends a packet up under its client's lock; nothing if the daemon cannot be asked.
#[inline(always)]
fn upcall<A: Family, T: Tables>(
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
fn pick<'t, A: Family, T: Tables>(
    headers: &Headers<A>,
    service: &Service,
    tables: &'t T,
) -> Option<(u16, &'t Backend)> {
    let hash = if service.scheduler == scheduler::SH { hash::client(&headers.key) } else { hash::flow(&headers.key) };
    for probe in 0..PROBES {
        let id = tables.ring_slot(service.ring, ring::slot(hash.wrapping_add(probe as u64)));
        if let Some(backend) = tables.backend(id).filter(|backend| backend.takes_flows()) {
            return Some((id, backend));
        }
    }
    None
}

/// True if the backend's answers could not be told from those of another live flow: the same client port, to another
/// VIP that leads to the same backend.
#[inline(always)]
fn conflicts<A: Family, T: FlowTable<A>>(
    headers: &Headers<A>,
    service: &Service,
    backend: &Backend,
    tables: &T,
) -> bool {
    let differs = |other: &mut Flow<A>| {
        other.state < state::CLOSING && (other.address != headers.key.dst || other.port != headers.key.dport)
    };
    service.forward == service::forward::NAT
        && tables.with_flow(&headers.key.answered_by(backend), differs).unwrap_or(false)
}

/// Gives a new flow to a backend: writes its entries, and the client's if the service keeps clients.
#[inline(always)]
fn take<A: Family, T: Tables + FlowTable<A>>(
    headers: &Headers<A>,
    service: &Service,
    (id, backend): (u16, &Backend),
    now_ns: u64,
    tables: &T,
) -> Verdict<A> {
    let assignment = Assignment::new(&headers.key, &headers.arrival, service, (id, backend));
    let mut written = tables.insert_flow(&headers.key, || Flow {
        packets: 1,
        bytes: u64::from(headers.length),
        last_seen_ns: now_ns,
        ..assignment.towards_backend(state_after(state::SYN, headers))
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
    Verdict::Forward(towards(assignment.target, assignment.destination, (id, backend)))
}
