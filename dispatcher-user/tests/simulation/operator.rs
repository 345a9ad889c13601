//! What operators and the network change.

use std::time::Duration;

use dispatcher_user::core::model::{AdminState, Affinity, Change};

use crate::{
    oracle,
    profile::{self, SCHEDULERS},
    world::World,
};

impl World {
    /// Somebody changes something.
    pub(crate) fn operate(&mut self) {
        if self.dice.once_in(2) {
            return self.change_network();
        }
        if self.dice.once_in(10) {
            return self.remove_flow();
        }
        // The daemon answers when it is done with what it has in hand.
        if self.daemon.as_ref().is_none_or(|daemon| daemon.is_busy()) {
            return;
        }
        let Some(change) = self.some_change() else { return };
        let Some(mut daemon) = self.daemon.take() else { return };
        let is_made = daemon.change(self.now_ns, change.clone(), &self.tables).is_ok();
        self.services = daemon.core.services();
        self.daemon = Some(daemon);
        self.tell(|| format!("{change:?}, made: {is_made}"));
        if is_made {
            match change {
                Change::AddService { .. } | Change::RemoveService { .. } => self.services_changed = true,
                // The kernel may pick by the ring now, whatever is on its way up; or ask the daemon while it did not.
                Change::SetService { .. } => self.rules_change = true,
                // Its flows' entries count again once it leaves maintenance, whatever went up meanwhile.
                Change::SetBackend { .. } => self.oracle.flows.iter_mut().for_each(|flow| flow.may_reorder = true),
                Change::AddBackend { .. } | Change::RemoveBackend { .. } => {}
            }
        }
        self.check_counters();
    }

    fn change_network(&mut self) {
        let addresses: Vec<std::net::IpAddr> = self.network.keys().copied().collect();
        let Some(&address) = self.dice.choose(&addresses) else { return };
        let version = u8::try_from(self.dice.below(3)).unwrap();
        let hop = (!self.dice.once_in(3)).then(|| self.hop(address, version));
        self.network.insert(address, hop);
    }

    fn some_change(&mut self) -> Option<Change> {
        let number = u8::try_from(self.dice.below(3)).unwrap();
        if self.dice.once_in(12) {
            return Some(Change::AddService { service: profile::service(&mut self.dice, number) });
        }
        let spec = self.dice.choose(&self.services)?.clone();
        let service = spec.name.clone();
        if self.dice.once_in(30) {
            return Some(Change::RemoveService { service });
        }
        let index = u8::try_from(self.dice.below(5)).unwrap();
        let backend = format!("b{index}");
        Some(match self.dice.below(8) {
            0 => {
                let backend = profile::backend(&mut self.dice, &spec, index);
                let hop = self.hop(backend.address.ip(), 0);
                self.network.entry(backend.address.ip()).or_insert(Some(hop));
                Change::AddBackend { service, backend }
            }
            1 => Change::RemoveBackend { service, backend, force: self.dice.once_in(2) },
            2 => Change::SetService {
                service,
                scheduler: self.dice.choose(&SCHEDULERS).copied(),
                affinity: self.dice.choose(&[Affinity::None, Affinity::ClientIp]).copied(),
                affinity_timeout: Some(Duration::from_secs(1 + self.dice.below(600))),
            },
            _ => Change::SetBackend {
                service,
                backend,
                state: self
                    .dice
                    .choose(&[AdminState::Ready, AdminState::Ready, AdminState::Drain, AdminState::Maint])
                    .copied(),
                weight: self.dice.choose(&[0, 1, 2, 5]).copied(),
            },
        })
    }

    /// Somebody removes a flow's entry, of the client's direction alone.
    fn remove_flow(&mut self) {
        let keys: Vec<_> = self.oracle.flows.iter().map(|flow| oracle::key(&flow.tuple)).collect();
        let Some(&key) = self.dice.choose(&keys) else { return };
        self.tell(|| format!("the entry of {key:?} is removed"));
        self.tables.flows4.borrow_mut().remove(&crate::tables::shrunk(&key));
        self.tables.flows6.borrow_mut().remove(&key);
        self.oracle.forget(&key);
    }
}
