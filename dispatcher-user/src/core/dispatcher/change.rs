//! Changes that an operator asks for: checked whole, then made whole.

use dispatcher_common::backend::Backend;

use super::{Dispatcher, place::Reason, validate::validate_backend};
use crate::core::{
    ahead::Moment,
    event::Command,
    lookup::Lookup,
    model::{AdminState, BackendSpec, Change, Refusal, ServiceSpec},
    services::{Member, Service},
};

impl Dispatcher {
    /// Makes a change, or refuses it: then nothing has changed and there are no commands.
    ///
    /// # Errors
    /// The first rule that the change would break.
    pub fn change(
        &mut self,
        now_ns: u64,
        change: Change,
        tables: &dyn Lookup,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let moment = &mut self.moment(now_ns, tables);
        match change {
            Change::AddService { service } => self.add_service(moment, service, commands),
            Change::RemoveService { service } => self.remove_service(&service, commands),
            Change::AddBackend { service, backend } => self.add_backend(moment, &service, backend, commands),
            Change::SetBackend { service, backend, state, weight } => {
                let (service, member) = self.member_named(&service, &backend)?;
                let old = &member.spec;
                let (weight, state) = (weight.unwrap_or(old.weight), state.unwrap_or(old.state));
                let ids = (service.id, member.id);
                self.set_backend(moment, ids, BackendSpec { weight, state, ..old.clone() }, commands);
                Ok(())
            }
            Change::RemoveBackend { service, backend, force } => {
                self.remove_backend(moment, (&service, &backend), force, commands)
            }
            Change::SetService { service, scheduler, affinity, affinity_timeout } => {
                let found = self.service_named(&service)?;
                found.spec.check_affinity(affinity.unwrap_or(found.spec.affinity))?;
                if found.spec.secure.is_some() && affinity_timeout.is_some() {
                    return Err(Refusal::SecureTimeout);
                }
                let id = found.id;
                if let Some(service) = self.services.find_mut(id) {
                    let spec = &mut service.spec;
                    spec.scheduler = scheduler.unwrap_or(spec.scheduler);
                    spec.affinity = affinity.unwrap_or(spec.affinity);
                    spec.affinity_timeout = affinity_timeout.unwrap_or(spec.affinity_timeout);
                    commands.push(Command::WriteService(service.key, service.entry()));
                }
                Ok(())
            }
        }
    }

    fn add_service(
        &mut self,
        moment: &mut Moment<'_>,
        spec: ServiceSpec,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        self.validate_service(&spec)?;
        self.validate_room(1, spec.backends.len())?;
        if let Some(id) = self.services.allocate() {
            self.install(moment, Service::new(id, spec.clone(), None, self.seed_for(id)), spec.backends, commands);
        }
        Ok(())
    }

    /// Puts a service in force, with backends that were checked.
    pub(super) fn install(
        &mut self,
        moment: &mut Moment<'_>,
        service: Service,
        backends: Vec<BackendSpec>,
        commands: &mut Vec<Command>,
    ) {
        let id = service.id;
        self.services.insert(service);
        for backend in backends {
            let adopted = self.backends.find(id, backend.address);
            self.install_backend(moment, id, backend, adopted, commands);
        }
        self.refresh(moment, id, 0, commands);
    }

    /// Gives a backend an ID, or the one `adopted` that it had under a former daemon, and writes its row.
    fn install_backend(
        &mut self,
        moment: &mut Moment<'_>,
        service: u16,
        spec: BackendSpec,
        adopted: Option<u16>,
        commands: &mut Vec<Command>,
    ) {
        let allocated = adopted.or_else(|| self.backends.allocate(moment.ns, service, &spec));
        let (Some(id), Some(of)) = (allocated, self.services.find_mut(service)) else { return };
        let Some(row) = self.backends.row_mut(id) else { return };
        row.configure(service, &spec);
        let address = spec.address.ip();
        if self.neighbours.join(address, id) {
            commands.push(Command::Follow(address));
        }
        if let Some(hop) = row.hop() {
            self.neighbours.recall(address, hop);
        }
        if let Some(neighbour) = self.neighbours.find(address) {
            row.reach(neighbour);
        }
        commands.push(Command::WriteBackend(id, row.entry));
        of.members.push(Member { id, spec });
    }

    fn remove_service(&mut self, name: &str, commands: &mut Vec<Command>) -> Result<(), Refusal> {
        let (id, key) = self.service_named(name).map(|service| (service.id, service.key))?;
        // No packet is looked up for it any more before its backends go.
        commands.push(Command::RemoveService(key));
        self.give_up(id, u64::MAX, Reason::NoService, commands);
        for member in self.services.remove(id).map(|service| service.members).unwrap_or_default() {
            self.vacate(&member, commands);
        }
        Ok(())
    }

    fn add_backend(
        &mut self,
        moment: &mut Moment<'_>,
        service: &str,
        spec: BackendSpec,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let found = self.service_named(service)?;
        validate_backend(&found.spec, &spec, found.members.iter().map(|member| &member.spec))?;
        self.validate_room(0, 1)?;
        let id = found.id;
        self.install_backend(moment, id, spec, None, commands);
        self.refresh(moment, id, 0, commands);
        Ok(())
    }

    fn set_backend(
        &mut self,
        moment: &mut Moment<'_>,
        ids: (u16, u16),
        spec: BackendSpec,
        commands: &mut Vec<Command>,
    ) {
        let (service, id) = ids;
        if let Some(row) = self.backends.row_mut(id) {
            row.configure(service, &spec);
            commands.push(Command::WriteBackend(id, row.entry));
        }
        let members = self.services.find_mut(service).map(|service| service.members.as_mut_slice());
        if let Some(member) = members.unwrap_or_default().iter_mut().find(|member| member.id == id) {
            member.spec = spec;
        }
        self.refresh(moment, service, 0, commands);
    }

    fn remove_backend(
        &mut self,
        moment: &mut Moment<'_>,
        (service, backend): (&str, &str),
        force: bool,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let (found, member) = self.member_named(service, backend)?;
        let (id, member) = (found.id, member.clone());
        let flows = self.backends.row(member.id).map_or(0, |row| row.live);
        // One in maintenance gets no packets, whatever flows were counted before.
        if flows > 0 && !force && member.spec.state != AdminState::Maint {
            return Err(Refusal::Busy { service: service.to_owned(), backend: backend.to_owned(), flows });
        }
        if let Some(found) = self.services.find_mut(id) {
            found.members.retain(|other| other.id != member.id);
        }
        self.vacate(&member, commands);
        self.refresh(moment, id, 0, commands);
        Ok(())
    }

    /// Takes a backend's row away. From this write on its flows are stale and it gets no packet.
    fn vacate(&mut self, member: &Member, commands: &mut Vec<Command>) {
        self.backends.vacate(member.id);
        let entry: Backend = self.backends.entry(member.id).copied().unwrap_or_default();
        commands.push(Command::WriteBackend(member.id, entry));
        let address = member.spec.address.ip();
        if self.neighbours.leave(address, member.id) {
            commands.push(Command::Unfollow(address));
        }
    }

    /// A seed for the service `id`, so that services do not draw alike.
    pub(super) fn seed_for(&self, id: u16) -> u64 {
        self.settings.seed.wrapping_add(u64::from(id))
    }
}
