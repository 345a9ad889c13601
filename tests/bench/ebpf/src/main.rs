//! The bench's programs: a harness that restores the packet before every run, floors to compare with, a generator of
//! frames, and a sink that counts them.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "packet bytes and map values are reached by pointers that the verifier checks")]
#![expect(missing_docs, reason = "#[xdp] expands to functions that lose their documentation")]

mod floor;
mod frame;
mod layout;

use crate::layout::{Arrivals, Course, Template, UDP};
use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX},
    btf_maps::{Array, DevMap, PerCpuArray, ProgramArray},
    helpers::bpf_ktime_get_ns,
    macros::{btf_map, xdp},
    programs::XdpContext,
};

#[btf_map(name = "bench_course")]
static COURSE: Array<Course, 1> = Array::new();
#[btf_map(name = "bench_templates")]
static TEMPLATES: Array<Template, { layout::TEMPLATES }> = Array::new();
#[btf_map(name = "bench_programs")]
static PROGRAMS: ProgramArray<{ layout::PROGRAMS }> = ProgramArray::new();
#[btf_map(name = "bench_ports")]
static PORTS: DevMap<{ layout::PORTS }> = DevMap::new();
#[btf_map(name = "bench_arrivals")]
static ARRIVALS: PerCpuArray<Arrivals, { layout::INTERFACES as usize }> = PerCpuArray::new();

/// Writes the next flow's packet and continues with the program to be measured.
#[xdp]
pub fn restore(context: XdpContext) -> u32 {
    let Some(course) = course() else { return XDP_ABORTED };
    if write_next(&context, course).is_none() {
        return XDP_ABORTED;
    }
    measure(course);
    // SAFETY: a tail call hands over the same context.
    unsafe { PROGRAMS.tail_call(&context, course.slot) };
    XDP_ABORTED
}

/// Sends the next flow's packet.
#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    let Some(course) = course() else { return XDP_ABORTED };
    if write_next(&context, course).is_none() {
        return XDP_ABORTED;
    }
    course.runs += 1;
    PORTS.redirect(course.slot, 0).unwrap_or(XDP_ABORTED)
}

/// Counts and drops generated frames; everything else goes on.
#[xdp]
pub fn sink(context: XdpContext) -> u32 {
    const IPV4: u16 = 0x0800_u16.to_be();
    let is_generated = frame::whole(&context).is_some_and(|frame| (frame.ether_type, frame.protocol) == (IPV4, UDP));
    if !is_generated {
        return XDP_PASS;
    }
    let row = context.ingress_ifindex() as u32 % layout::INTERFACES;
    if let Some(arrivals) = ARRIVALS.get_ptr_mut(row) {
        // SAFETY: the row is this CPU's own, and XDP programs do not interrupt each other on a CPU.
        let arrivals = unsafe { &mut *arrivals };
        arrivals.packets += 1;
        arrivals.bytes += (context.data_end() - context.data()) as u64;
    }
    XDP_DROP
}

/// Does nothing: what the harness itself costs.
#[xdp]
pub fn pass(_context: XdpContext) -> u32 {
    XDP_PASS
}

/// Sends back out what came in, unread.
#[xdp]
pub fn tx(_context: XdpContext) -> u32 {
    XDP_TX
}

/// Sends each packet to one of two interfaces, unchanged.
#[xdp]
pub fn redirect(context: XdpContext) -> u32 {
    by_last_bit(&context)
}

/// Translates the destination of flows it knows: one lookup, no checks but those of the verifier.
#[xdp]
pub fn lean_dnat(context: XdpContext) -> u32 {
    floor::dnat(&context).unwrap_or(XDP_PASS)
}

/// As `redirect`, after one entry of a flow was written: what the table alone costs a new flow.
#[xdp]
pub fn lean_insert(context: XdpContext) -> u32 {
    if floor::insert(&context).is_none() {
        return XDP_ABORTED;
    }
    by_last_bit(&context)
}

/// Slots 1 and 2 are the ways to the two backends; the source address's last bit chooses.
#[inline(always)]
fn by_last_bit(context: &XdpContext) -> u32 {
    frame::whole(context)
        .and_then(|frame| PORTS.redirect(1 + u32::from(u16::from_be(frame.source_low) & 1), 0).ok())
        .unwrap_or(XDP_ABORTED)
}

#[inline(always)]
fn course() -> Option<&'static mut Course> {
    // SAFETY: one thread of the bench runs these programs, on one CPU, and asks once in each.
    COURSE.get_ptr_mut(0).map(|course| unsafe { &mut *course })
}

#[inline(always)]
fn write_next(context: &XdpContext, course: &mut Course) -> Option<()> {
    let flow = course.first_flow + next_flow(course);
    let template = TEMPLATES.get(flow as u32 & 1)?;
    frame::write(context, template, flow)
}

/// The multiplier is that of Knuth's MMIX; its high bits are random enough to choose a flow.
#[inline(always)]
fn next_flow(course: &mut Course) -> u64 {
    course.random = course.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let number = if course.in_turn != 0 { course.runs } else { course.random >> 33 };
    number & course.mask
}

/// Adds the time since the last run, unless the machine did something else meanwhile.
///
/// Reading the clock is ordered after all that was done before (`lfence` on x86), and takes long enough for the packet's
/// bytes to leave the store buffer. So the program to be measured reads them from the cache, as it would after DMA, and
/// neither overlaps with the harness nor waits for its stores.
#[inline(always)]
fn measure(course: &mut Course) {
    // SAFETY: the helper takes nothing and only reads a clock.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let passed_ns = now_ns - course.last_ns;
    if passed_ns < layout::LONGEST_RUN_NS {
        course.elapsed_ns += passed_ns;
        course.measured += 1;
    }
    course.last_ns = now_ns;
    course.runs += 1;
}

/// The kernel allows GPL-only helpers to programs of a compatible licence.
// SAFETY: the section holds nothing but this string.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
