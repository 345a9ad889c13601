//! The shortest list of changes that leads from the configuration to what the command line made of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::apply_change,
    core::model::{AdminState, Affinity, BackendSpec, Change, ClassChange, Scheduler, ServiceSpec},
};

/// Changes over a configuration that is not known here, folded: it grows with what differs, not with what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Overlay {
    /// Configured services that were removed.
    removed: BTreeSet<String>,
    /// Configured services that were changed, and are not removed.
    changed: BTreeMap<String, ServiceEdit>,
    /// Services that were added, as they are now.
    added: Vec<ServiceSpec>,
    /// QoS classes that were changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    classes: BTreeMap<String, ClassChange>,
}

/// Changes to a configured service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServiceEdit {
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler: Option<Scheduler>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity: Option<Affinity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity_timeout: Option<Duration>,
    /// Configured backends that were removed.
    removed: BTreeSet<String>,
    /// Configured backends that were changed, and are not removed.
    changed: BTreeMap<String, BackendEdit>,
    /// Backends that were added, as they are now.
    added: Vec<BackendSpec>,
}

/// Changes to a configured backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BackendEdit {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<AdminState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
}

impl Overlay {
    /// Folds a change in that was made.
    pub(super) fn record(&mut self, change: &Change) {
        let name = service_of(change);
        if self.added.iter().any(|service| service.name == *name) {
            // It was made, so it was not refused; and a refusal would leave everything as it is.
            apply_change(&mut self.added, change).ok();
            return;
        }
        match change {
            Change::AddService { service } => self.added.push(service.clone()),
            Change::RemoveService { service } => {
                self.changed.remove(service);
                self.removed.insert(service.clone());
            }
            Change::SetService { .. }
            | Change::AddBackend { .. }
            | Change::SetBackend { .. }
            | Change::RemoveBackend { .. } => self.changed.entry(name.clone()).or_default().record(change),
        }
        // A backend that was added and removed again leaves an edit that says nothing.
        self.changed.retain(|_, edit| *edit != ServiceEdit::default());
    }

    /// Folds a change of a QoS class in that was made.
    pub(super) fn record_class(&mut self, class: &str, change: &ClassChange) {
        self.classes.entry(class.to_owned()).or_default().then(change);
    }

    /// Keeps the changes of QoS classes that `fits` says.
    pub(super) fn retain_classes(&mut self, mut fits: impl FnMut(&str, &ClassChange) -> bool) {
        self.classes.retain(|class, change| fits(class, change));
    }

    /// What is said of everything but services.
    pub(super) fn without_services(&self) -> Self {
        Self { classes: self.classes.clone(), ..Self::default() }
    }

    /// The changes to apply, in this order, to the configured services.
    pub(super) fn changes(&self) -> Vec<Change> {
        let removed = self.removed.iter().map(|service| Change::RemoveService { service: service.clone() });
        let changed = self.changed.iter().flat_map(|(service, edit)| edit.changes(service));
        let added = self.added.iter().map(|service| Change::AddService { service: service.clone() });
        removed.chain(changed).chain(added).collect()
    }
}

impl ServiceEdit {
    fn record(&mut self, change: &Change) {
        match change {
            Change::SetService { service: _, scheduler, affinity, affinity_timeout } => {
                self.scheduler = scheduler.or(self.scheduler);
                self.affinity = affinity.or(self.affinity);
                self.affinity_timeout = affinity_timeout.or(self.affinity_timeout);
            }
            Change::AddBackend { service: _, backend } => self.added.push(backend.clone()),
            Change::SetBackend { service: _, backend, state, weight } => match self.find_added(backend) {
                Some(added) => {
                    added.state = state.unwrap_or(added.state);
                    added.weight = weight.unwrap_or(added.weight);
                }
                None => {
                    let edit = self.changed.entry(backend.clone()).or_default();
                    edit.state = state.or(edit.state);
                    edit.weight = weight.or(edit.weight);
                }
            },
            Change::RemoveBackend { service: _, backend, force: _ } => {
                if self.find_added(backend).is_some() {
                    self.added.retain(|added| added.name != *backend);
                } else {
                    self.changed.remove(backend);
                    self.removed.insert(backend.clone());
                }
            }
            // These are about a service as a whole.
            Change::AddService { .. } | Change::RemoveService { .. } => {}
        }
    }

    fn find_added(&mut self, name: &str) -> Option<&mut BackendSpec> {
        self.added.iter_mut().find(|added| added.name == name)
    }

    fn changes(&self, service: &str) -> Vec<Change> {
        let Self { scheduler, affinity, affinity_timeout, removed, changed, added } = self.clone();
        let name = || service.to_owned();
        let rules = (scheduler.is_some() || affinity.is_some() || affinity_timeout.is_some())
            .then(|| Change::SetService { service: name(), scheduler, affinity, affinity_timeout });
        // Removals first: what is added may have the name or address of what is gone.
        let removed =
            removed.into_iter().map(|backend| Change::RemoveBackend { service: name(), backend, force: true });
        let changed = changed.into_iter().map(|(backend, BackendEdit { state, weight })| Change::SetBackend {
            service: name(),
            backend,
            state,
            weight,
        });
        let added = added.into_iter().map(|backend| Change::AddBackend { service: name(), backend });
        rules.into_iter().chain(removed).chain(changed).chain(added).collect()
    }
}

fn service_of(change: &Change) -> &String {
    match change {
        Change::AddService { service } => &service.name,
        Change::SetService { service, .. }
        | Change::RemoveService { service }
        | Change::AddBackend { service, .. }
        | Change::SetBackend { service, .. }
        | Change::RemoveBackend { service, .. } => service,
    }
}
