//! Takes over the tables that a former daemon left, so that its flows live on.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use dispatcher_common::{
    backend::{Backend, state},
    client::ClientKey,
    service::{self, ServiceKey},
    table::MAX_SERVICES,
};

use super::{Dispatcher, Settings};
use crate::core::{
    entry,
    event::Command,
    lookup::Nothing,
    model::{BackendSpec, Refusal, ServiceSpec},
    services::Service,
};

/// What a former daemon left in the tables.
#[derive(Clone, Debug, Default)]
pub struct Adopted {
    /// All entries of `dsp_services`.
    pub services: Vec<(ServiceKey, service::Service)>,
    /// All rows of `dsp_backends` that are not zero, vacant ones too: they remember generations.
    pub backends: Vec<(u16, Backend)>,
    /// All keys of `dsp_locks`.
    pub locks: Vec<ClientKey>,
}

impl Dispatcher {
    /// Starts with `services`, over tables in which a former daemon may have left something.
    ///
    /// A service that has the same VIP, port and protocol as one in the tables keeps its ID; a backend of such a service
    /// keeps its ID if address and port are the same. So their flows live on. Everything else in the tables that belongs
    /// to none of `services` is removed, and so are all locks. With nothing adopted this is [`Self::new`] and a
    /// [`Change::AddService`](crate::core::model::Change::AddService) for each.
    ///
    /// # Errors
    /// As for [`Change::AddService`](crate::core::model::Change::AddService); there are no commands then.
    pub fn adopt(
        settings: Settings,
        now_ns: u64,
        adopted: Adopted,
        services: Vec<ServiceSpec>,
        commands: &mut Vec<Command>,
    ) -> Result<Self, Refusal> {
        let start = commands.len();
        let mut dispatcher = Self::new(settings);
        let outcome = dispatcher.take_over(now_ns, &adopted, services, commands);
        if outcome.is_err() {
            commands.truncate(start);
        }
        outcome.map(|()| dispatcher)
    }

    fn take_over(
        &mut self,
        now_ns: u64,
        adopted: &Adopted,
        services: Vec<ServiceSpec>,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let kept = kept_services(adopted, &services);
        commands.extend(adopted.locks.iter().map(|&lock| Command::RemoveLock(lock)));
        let gone = adopted.services.iter().map(|&(key, _)| key).filter(|key| !kept.contains_key(key));
        commands.extend(gone.map(Command::RemoveService));
        let ids: HashSet<u16> = kept.values().map(|entry| entry.id).collect();
        self.services.reserve(|id| ids.contains(&id));
        self.backends.adopt(now_ns, &adopted.backends);
        for id in orphans(adopted, &kept, &services) {
            self.backends.vacate(id);
            commands.push(Command::WriteBackend(id, self.backends.entry(id).copied().unwrap_or_default()));
        }
        for spec in services {
            self.take_over_service(now_ns, &kept, spec, commands)?;
        }
        Ok(())
    }

    fn take_over_service(
        &mut self,
        now_ns: u64,
        kept: &HashMap<ServiceKey, service::Service>,
        spec: ServiceSpec,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        self.validate_service(&spec)?;
        let former = kept.get(&entry::service_key(spec.vip, spec.protocol));
        let is_new = |address: SocketAddr| former.is_none_or(|former| self.backends.find(former.id, address).is_none());
        let new_backends = spec.backends.iter().filter(|backend| is_new(backend.address)).count();
        self.validate_room(usize::from(former.is_none()), new_backends)?;
        let Some(id) = former.map(|former| former.id).or_else(|| self.services.allocate()) else { return Ok(()) };
        let service = Service::new(id, spec.clone(), former.map(|former| former.ring), self.seed_for(id));
        // Nothing waits yet that could be placed by what the tables hold.
        self.install(&mut self.moment(now_ns, &Nothing), service, spec.backends, commands);
        Ok(())
    }
}

/// The entries of services that are still wanted. One whose ID makes no sense, or is another's, is given a new one.
fn kept_services(adopted: &Adopted, wanted: &[ServiceSpec]) -> HashMap<ServiceKey, service::Service> {
    let wanted: HashSet<ServiceKey> = wanted.iter().map(|spec| entry::service_key(spec.vip, spec.protocol)).collect();
    let mut ids = HashSet::new();
    let sensible = |entry: &service::Service| usize::from(entry.id) < MAX_SERVICES;
    let mut kept = HashMap::new();
    for &(key, entry) in adopted.services.iter().filter(|(key, entry)| wanted.contains(key) && sensible(entry)) {
        if ids.insert(entry.id) {
            kept.insert(key, entry);
        }
    }
    kept
}

/// The IDs of backends that no wanted service has any more, and of those that are there twice.
fn orphans(adopted: &Adopted, kept: &HashMap<ServiceKey, service::Service>, wanted: &[ServiceSpec]) -> Vec<u16> {
    let mut places = HashSet::new();
    for spec in wanted {
        if let Some(service) = kept.get(&entry::service_key(spec.vip, spec.protocol)) {
            let address = |backend: &BackendSpec| (entry::mapped(backend.address.ip()), backend.address.port());
            places.extend(spec.backends.iter().map(address).map(|(addr, port)| (service.id, addr, port)));
        }
    }
    let mut orphans = Vec::new();
    for (id, row) in adopted.backends.iter().filter(|(_, row)| row.state != state::VACANT) {
        if !places.remove(&(row.service, row.addr, row.port)) {
            orphans.push(*id);
        }
    }
    orphans
}
