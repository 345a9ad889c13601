//! Services by ID, each with its backends, its scheduler's memory, its ring and the packets that wait for it.

use std::collections::VecDeque;

use dispatcher_common::{
    ring::{EMPTY, Ring, SLOTS},
    service::{self, ServiceKey, flags, mode},
    table::MAX_SERVICES,
};

use super::{
    backends::Backends,
    balancer::Balancer,
    entry,
    event::Command,
    maglev::{self, Entrant},
    model::{Affinity, BackendSpec, ServiceSpec},
    waiting::Waiting,
};

/// How long a ring stays at least, unless an operator wants another: filling one takes about a millisecond, and a link
/// that fails loses many neighbours at once. The kernel checks the backend that a slot leads to in any case.
pub(super) const RING_INTERVAL_NS: u64 = 20_000_000;

/// All services. IDs are indices.
#[derive(Debug)]
pub(super) struct Services {
    slots: Vec<Option<Service>>,
    /// The longest free first, so that what still names a former service has time to vanish.
    free: VecDeque<u16>,
}

/// A service.
#[derive(Debug)]
pub(super) struct Service {
    /// Service ID.
    pub(super) id: u16,
    /// What a packet to it carries.
    pub(super) key: ServiceKey,
    /// What the operator wants; its backends are in `members`.
    pub(super) spec: ServiceSpec,
    /// Its backends, in the order in which they were added.
    pub(super) members: Vec<Member>,
    /// Its scheduler's memory.
    pub(super) balancer: Balancer,
    /// The packets that wait for it.
    pub(super) waiting: Waiting,
    /// The ring in force.
    pub(super) ring: Box<Ring>,
    /// Where that is in `dsp_rings`; `None` before the first.
    pub(super) ring_row: Option<u16>,
    ring_is_stale: bool,
    ring_written_ns: u64,
}

/// A backend of a service.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Backend ID.
    pub(super) id: u16,
    /// What the operator wants.
    pub(super) spec: BackendSpec,
}

impl Services {
    /// No services.
    pub(super) fn new() -> Self {
        let ids = (0..).take(MAX_SERVICES);
        Self { slots: (0..MAX_SERVICES).map(|_| None).collect(), free: ids.collect() }
    }

    /// Keeps `ids` from being given out.
    pub(super) fn reserve(&mut self, ids: impl Fn(u16) -> bool) {
        self.free.retain(|&id| !ids(id));
    }

    /// Takes the ID that is free for the longest time; `None` if all are taken.
    pub(super) fn allocate(&mut self) -> Option<u16> {
        self.free.pop_front()
    }

    /// How many more services there is room for.
    pub(super) fn room(&self) -> usize {
        self.free.len()
    }

    /// Puts a service in its slot.
    pub(super) fn insert(&mut self, service: Service) {
        if let Some(slot) = self.slots.get_mut(usize::from(service.id)) {
            *slot = Some(service);
        }
    }

    /// Takes a service out and frees its ID.
    pub(super) fn remove(&mut self, id: u16) -> Option<Service> {
        let service = self.slots.get_mut(usize::from(id))?.take()?;
        self.free.push_back(id);
        Some(service)
    }

    /// A service by ID.
    pub(super) fn find(&self, id: u16) -> Option<&Service> {
        self.slots.get(usize::from(id))?.as_ref()
    }

    /// A service by ID, to be changed.
    pub(super) fn find_mut(&mut self, id: u16) -> Option<&mut Service> {
        self.slots.get_mut(usize::from(id))?.as_mut()
    }

    /// A service by name.
    pub(super) fn named(&self, name: &str) -> Option<&Service> {
        self.iter().find(|service| service.spec.name == name)
    }

    /// All services by ID.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Service> {
        self.slots.iter().flatten()
    }

    /// All services by ID, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Service> {
        self.slots.iter_mut().flatten()
    }
}

impl Service {
    /// A service without backends, and with `ring_row` in force if a former daemon left it so.
    pub(super) fn new(id: u16, spec: ServiceSpec, ring_row: Option<u16>, seed: u64) -> Self {
        let rows = [2 * id, 2 * id + 1];
        Self {
            id,
            key: entry::service_key(spec.vip, spec.protocol),
            spec: ServiceSpec { backends: Vec::new(), ..spec },
            members: Vec::new(),
            balancer: Balancer::new(seed),
            waiting: Waiting::new(seed),
            ring: Box::new(Ring { slots: [EMPTY; SLOTS] }),
            ring_row: ring_row.filter(|row| rows.contains(row)),
            ring_is_stale: true,
            ring_written_ns: 0,
        }
    }

    /// The service as the operator sees it.
    pub(super) fn effective(&self) -> ServiceSpec {
        let backends = self.members.iter().map(|member| member.spec.clone()).collect();
        ServiceSpec { backends, ..self.spec.clone() }
    }

    /// The service as the kernel sees it.
    pub(super) fn entry(&self) -> service::Service {
        let spec = &self.spec;
        service::Service {
            id: self.id,
            ring: self.ring_row.unwrap_or(2 * self.id),
            mode: if spec.secure.is_some() { mode::SECURE } else { mode::PACKET },
            scheduler: entry::scheduler(spec.scheduler),
            forward: entry::forward(spec.forward),
            flags: match spec.affinity {
                Affinity::None | Affinity::Cookie | Affinity::Session => 0,
                Affinity::ClientIp => flags::AFFINITY_CLIENT_IP,
            },
            affinity_ns: u64::try_from(spec.affinity_timeout.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// A backend by name.
    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.spec.name == name)
    }

    /// Looks at its backends anew: which take flows, and whether the ring still fits.
    pub(super) fn refresh(&mut self, backends: &Backends) {
        let usable = self.members.iter().filter_map(|member| {
            let entry = backends.entry(member.id).filter(|entry| entry.takes_flows())?;
            Some((member.id, entry.weight))
        });
        self.ring_is_stale |= self.balancer.set(usable);
    }

    /// Puts a new ring in force if the old one does not fit any more, once that is `min_age_ns` old. A ring that leads
    /// nowhere is replaced at once: meanwhile the kernel would drop what it has to pick for.
    ///
    /// The new ring goes into the row that is not in force, and then the entry that names it is replaced whole.
    pub(super) fn fit_ring(&mut self, now_ns: u64, min_age_ns: u64, backends: &Backends, commands: &mut Vec<Command>) {
        let leads_nowhere = self.ring.slots.first() == Some(&EMPTY);
        let is_young = now_ns.saturating_sub(self.ring_written_ns) < min_age_ns;
        if !self.ring_is_stale || (is_young && !leads_nowhere) {
            return;
        }
        self.ring = maglev::populate(&self.entrants(backends));
        let (even, odd) = (2 * self.id, 2 * self.id + 1);
        let row = if self.ring_row == Some(even) { odd } else { even };
        self.ring_row = Some(row);
        self.ring_is_stale = false;
        self.ring_written_ns = now_ns;
        commands.push(Command::WriteRing(row, self.ring.clone()));
        commands.push(Command::WriteService(self.key, self.entry()));
    }

    fn entrants(&self, backends: &Backends) -> Vec<Entrant> {
        let takes_flows = |id| backends.entry(id).is_some_and(|entry| entry.takes_flows());
        self.members
            .iter()
            .filter(|member| takes_flows(member.id))
            .map(|member| Entrant { id: member.id, address: member.spec.address, weight: member.spec.weight })
            .collect()
    }
}
