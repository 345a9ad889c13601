//! The XDP programs: parse, decide, perform. The decision itself is [`dispatcher_common::decide`].
//!
//! Two programs, because a BPF stack has 512 bytes: `dispatcher` is attached and serves packets of mapped flows and of
//! other hosts; it continues with `dispatcher_unmapped` for the rest.
#![no_std]
#![no_main]

mod frame;
mod perform;
mod tables;

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use dispatcher_common::{
    address::Family,
    counter::Counter,
    decide::{self, FlowTable, Tables as _},
    parse::{self, Headers, Network},
    verdict::Verdict,
};

use crate::{frame::Frame, perform::perform, tables::Tables};

/// Attached to every interface that clients' packets, or backends' answers, come in by.
#[xdp]
#[expect(missing_docs, reason = "the attribute expands to an undocumented function")]
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
    perform(frame, headers, verdict, tables).unwrap_or(XDP_ABORTED)
}

/// Continues [`dispatcher`] for packets without a flow.
#[xdp]
#[expect(missing_docs, reason = "the attribute expands to an undocumented function")]
pub fn dispatcher_unmapped(context: XdpContext) -> u32 {
    match parse::link(&Frame::new(&context), context.ingress_ifindex() as u32) {
        Network::V4(_) => unmapped4(&context),
        Network::V6(_) => unmapped6(&context),
        Network::Other => XDP_PASS,
    }
}

#[inline(never)]
fn unmapped4(context: &XdpContext) -> u32 {
    let frame = Frame::new(context);
    match parse::link(&frame, context.ingress_ifindex() as u32) {
        Network::V4(link) => parse::ipv4(&frame, link).map_or(XDP_PASS, |headers| unmapped(context, frame, &headers)),
        Network::V6(_) | Network::Other => XDP_PASS,
    }
}

#[inline(never)]
fn unmapped6(context: &XdpContext) -> u32 {
    let frame = Frame::new(context);
    match parse::link(&frame, context.ingress_ifindex() as u32) {
        Network::V6(link) => parse::ipv6(&frame, link).map_or(XDP_PASS, |headers| unmapped(context, frame, &headers)),
        Network::V4(_) | Network::Other => XDP_PASS,
    }
}

#[inline(always)]
fn unmapped<'a, A: Family>(context: &'a XdpContext, frame: Frame, headers: &Headers<A>) -> u32
where
    Tables<'a>: FlowTable<A>,
{
    let verdict = decide_unmapped(context, headers);
    perform(frame, headers, verdict, Tables::new(context)).unwrap_or(XDP_ABORTED)
}

#[inline(never)]
fn decide_unmapped<'a, A: Family>(context: &'a XdpContext, headers: &Headers<A>) -> Verdict<A>
where
    Tables<'a>: FlowTable<A>,
{
    decide::unmapped(headers, frame::coarse_now_ns(), &Tables::new(context))
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
