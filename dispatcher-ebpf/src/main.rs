//! The XDP programs: parse, decide, perform. The decision itself is [`dispatcher_common::decide`].
//!
//! Three programs, because a BPF stack has 512 bytes and the verifier follows a million instructions: `dispatcher` is
//! attached and serves packets of mapped flows and of other hosts; it continues with `dispatcher_unmapped` for the rest,
//! and with `dispatcher_log` where something rare is to be logged.
#![no_std]
#![no_main]
#![expect(missing_docs, reason = "#[xdp] expands to functions that lose their documentation")]

mod frame;
mod perform;
mod tables;

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use dispatcher_common::{
    address::{Family, V4, V6},
    counter::Counter,
    decide::{self, FlowTable, Tables as _},
    parse::{self, Headers, Network},
    verdict::Verdict,
};

use crate::{frame::Frame, perform::perform, tables::Tables};

/// Attached to every interface that clients' packets, or backends' answers, come in by.
#[xdp]
pub fn dispatcher(context: XdpContext) -> u32 {
    let frame = Frame::new(&context);
    let action = match parse::link(&frame, context.ingress_ifindex() as u32) {
        Network::V4(link) => parse::ipv4(&frame, link).map(|headers| mapped(&context, frame, &headers)),
        Network::V6(link) => parse::ipv6(&frame, link).map(|headers| mapped(&context, frame, &headers)),
        Network::Other => None,
    };
    action.unwrap_or_else(|| {
        Tables::new(&context).count(Counter::NotOurs);
        XDP_PASS
    })
}

#[inline(always)]
fn mapped<'a, A: Family>(context: &'a XdpContext, frame: Frame, headers: &Headers<A>) -> u32
where
    Tables<'a>: FlowTable<A>,
{
    let tables = Tables::new(context);
    let verdict = match decide::mapped(headers, frame::coarse_now_ns(), &tables) {
        Some(verdict) => verdict,
        None if decide::is_foreign(headers, &tables) => Verdict::Pass(Counter::NotOurs),
        None => {
            tables.continue_unmapped();
            return XDP_ABORTED;
        }
    };
    match perform(frame, headers, verdict, tables) {
        Some(XDP_DROP) => tables.end(XDP_DROP),
        action => action.unwrap_or(XDP_ABORTED),
    }
}

/// Continues [`dispatcher`] for packets without a flow.
///
/// Reading the headers and deciding are functions of their own, one after the other on the same part of the stack.
#[xdp]
pub fn dispatcher_unmapped(context: XdpContext) -> u32 {
    let action = if let Some(headers) = tables::headers4()
        && read4(&context, headers)
    {
        unmapped(&context, headers)
    } else if let Some(headers) = tables::headers6()
        && read6(&context, headers)
    {
        unmapped(&context, headers)
    } else {
        XDP_PASS
    };
    Tables::new(&context).end(action)
}

/// Logs the rare events of the packet, and ends as the program before has decided.
#[xdp]
pub fn dispatcher_log(context: XdpContext) -> u32 {
    tables::log_rare_event(&context)
}

#[inline(never)]
fn read4(context: &XdpContext, headers: &mut Headers<V4>) -> bool {
    let frame = Frame::new(context);
    let Network::V4(link) = parse::link(&frame, context.ingress_ifindex() as u32) else { return false };
    let Some(read) = parse::ipv4(&frame, link) else { return false };
    *headers = read;
    true
}

#[inline(never)]
fn read6(context: &XdpContext, headers: &mut Headers<V6>) -> bool {
    let frame = Frame::new(context);
    let Network::V6(link) = parse::link(&frame, context.ingress_ifindex() as u32) else { return false };
    let Some(read) = parse::ipv6(&frame, link) else { return false };
    *headers = read;
    true
}

#[inline(never)]
fn unmapped<'a, A: Family>(context: &'a XdpContext, headers: &Headers<A>) -> u32
where
    Tables<'a>: FlowTable<A>,
{
    let tables = Tables::new(context);
    let verdict = decide::unmapped(headers, frame::coarse_now_ns(), &tables);
    perform(Frame::new(context), headers, verdict, tables).unwrap_or(XDP_ABORTED)
}

/// The kernel allows GPL-only helpers to programs of a compatible licence.
#[expect(unsafe_code, reason = "a section attribute; the loader reads the licence from it")]
// SAFETY: the section holds nothing but this string.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
