//! The rules that services and backends keep.

use std::net::SocketAddr;

use dispatcher_common::{
    address::is_mapped_v4,
    table::{MAX_BACKENDS, MAX_SERVICES},
};

use super::Dispatcher;
use crate::core::{
    entry,
    model::{BackendSpec, Forward, Protocol, Refusal, ServiceSpec},
    services::{Member, Service},
};

impl Dispatcher {
    /// Checks that a service, with its backends, can be added.
    pub(super) fn validate_service(&self, spec: &ServiceSpec) -> Result<(), Refusal> {
        if self.services.named(&spec.name).is_some() {
            return Err(Refusal::ServiceExists(spec.name.clone()));
        }
        spec.check_mode()?;
        for (index, (vip, protocol)) in spec.listeners().enumerate() {
            let key = entry::service_key(vip, protocol);
            let own = spec.listeners().take(index).map(|listener| (listener, spec));
            let others = self.services.iter().map(|service| &service.spec);
            let others = others.flat_map(|held| held.listeners().map(move |listener| (listener, held)));
            let held = |((vip, protocol), _): &((SocketAddr, Protocol), _)| entry::service_key(*vip, *protocol) == key;
            if let Some((_, holder)) = own.chain(others).find(held) {
                return Err(Refusal::VipTaken { holder: holder.name.clone(), vip, protocol });
            }
        }
        for (index, backend) in spec.backends.iter().enumerate() {
            validate_backend(spec, backend, spec.backends.iter().take(index))?;
        }
        Ok(())
    }

    /// Checks that there is room for so many services and backends more.
    pub(super) fn validate_room(&self, services: usize, backends: usize) -> Result<(), Refusal> {
        if services > self.services.room() {
            return Err(Refusal::Full { what: "services", capacity: MAX_SERVICES });
        }
        if backends > self.backends.room() {
            return Err(Refusal::Full { what: "backends", capacity: MAX_BACKENDS });
        }
        Ok(())
    }

    /// The service of that name.
    pub(super) fn service_named(&self, name: &str) -> Result<&Service, Refusal> {
        self.services.named(name).ok_or_else(|| Refusal::NoSuchService(name.to_owned()))
    }

    /// The service of that name, and its backend of that name.
    pub(super) fn member_named(&self, service: &str, backend: &str) -> Result<(&Service, &Member), Refusal> {
        let found = self.service_named(service)?;
        let missing = || Refusal::NoSuchBackend { service: service.to_owned(), backend: backend.to_owned() };
        Ok((found, found.member(backend).ok_or_else(missing)?))
    }
}

/// Checks that a backend can be added to a service that has `others`.
pub(super) fn validate_backend<'a>(
    service: &ServiceSpec,
    backend: &BackendSpec,
    others: impl Iterator<Item = &'a BackendSpec>,
) -> Result<(), Refusal> {
    let family = |address: SocketAddr| is_mapped_v4(&entry::mapped(address.ip()));
    let place = |address: SocketAddr| (entry::mapped(address.ip()), address.port());
    for other in others {
        if other.name == backend.name {
            return Err(Refusal::BackendExists { service: service.name.clone(), backend: backend.name.clone() });
        }
        if place(other.address) == place(backend.address) {
            let (service, holder) = (service.name.clone(), other.name.clone());
            return Err(Refusal::AddressTaken { service, holder, address: backend.address });
        }
    }
    if family(backend.address) != family(service.vip) {
        return Err(Refusal::FamilyMismatch { backend: backend.address.ip(), vip: service.vip.ip() });
    }
    if service.forward == Forward::Dsr && backend.address.port() != service.vip.port() {
        return Err(Refusal::PortMismatch { backend: backend.address.port(), vip: service.vip.port() });
    }
    Ok(())
}
