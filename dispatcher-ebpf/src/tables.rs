//! The BPF maps, and the [`dispatcher_common::decide::Tables`] that they are.
#![expect(unsafe_code, reason = "map values are reached by pointers that the kernel keeps valid while a program runs")]

use core::{hint, mem::MaybeUninit, ptr};

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST, BPF_RB_CONS_POS, BPF_RB_PROD_POS, xdp_action::XDP_ABORTED},
    btf_maps::{Array, DevMapHash, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
    helpers::bpf_ringbuf_query,
    macros::btf_map,
    programs::XdpContext,
};
use aya_log_ebpf::warn;
use dispatcher_common::{
    address::{Family, V4, V6},
    backend::{Backend, BackendStats},
    client::{Client, ClientKey},
    client_lock::ClientLock,
    config::Config,
    counter::{Counter, Stats},
    decide::{self, FlowTable, Placed, Positions},
    event::{self, EventHeader},
    flow::{Flow, FlowKey},
    parse::Headers,
    ring::{self, Ring},
    service::{Service, ServiceKey},
    session::{Session, SessionKey},
    table,
    verdict::Upcall,
};

use crate::frame;

#[btf_map(name = "dsp_services")]
static SERVICES: HashMap<ServiceKey, Service, { table::MAX_SERVICES }> = HashMap::new();
#[btf_map(name = "dsp_backends")]
static BACKENDS: Array<Backend, { table::MAX_BACKENDS }> = Array::new();
#[btf_map(name = "dsp_flows4")]
static FLOWS4: LruHashMap<FlowKey<V4>, Flow<V4>, { table::DEFAULT_FLOWS }> = LruHashMap::new();
#[btf_map(name = "dsp_flows6")]
static FLOWS6: LruHashMap<FlowKey<V6>, Flow<V6>, { table::DEFAULT_FLOWS }> = LruHashMap::new();
#[btf_map(name = "dsp_clients")]
static CLIENTS: LruHashMap<ClientKey, Client, { table::MAX_CLIENTS }> = LruHashMap::new();
#[btf_map(name = "dsp_locks")]
static LOCKS: HashMap<ClientKey, ClientLock, { table::MAX_LOCKS }> = HashMap::new();
// No program looks a session up: requests are read in the daemon. The map is here so that the kernel knows its fields.
#[btf_map(name = "dsp_sessions")]
static SESSIONS: HashMap<SessionKey, Session, { table::MAX_SESSIONS }> = HashMap::new();
#[btf_map(name = "dsp_be_stats")]
static BACKEND_STATS: PerCpuArray<BackendStats, { table::MAX_BACKENDS }> = PerCpuArray::new();
#[btf_map(name = "dsp_stats")]
static STATS: PerCpuArray<Stats, 1> = PerCpuArray::new();
#[btf_map(name = "dsp_config")]
static CONFIG: Array<Config, 1> = Array::new();
#[btf_map(name = "dsp_rings")]
static RINGS: Array<Ring, { table::MAX_RINGS }> = Array::new();
#[btf_map(name = "dsp_events")]
static EVENTS: RingBuf<EventHeader, { table::EVENT_BYTES }> = RingBuf::new();
#[btf_map(name = "dsp_ports")]
static PORTS: DevMapHash<{ table::MAX_PORTS }> = DevMapHash::new();
#[btf_map(name = "dsp_programs")]
static PROGRAMS: ProgramArray<{ table::program::NAMES.len() }> = ProgramArray::new();

/// What would not fit on a BPF stack. Not pinned; nobody else reads it.
struct Scratch<A: Family> {
    /// The headers of the packet being decided.
    headers: Headers<A>,
    /// Where a new entry is built.
    flow: Flow<A>,
}

#[btf_map(name = "dsp_scratch4")]
static SCRATCH4: PerCpuArray<Scratch<V4>, 1> = PerCpuArray::new();
#[btf_map(name = "dsp_scratch6")]
static SCRATCH6: PerCpuArray<Scratch<V6>, 1> = PerCpuArray::new();

