//! Reads what a service of mode `secure` has besides what every service has.

mod limits;
mod session;
mod tls;
mod tunnels;

use super::{
    document::{Faults, Placed, Schema, Section},
    files::Files,
    problem::Problem,
    rules::{
        parse_address,
        secure::{MAX_LIST, WINDOW, check_list},
    },
};
use crate::core::model::{Net, SecureRule, SecureSpec};

/// Keys of `[[service]]` that mode `packet` does not have.
pub(super) const KEYS: [&str; 8] =
    ["tls", "session", "secure", "tunnels", "limits", "redirect", "proxy_protocol_from", "window"];

const RULE: Schema = Schema { name: "[[service.secure]]", keys: &["host", "path", "method", "header"], not_built: &[] };

/// Reads a service's part that is of mode `secure`; `None` if something that must be there is not.
pub(super) fn read(service: &Section<'_, '_>, files: &mut Files, faults: &mut Faults) -> Option<Box<SecureSpec>> {
    let tls = tls::read(service, files, faults);
    let session = session::read(service, faults);
    let rules = read_rules(service, faults);
    let tunnels = tunnels::read(service, files, faults);
    let limits = limits::read(service, faults);
    let redirect = service.parsed("redirect", faults, parse_address).map(|redirect| redirect.value);
    let proxy_protocol_from = read_networks(service, faults);
    let window = service.count("window", &WINDOW, faults);
    Some(Box::new(SecureSpec {
        tls: tls?,
        session,
        rules,
        tunnels: tunnels?,
        redirect,
        proxy_protocol_from,
        limits,
        window,
    }))
}

fn read_rules(service: &Section<'_, '_>, faults: &mut Faults) -> Vec<SecureRule> {
    let sections = service.sections("secure", &RULE, faults);
    if let Some(section) = sections.get(MAX_LIST) {
        faults.check(&section.span, check_list("rules", sections.len()));
    }
    sections.iter().map(|section| read_rule(section, faults)).collect()
}

fn read_rule(section: &Section<'_, '_>, faults: &mut Faults) -> SecureRule {
    let before = faults.0.len();
    let rule = SecureRule {
        host: section.parsed("host", faults, str::parse).map(|host| host.value),
        path: section.parsed("path", faults, str::parse).map(|path| path.value),
        method: section.parsed("method", faults, str::parse).map(|method| method.value),
        header: section.parsed("header", faults, str::parse).map(|header| header.value),
    };
    if faults.0.len() == before && rule == SecureRule::default() {
        // It would match every request, which is what no rule at all does.
        faults.add(&section.span, Problem::EmptyRule { section: RULE.name, keys: RULE.keys });
    }
    rule
}

fn read_networks(service: &Section<'_, '_>, faults: &mut Faults) -> Vec<Net> {
    let Some(Placed { value, span }) = service.list("proxy_protocol_from", faults, str::parse::<Net>) else {
        return Vec::new();
    };
    faults.check(&span, check_list("networks", value.len()));
    value
}
