//! The dispatcher: everything it decides, as one state machine without I/O.

use std::time::Duration;

use dispatcher_common::{
    backend::Backend,
    client::ClientKey,
    service::{Service, ServiceKey},
};

use super::{
    event::{Command, Event},
    model::{Change, Refusal, ServiceSpec},
    view::Snapshot,
};

/// Bounds, and the seed of every random choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the random choices start. It also keeps strangers from aiming at one bucket of a table: draw it at random.
    pub seed: u64,
    /// Packets of one client that may wait for a backend.
    pub max_held_per_client: usize,
    /// Packets of all clients together that may wait.
    pub max_held_total: usize,
    /// How long a packet waits for a backend before it is dropped.
    pub hold_timeout: Duration,
}

impl Settings {
    /// The usual bounds.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, max_held_per_client: 64, max_held_total: 4096, hold_timeout: Duration::from_secs(1) }
    }
}

/// What a former daemon left in the tables.
#[derive(Clone, Debug, Default)]
pub struct Adopted {
    /// All entries of `dsp_services`.
    pub services: Vec<(ServiceKey, Service)>,
    /// All rows of `dsp_backends` that are not zero, vacant ones too: they remember generations.
    pub backends: Vec<(u16, Backend)>,
    /// All keys of `dsp_locks`.
    pub locks: Vec<ClientKey>,
}

/// The dispatcher's state.
#[derive(Debug)]
pub struct Dispatcher {
    settings: Settings,
    services: Vec<ServiceSpec>,
}

impl Dispatcher {
    /// Starts with empty tables and no services.
    #[must_use]
    pub fn new(settings: Settings, _now_ns: u64) -> Self {
        Self { settings, services: Vec::new() }
    }

    /// Starts with `services`, over tables in which a former daemon may have left something.
    ///
    /// A service that has the same VIP, port and protocol as one in the tables keeps its ID; a backend of such a service
    /// keeps its ID if address and port are the same. So their flows live on. Everything else in the tables that belongs
    /// to none of `services` is removed. With nothing adopted this is [`Self::new`] and a [`Change::AddService`] for
    /// each.
    ///
    /// # Errors
    /// As [`Self::change`] for [`Change::AddService`]; there are no commands then.
    pub fn adopt(
        settings: Settings,
        now_ns: u64,
        _adopted: Adopted,
        services: Vec<ServiceSpec>,
        commands: &mut Vec<Command>,
    ) -> Result<Self, Refusal> {
        let mut dispatcher = Self::new(settings, now_ns);
        for service in services {
            dispatcher.change(now_ns, Change::AddService { service }, commands)?;
        }
        Ok(dispatcher)
    }

    /// Takes in what happened at `now_ns` (monotonic clock) and appends what is to be done.
    pub fn handle(&mut self, _now_ns: u64, _event: Event, _commands: &mut Vec<Command>) {}

    /// Makes a change, or refuses it: then nothing has changed and there are no commands.
    ///
    /// # Errors
    /// The first rule that the change would break.
    pub fn change(&mut self, _now_ns: u64, change: Change, _commands: &mut Vec<Command>) -> Result<(), Refusal> {
        if let Change::AddService { service } = change {
            self.services.push(service);
        }
        Ok(())
    }

    /// The services as they are now, changes included: what a restart should start with.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceSpec> {
        self.services.clone()
    }

    /// The load-balancing table and the counters at `now_ns`.
    #[must_use]
    pub fn snapshot(&self, _now_ns: u64) -> Snapshot {
        Snapshot { held_packets: self.settings.max_held_total.min(0), ..Snapshot::default() }
    }
}