/// What the program that logs is told.
#[derive(Clone, Copy)]
struct RareEvents {
    /// The events, by the bits of their positions in [`RARE`].
    bits: u64,
    /// What is to become of the packet.
    action: u32,
}

#[btf_map(name = "dsp_rare_events")]
static RARE_EVENTS: PerCpuArray<RareEvents, 1> = PerCpuArray::new();

/// This CPU's place for the headers of an IPv4 packet. Asked for once in a program.
#[inline(always)]
pub fn headers4() -> Option<&'static mut Headers<V4>> {
    // SAFETY: the row is this CPU's own, XDP programs do not interrupt each other on a CPU, and a program asks once.
    SCRATCH4.get_ptr_mut(0).map(|scratch| unsafe { &mut (*scratch).headers })
}

/// This CPU's place for the headers of an IPv6 packet. Asked for once in a program.
#[inline(always)]
pub fn headers6() -> Option<&'static mut Headers<V6>> {
    // SAFETY: as in `headers4`, with a map of its own.
    SCRATCH6.get_ptr_mut(0).map(|scratch| unsafe { &mut (*scratch).headers })
}

/// The tables, as the program that decides about the frame of `context` sees them.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    context: &'a XdpContext,
}

impl<'a> Tables<'a> {
    /// The tables, for the frame that `context` holds.
    #[inline(always)]
    pub fn new(context: &'a XdpContext) -> Self {
        Self { context }
    }

    /// Sends the frame out of interface `ifindex`; nothing if the dispatcher may not send there.
    #[inline(always)]
    pub fn redirect(self, ifindex: u32) -> Option<u32> {
        PORTS.redirect(ifindex, 0).ok()
    }

    /// Continues with the program for packets without a flow; comes back only if the daemon never installed it.
    #[inline(always)]
    pub fn continue_unmapped(self) {
        // SAFETY: a tail call hands over the same context.
        unsafe { PROGRAMS.tail_call(self.context, table::program::UNMAPPED) };
    }

    /// Ends the program with `action`, by way of the program that logs if something rare was counted.
    #[inline(always)]
    pub fn end(self, action: u32) -> u32 {
        if let Some(rare) = RARE_EVENTS.get_ptr_mut(0) {
            // SAFETY: as in `note`; a tail call hands over the same context.
            unsafe {
                if (*rare).bits != 0 {
                    (*rare).action = action;
                    PROGRAMS.tail_call(self.context, table::program::LOG);
                }
            }
        }
        action
    }

    /// Counts a forwarded packet at its backend.
    #[inline(always)]
    pub fn count_forwarded(self, backend: u16, length: u32, to_backend: bool) {
        let Some(stats) = BACKEND_STATS.get_ptr_mut(u32::from(backend)) else { return };
        // SAFETY: the row is this CPU's own, and XDP programs do not interrupt each other on a CPU.
        let stats = unsafe { &mut *stats };
        if to_backend {
            stats.packets_in = stats.packets_in.wrapping_add(1);
            stats.bytes_in = stats.bytes_in.wrapping_add(u64::from(length));
        } else {
            stats.packets_out = stats.packets_out.wrapping_add(1);
            stats.bytes_out = stats.bytes_out.wrapping_add(u64::from(length));
        }
    }
}

#[inline(always)]
fn send_record<const SIZE: usize>(context: &XdpContext, header: EventHeader) -> bool {
    let Some(mut record) = EVENTS.reserve_untyped::<[u8; SIZE]>(0) else { return false };
    let start = MaybeUninit::as_mut_ptr(&mut record).cast::<u8>();
    // SAFETY: the record is SIZE bytes, aligned to eight, and a header fits into each record size of `event`. Ring buffer
    // memory is never uninitialised: it is zeroed when mapped, then holds older records.
    let room = unsafe {
        ptr::write(start.cast::<EventHeader>(), header);
        core::slice::from_raw_parts_mut(start.add(event::HEADER_BYTES), SIZE - event::HEADER_BYTES)
    };
    let copied = frame::copy_out(context, room, u32::from(header.length));
    if copied {
        record.submit(0);
    } else {
        record.discard(0);
    }
    copied
}

