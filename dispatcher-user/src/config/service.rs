//! Reads the services of a configuration file and their backends, and checks that they can stand beside each other.

use std::{ops::Range, time::Duration};

use super::{
    apply_change,
    document::{Faults, Schema, Section},
    files::Files,
    problem::Problem,
    rules::{check_name, parse_address, parse_affinity_timeout, weight},
    secure,
    words::{ServiceMode, Word},
};
use crate::core::model::{
    AdminState, Affinity, BackendSpec, Change, Forward, Refusal, Scheduler, SecureSpec, ServiceSpec,
};

pub(super) const SERVICE: Schema = Schema {
    name: "[[service]]",
    keys: &[
        "name",
        "vip",
        "protocol",
        "mode",
        "scheduler",
        "forward",
        "affinity",
        "affinity_timeout",
        "tls",
        "session",
        "secure",
        "tunnels",
        "limits",
        "redirect",
        "proxy_protocol_from",
        "window",
        "backend",
    ],
    not_built: &[("health", "health"), ("consistency", "consistency")],
};
const BACKEND: Schema =
    Schema { name: "[[service.backend]]", keys: &["name", "address", "weight", "state"], not_built: &[] };

/// How long a client is remembered unless told otherwise.
pub(crate) const DEFAULT_AFFINITY_TIMEOUT: Duration = Duration::from_secs(600);
/// A backend's weight unless told otherwise.
pub(crate) const DEFAULT_WEIGHT: u16 = 100;

/// Reads services; what is wrong with one is left out of the result and told.
pub(super) fn read_services(sections: &[Section<'_, '_>], files: &mut Files, faults: &mut Faults) -> Vec<ServiceSpec> {
    let mut services = Vec::new();
    for section in sections {
        let read = read_service(section, files, faults);
        let backends: Vec<PlacedBackend> =
            section.sections("backend", &BACKEND, faults).iter().filter_map(|it| read_backend(it, faults)).collect();
        if let Some(service) = read {
            add(&mut services, section, service, backends, faults);
        }
    }
    services
}

/// A service without its backends.
struct PlacedService {
    spec: ServiceSpec,
    name: Range<usize>,
    vip: Range<usize>,
}

struct PlacedBackend {
    spec: BackendSpec,
    name: Range<usize>,
    address: Range<usize>,
}

fn read_service(section: &Section<'_, '_>, files: &mut Files, faults: &mut Faults) -> Option<PlacedService> {
    // Everything is looked at before anything is given up, so that one look tells all.
    let name = section.required("name", "\"web\"", faults, |text| check_name(text).map(|()| text.to_owned()));
    let vip = section.required("vip", "\"203.0.113.10:80\"", faults, parse_address);
    let protocol = section.required("protocol", "\"tcp\"", faults, Word::named);
    let mode = section.word("mode", faults).unwrap_or(ServiceMode::Packet);
    let scheduler = section.word("scheduler", faults).unwrap_or(Scheduler::Rr);
    let forward = section.word("forward", faults).unwrap_or(Forward::Nat);
    let affinity = section.word("affinity", faults).unwrap_or(Affinity::None);
    let timeout = section.parsed("affinity_timeout", faults, parse_affinity_timeout);
    let secure = read_mode(section, mode, files, faults);
    let (name, vip) = (name?, vip?);
    let spec = ServiceSpec {
        name: name.value,
        vip: vip.value,
        protocol: protocol?.value,
        scheduler,
        forward,
        affinity,
        affinity_timeout: timeout.map_or(DEFAULT_AFFINITY_TIMEOUT, |timeout| timeout.value),
        secure: secure?,
        backends: Vec::new(),
    };
    Some(PlacedService { spec, name: name.span, vip: vip.span })
}

/// Reads what belongs to the service's mode alone; keys of the other mode are faults. `None` if something lacks.
#[expect(clippy::option_option, reason = "whether it was read, and whether there is anything to read")]
fn read_mode(
    section: &Section<'_, '_>,
    mode: ServiceMode,
    files: &mut Files,
    faults: &mut Faults,
) -> Option<Option<Box<SecureSpec>>> {
    let (others, is_secure): (&[&'static str], bool) = match mode {
        ServiceMode::Packet => (&secure::KEYS, true),
        ServiceMode::Secure => (&["affinity_timeout"], false),
    };
    for &key in others {
        if let Some(span) = section.key_span(key) {
            faults.add(&span, Problem::OtherMode { key, is_secure });
        }
    }
    match mode {
        ServiceMode::Packet => Some(None),
        ServiceMode::Secure => secure::read(section, files, faults).map(Some),
    }
}

fn read_backend(section: &Section<'_, '_>, faults: &mut Faults) -> Option<PlacedBackend> {
    let name = section.required("name", "\"b1\"", faults, |text| check_name(text).map(|()| text.to_owned()));
    let address = section.required("address", "\"10.77.1.11:8080\"", faults, parse_address);
    let share = section.number("weight", faults).and_then(|number| faults.check(&number.span, weight(number.value)));
    let state = section.word("state", faults).unwrap_or(AdminState::Ready);
    let (name, address) = (name?, address?);
    let spec = BackendSpec { name: name.value, address: address.value, weight: share.unwrap_or(DEFAULT_WEIGHT), state };
    Some(PlacedBackend { spec, name: name.span, address: address.span })
}

/// Adds a service and its backends by the rules that the command line's changes go by.
fn add(
    services: &mut Vec<ServiceSpec>,
    section: &Section<'_, '_>,
    service: PlacedService,
    backends: Vec<PlacedBackend>,
    faults: &mut Faults,
) {
    let spec = service.spec.clone();
    let mut alone = Vec::new();
    let added = apply_change(services, &Change::AddService { service: spec.clone() });
    let target = match added {
        Ok(()) => services,
        Err(refusal) => {
            faults.add(&place_of(&refusal, section, &service), refusal);
            // Its backends can still be held against it.
            alone.push(spec.clone());
            &mut alone
        }
    };
    for PlacedBackend { spec: backend, name, address } in backends {
        let change = Change::AddBackend { service: spec.name.clone(), backend };
        if let Err(refusal) = apply_change(target, &change) {
            let is_name = matches!(refusal, Refusal::BackendExists { .. } | Refusal::Full { .. });
            faults.add(if is_name { &name } else { &address }, refusal);
        }
    }
}

/// Where the key stands that a refusal is about.
fn place_of(refusal: &Refusal, section: &Section<'_, '_>, service: &PlacedService) -> Range<usize> {
    let key = |key| section.key_span(key).unwrap_or_else(|| service.name.clone());
    match refusal {
        Refusal::VipTaken { vip, .. } if *vip == service.spec.vip => service.vip.clone(),
        Refusal::VipTaken { .. } | Refusal::RedirectAddress { .. } => key("redirect"),
        Refusal::SecureUdp => key("protocol"),
        Refusal::SecureForward => key("forward"),
        Refusal::AffinityOfOtherMode { .. } => key("affinity"),
        Refusal::SecureTimeout => key("affinity_timeout"),
        Refusal::ServiceExists(_)
        | Refusal::NoSuchService(_)
        | Refusal::NoSuchBackend { .. }
        | Refusal::BackendExists { .. }
        | Refusal::AddressTaken { .. }
        | Refusal::FamilyMismatch { .. }
        | Refusal::PortMismatch { .. }
        | Refusal::Busy { .. }
        | Refusal::Full { .. } => service.name.clone(),
    }
}
