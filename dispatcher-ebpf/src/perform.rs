//! Carries out a verdict: rewrite, redirect, count.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use dispatcher_common::{
    address::Family,
    counter::Counter,
    decide::Tables as _,
    parse::Headers,
    rewrite,
    verdict::{Forward, Translation, Upcall, Verdict},
};

use crate::{frame::Frame, tables::Tables};

/// Carries out `verdict`; gives XDP's action, or nothing if the frame turned out shorter than its headers.
#[inline(always)]
pub fn perform<A: Family>(frame: Frame, headers: &Headers<A>, verdict: Verdict<A>, tables: Tables<'_>) -> Option<u32> {
    match verdict {
        Verdict::Forward(out) => forward(frame, headers, &out, tables),
        Verdict::Pass(reason) => Some(counted(tables, reason, XDP_PASS)),
        // A packet that went up has been copied; the frame itself goes nowhere.
        Verdict::Drop(reason) | Verdict::Up(Upcall { reason, .. }) => Some(counted(tables, reason, XDP_DROP)),
    }
}

#[inline(always)]
fn counted(tables: Tables<'_>, reason: Counter, action: u32) -> u32 {
    tables.count(reason);
    action
}

#[inline(always)]
fn forward<A: Family>(mut frame: Frame, headers: &Headers<A>, out: &Forward<A>, tables: Tables<'_>) -> Option<u32> {
    rewrite::apply(&mut frame, headers, out)?;
    let to_backend = !matches!(out.translation, Translation::Source(_));
    tables.count_forwarded(out.backend, headers.length, to_backend);
    if out.hop.ifindex == headers.arrival.ifindex {
        return Some(XDP_TX);
    }
    Some(tables.redirect(out.hop.ifindex).unwrap_or_else(|| counted(tables, Counter::NoPort, XDP_DROP)))
}