impl decide::Tables for Tables<'_> {
    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<Service> {
        // SAFETY: the daemon replaces entries whole, and a freed one stays readable until this program ends.
        unsafe { SERVICES.get(key) }.copied()
    }

    #[inline(always)]
    fn backend(&self, id: u16) -> Option<&Backend> {
        BACKENDS.get(u32::from(id))
    }

    #[inline(always)]
    fn ring_slot(&self, ring: u16, slot: usize) -> u16 {
        // The verifier knows no bound of a remainder, so that the comparison which the compiler would leave out stays.
        let slot = hint::black_box(slot);
        RINGS.get(u32::from(ring)).and_then(|ring| ring.slots.get(slot)).copied().unwrap_or(ring::EMPTY)
    }

    #[inline(always)]
    fn client(&self, key: &ClientKey) -> Option<Client> {
        // SAFETY: entries are replaced whole; one that the LRU reuses meanwhile names a client of the same table, and
        // whatever it names is checked against its backend's generation.
        unsafe { CLIENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn insert_client(&self, key: &ClientKey, client: &Client) {
        // Without the entry the client's next flow is simply picked anew.
        CLIENTS.insert(key, client, u64::from(BPF_ANY)).ok();
    }

    #[inline(always)]
    fn lock(&self, key: &ClientKey) -> Option<ClientLock> {
        // SAFETY: locks are placed and removed whole, never changed in place.
        unsafe { LOCKS.get(key) }.copied()
    }

    #[inline(always)]
    fn place_lock(&self, key: &ClientKey, lock: &ClientLock) -> Placed {
        const EXISTS: i32 = -17;
        match LOCKS.insert(key, lock, u64::from(BPF_NOEXIST)) {
            Ok(()) => Placed::Yes,
            Err(EXISTS) => Placed::Stands,
            Err(_) => Placed::Full,
        }
    }

    #[inline(always)]
    fn remove_lock(&self, key: &ClientKey) {
        // It may have been removed by the daemon meanwhile, which is as good.
        LOCKS.remove(key).ok();
    }

    #[inline(always)]
    fn config(&self) -> Config {
        CONFIG.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn send_up(&self, upcall: &Upcall) -> bool {
        let length = self.context.data_end() - self.context.data();
        let Ok(bytes) = u16::try_from(length) else { return false };
        let header = EventHeader {
            seen_ns: frame::coarse_now_ns(),
            ifindex: self.context.ingress_ifindex() as u32,
            length: bytes,
            service: upcall.service,
            flags: if upcall.reason == Counter::Upcall { event::flags::PLACED_LOCK } else { 0 },
            pad: [0; 7],
        };
        // The smallest record that holds header and frame: the verifier wants constants.
        match length + event::HEADER_BYTES {
            0..=event::SMALL => send_record::<{ event::SMALL }>(self.context, header),
            0..=event::MEDIUM => send_record::<{ event::MEDIUM }>(self.context, header),
            0..=event::LARGE => send_record::<{ event::LARGE }>(self.context, header),
            _ => false,
        }
    }

    #[inline(always)]
    fn upcall_positions(&self) -> Positions {
        let map = ptr::from_ref(&EVENTS).cast_mut().cast();
        // SAFETY: the helper only reads the positions of the map it is given.
        let query = |what: u32| unsafe { bpf_ringbuf_query(map, u64::from(what)) };
        Positions { consumed: query(BPF_RB_CONS_POS), produced: query(BPF_RB_PROD_POS) }
    }

    #[inline(always)]
    fn count(&self, counter: Counter) {
        let Some(stats) = STATS.get_ptr_mut(0) else { return };
        // The compiler knows that a counter is below their number, the verifier does not once one went through memory.
        // So that the comparison is compiled at all, the value hides from the compiler first.
        let position = usize::from(hint::black_box(counter as u8));
        if position >= Counter::ALL.len() {
            return;
        }
        // SAFETY: Stats is repr(C) of one u64 for each counter in the order of the enum (one macro makes both), the
        // position is that of one, and the row is this CPU's own.
        let count = unsafe { &mut *stats.cast::<u64>().add(position) };
        *count = count.wrapping_add(1);
        let bit = rare_bit(counter);
        if bit != 0 && count.is_power_of_two() {
            note(bit);
        }
    }

    #[inline(always)]
    fn count_flow(&self, backend: u16, opened: bool) {
        let Some(stats) = BACKEND_STATS.get_ptr_mut(u32::from(backend)) else { return };
        // SAFETY: the row is this CPU's own, and XDP programs do not interrupt each other on a CPU.
        let stats = unsafe { &mut *stats };
        let count = if opened { &mut stats.flows_opened } else { &mut stats.flows_closed };
        *count = count.wrapping_add(1);
    }
}

/// Events that an operator should hear of. Each is logged at its 1st, 2nd, 4th, 8th … count, never for every packet.
const RARE: [Counter; 6] = [
    Counter::NoBackend,
    Counter::TupleConflict,
    Counter::NoPort,
    Counter::UpcallRefused,
    Counter::FlowTableFull,
    Counter::LockTableFull,
];

/// The bit of a rare event; none for any other.
#[inline(always)]
fn rare_bit(counter: Counter) -> u64 {
    RARE.iter().enumerate().fold(0, |bits, (position, &rare)| if rare == counter { bits | 1 << position } else { bits })
}

/// Keeps in mind that an event is to be logged.
#[inline(always)]
fn note(bit: u64) {
    if let Some(rare) = RARE_EVENTS.get_ptr_mut(0) {
        // SAFETY: the row is this CPU's own, and XDP programs do not interrupt each other on a CPU.
        unsafe { (*rare).bits |= bit };
    }
}

/// Takes the first of the events that were noted; gives the action that the program before has decided on, too.
#[inline(always)]
fn take_rare() -> Option<(Option<Counter>, RareEvents)> {
    // SAFETY: as in `note`.
    let rare = unsafe { &mut *RARE_EVENTS.get_ptr_mut(0)? };
    let first = RARE.into_iter().find(|&counter| rare.bits & rare_bit(counter) != 0);
    rare.bits &= rare.bits.wrapping_sub(1);
    Some((first, *rare))
}

/// Logs one of the events that were noted, and continues with itself while there are others.
///
/// One at a time: the verifier follows every byte that is written, of each name on each path that leads here.
#[inline(always)]
pub fn log_rare_event(context: &XdpContext) -> u32 {
    let Some((first, rest)) = take_rare() else { return XDP_ABORTED };
    if let Some(counter) = first {
        log_rare(counter);
    }
    Tables::new(context).end(rest.action)
}

#[inline(never)]
fn log_rare(counter: Counter) {
    const WARN: u32 = 2;
    let Some(stats) = STATS.get(0) else { return };
    if CONFIG.get(0).is_some_and(|config| config.log_level >= WARN) {
        warn!((), "{} has reached {} on one CPU", counter.name(), stats.count(counter));
    }
}

/// Implements the flow table of a family by its map: the two differ in nothing else.
macro_rules! flow_table {
    ($family:ty, $map:ident, $scratch:ident) => {
        impl FlowTable<$family> for Tables<'_> {
            #[inline(always)]
            fn with_flow<R>(&self, key: &FlowKey<$family>, visit: impl FnOnce(&mut Flow<$family>) -> R) -> Option<R> {
                let flow = $map.get_ptr_mut(key)?;
                // SAFETY: the entry stays allocated until this program ends. Receive-side scaling keeps a flow on one
                // CPU; where it does not, plain integers are torn at worst, which Flow's documentation admits.
                Some(visit(unsafe { &mut *flow }))
            }

            #[inline(always)]
            fn insert_flow(&self, key: &FlowKey<$family>, build: impl FnOnce() -> Flow<$family>) -> bool {
                let Some(scratch) = $scratch.get_ptr_mut(0) else { return false };
                // SAFETY: the row is this CPU's own, and nothing else uses this field while this program runs.
                let flow = unsafe { &mut (*scratch).flow };
                *flow = build();
                $map.insert(key, &*flow, u64::from(BPF_ANY)).is_ok()
            }
        }
    };
}

flow_table!(V4, FLOWS4, SCRATCH4);
flow_table!(V6, FLOWS6, SCRATCH6);
