//! The least that a program can do which translates destinations: parse by constant offsets, one lookup, rewrite.
//!
//! It checks no length, option, fragment or checksum, knows no states, and follows nobody. What the dispatcher costs
//! more than this is the price of what it checks and keeps.
#![expect(unsafe_code, reason = "map values are reached by pointers that the kernel keeps valid while a program runs")]

use aya_ebpf::{
    btf_maps::{LruHashMap, PerCpuArray},
    macros::btf_map,
    programs::XdpContext,
};

use crate::{
    PORTS, frame,
    layout::{Frame, LEAN_FLOWS, LeanFlow, LeanKey},
};

#[btf_map(name = "bench_flows")]
static FLOWS: LruHashMap<LeanKey, LeanFlow, LEAN_FLOWS> = LruHashMap::new();
#[btf_map(name = "bench_scratch")]
static SCRATCH: PerCpuArray<LeanFlow, 1> = PerCpuArray::new();

/// Translates the destination and redirects; nothing for a packet of no flow.
#[inline(always)]
pub fn dnat(context: &XdpContext) -> Option<u32> {
    let bytes = (context.data_end() - context.data()) as u64;
    let frame = frame::whole(context)?;
    let key = key(frame)?;
    let flow = FLOWS.get_ptr_mut(&key)?;
    // SAFETY: the entry stays allocated until this program ends.
    let flow = unsafe { &mut *flow };
    flow.packets += 1;
    flow.bytes += bytes;
    frame.ethernet_head = flow.ethernet_head;
    frame.ethernet_tail = flow.ethernet_tail;
    frame.ttl -= 1;
    frame.destination = flow.address;
    frame.destination_port = flow.port;
    frame.ip_sum = frame::add(frame.ip_sum, u32::from(flow.ip_delta));
    frame::add_to_transport(frame, u32::from(flow.transport_delta));
    PORTS.redirect(u32::from(flow.slot), 0).ok()
}

/// Writes an empty entry for the frame's flow.
#[inline(always)]
pub fn insert(context: &XdpContext) -> Option<()> {
    let key = key(frame::whole(context)?)?;
    FLOWS.insert(&key, SCRATCH.get(0)?, 0).ok()
}

/// The 5-tuple of an option-less IPv4 packet.
#[inline(always)]
fn key(frame: &Frame) -> Option<LeanKey> {
    const IPV4: u16 = 0x0800_u16.to_be();
    if frame.ether_type != IPV4 || frame.version != 0x45 {
        return None;
    }
    Some(LeanKey {
        source: [frame.source_high, frame.source_low],
        destination: frame.destination,
        ports: [frame.source_port, frame.destination_port],
        protocol: u32::from(frame.protocol),
    })
}
