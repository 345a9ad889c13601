//! What a change does to a list of services.

use std::net::SocketAddr;

use dispatcher_common::table::{MAX_BACKENDS, MAX_SERVICES};

use crate::core::model::{BackendSpec, Change, Forward, Refusal, ServiceSpec};

/// Applies a change. If it is refused, nothing has changed.
///
/// Live flows are not known here: removing a backend that has some is not refused.
///
/// # Errors
/// The first rule that the change would break.
pub fn apply_change(services: &mut Vec<ServiceSpec>, change: &Change) -> Result<(), Refusal> {
    match change {
        Change::AddService { service } => add_service(services, service),
        Change::SetService { service, scheduler, affinity, affinity_timeout } => {
            let service = find(services, service)?;
            service.check_affinity(affinity.unwrap_or(service.affinity))?;
            if service.secure.is_some() && affinity_timeout.is_some() {
                return Err(Refusal::SecureTimeout);
            }
            service.scheduler = scheduler.unwrap_or(service.scheduler);
            service.affinity = affinity.unwrap_or(service.affinity);
            service.affinity_timeout = affinity_timeout.unwrap_or(service.affinity_timeout);
            Ok(())
        }
        Change::RemoveService { service } => {
            let name = find(services, service)?.name.clone();
            services.retain(|service| service.name != name);
            Ok(())
        }
        Change::AddBackend { service, backend } => {
            let count = services.iter().map(|service| service.backends.len()).sum::<usize>();
            let service = find(services, service)?;
            check_backend(service, &service.backends, backend)?;
            check_room(count + 1)?;
            service.backends.push(backend.clone());
            Ok(())
        }
        Change::SetBackend { service, backend, state, weight } => {
            let backend = find_backend(find(services, service)?, backend)?;
            backend.state = state.unwrap_or(backend.state);
            backend.weight = weight.unwrap_or(backend.weight);
            Ok(())
        }
        Change::RemoveBackend { service, backend, force: _ } => {
            let service = find(services, service)?;
            let name = find_backend(service, backend)?.name.clone();
            service.backends.retain(|backend| backend.name != name);
            Ok(())
        }
    }
}

fn add_service(services: &mut Vec<ServiceSpec>, new: &ServiceSpec) -> Result<(), Refusal> {
    if services.iter().any(|service| service.name == new.name) {
        return Err(Refusal::ServiceExists(new.name.clone()));
    }
    new.check_mode()?;
    check_listeners(services, new)?;
    if services.len() >= MAX_SERVICES {
        return Err(Refusal::Full { what: "services", capacity: MAX_SERVICES });
    }
    let mut before: Vec<BackendSpec> = Vec::with_capacity(new.backends.len());
    for backend in &new.backends {
        check_backend(new, &before, backend)?;
        before.push(backend.clone());
    }
    check_room(services.iter().chain([new]).map(|service| service.backends.len()).sum())?;
    services.push(new.clone());
    Ok(())
}

/// Checks that nobody listens where `new` would, and that it does so itself but once.
fn check_listeners(services: &[ServiceSpec], new: &ServiceSpec) -> Result<(), Refusal> {
    for (index, (vip, protocol)) in new.listeners().enumerate() {
        let own = new.listeners().take(index).map(|listener| (listener, new));
        let others = services.iter().flat_map(|held| held.listeners().map(move |listener| (listener, held)));
        if let Some((_, holder)) = own.chain(others).find(|(listener, _)| *listener == (vip, protocol)) {
            return Err(Refusal::VipTaken { holder: holder.name.clone(), vip, protocol });
        }
    }
    Ok(())
}

/// Checks that `new` may stand beside `others` in `service`.
fn check_backend(service: &ServiceSpec, others: &[BackendSpec], new: &BackendSpec) -> Result<(), Refusal> {
    let name = || service.name.clone();
    if others.iter().any(|other| other.name == new.name) {
        return Err(Refusal::BackendExists { service: name(), backend: new.name.clone() });
    }
    if let Some(holder) = others.iter().find(|other| other.address == new.address) {
        let holder = holder.name.clone();
        return Err(Refusal::AddressTaken { service: name(), holder, address: new.address });
    }
    check_address(service, new.address)
}

/// Checks that packets to the service's VIP can be sent on to `address`.
fn check_address(service: &ServiceSpec, address: SocketAddr) -> Result<(), Refusal> {
    let vip = service.vip;
    if address.is_ipv4() != vip.is_ipv4() {
        return Err(Refusal::FamilyMismatch { backend: address.ip(), vip: vip.ip() });
    }
    match service.forward {
        Forward::Dsr if address.port() != vip.port() => {
            Err(Refusal::PortMismatch { backend: address.port(), vip: vip.port() })
        }
        Forward::Dsr | Forward::Nat => Ok(()),
    }
}

fn check_room(backends: usize) -> Result<(), Refusal> {
    if backends <= MAX_BACKENDS { Ok(()) } else { Err(Refusal::Full { what: "backends", capacity: MAX_BACKENDS }) }
}

fn find<'a>(services: &'a mut [ServiceSpec], name: &str) -> Result<&'a mut ServiceSpec, Refusal> {
    let found = services.iter_mut().find(|service| service.name == name);
    found.ok_or_else(|| Refusal::NoSuchService(name.to_owned()))
}

fn find_backend<'a>(service: &'a mut ServiceSpec, name: &str) -> Result<&'a mut BackendSpec, Refusal> {
    let ServiceSpec { name: service, backends, .. } = service;
    let found = backends.iter_mut().find(|backend| backend.name == name);
    found.ok_or_else(|| Refusal::NoSuchBackend { service: service.clone(), backend: name.to_owned() })
}
