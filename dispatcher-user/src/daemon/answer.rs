//! Answers what the control socket asks.

mod requests;

use dispatcher_common::counter::Counter;

use super::{
    Daemon,
    flows::{self, Names},
    logging,
    request_path::RequestPath,
};
use crate::{
    clock, config,
    control::api::{BackendView, DropView, InterfaceView, Request, Response, ServiceView, StatusView},
    core::{
        model::{Change, ServiceSpec},
        view,
    },
    datapath::tables::TableError,
    failure::{Code, Failure},
};

const MILLISECOND_NS: u64 = 1_000_000;

/// A counter of the core: name, meaning, and where it is.
type DaemonDrop = (&'static str, &'static str, fn(&view::Counters) -> u64);

/// What the core drops.
const DAEMON_DROPS: [DaemonDrop; 5] = [
    ("daemon_unreadable", "Came up and cannot be dispatched.", |counters| counters.drop_unreadable),
    ("daemon_no_service", "Came up for a service that was removed meanwhile.", |counters| counters.drop_no_service),
    ("daemon_hold_timeout", "Held, and no backend could take it in time.", |counters| counters.drop_hold_timeout),
    ("daemon_hold_overflow", "Not held: too many packets were.", |counters| counters.drop_hold_overflow),
    ("daemon_tuple_conflict", "Its backends could not tell its flow from another.", |counters| {
        counters.drop_tuple_conflict
    }),
];

impl Daemon {
    /// Does what is asked and says what came of it.
    pub(super) async fn answer(&mut self, request: Request) -> Response {
        self.try_answer(request).await.unwrap_or_else(Response::Failed)
    }

    async fn try_answer(&mut self, request: Request) -> Result<Response, Failure> {
        let snapshot = self.snapshot();
        Ok(match request {
            Request::Status => Response::Status(self.status(&snapshot)?),
            Request::Services => Response::Services { items: self.services(&snapshot) },
            Request::Service { service } => self.service(&snapshot, &service)?,
            Request::Backends { service } => Response::Backends { items: backends(&snapshot, service.as_deref())? },
            Request::Change { change } => self.change(change).await?,
            Request::Flows(query) => {
                let (items, more) = flows::list(&self.kernel, &Names(&snapshot), &query);
                Response::Flows { items, more }
            }
            Request::RemoveFlow { flow } => done(flows::remove(&mut self.kernel, &flow))?,
            Request::Locks => Response::Locks { items: flows::locks(&self.kernel, &Names(&snapshot)) },
            Request::ReleaseLock { client, service } => {
                done(flows::release(&mut self.kernel, &Names(&snapshot), client, service.as_deref()))?
            }
            Request::Sessions(query) => {
                let (items, more) = self.sessions(&snapshot, &query)?;
                Response::Sessions { items, more }
            }
            Request::Session { session } => {
                let path = self.path_of(session)?;
                Response::Session(Box::new(path.session(&snapshot, &self.config.qos, session)?))
            }
            Request::MoveSession { session, service, backend } => {
                done(self.path_of(session)?.move_session(&snapshot, session, (&service, &backend)))?
            }
            Request::MoveSessions { service, backend } => self.move_sessions(&snapshot, (&service, &backend)).await?,
            Request::RemoveSession { session } => done(self.path_of(session)?.remove_session(session))?,
            Request::Tunnels { service } => Response::Tunnels { items: self.tunnels(&snapshot, service)? },
            Request::Pool { service, backend } => self.pool(&snapshot, &service, &backend)?,
            Request::ResetTunnels { service, backend, tunnel } => {
                self.reset_tunnels(&snapshot, (&service, &backend), tunnel)?
            }
            Request::Classes => {
                Response::Classes { items: self.request_path.as_ref().map(RequestPath::classes).unwrap_or_default() }
            }
            Request::SetClass { class, change } => self.set_class(&class, &change)?,
            Request::Drops => Response::Drops { items: self.drops(&snapshot)? },
            Request::ConfigDump => Response::Config { toml: self.dump() },
            Request::LogLevel { level } => {
                self.logging.set(level);
                self.kernel.row.log_level = logging::kernel_level(level);
                self.beat();
                Response::Done { notes: Vec::new() }
            }
            Request::Attach { interface, mode } => done(self.kernel.attach(&interface, mode).await)?,
            Request::Detach { interface } => self.detach(interface.as_deref())?,
        })
    }

    /// Everything at this moment: what the core has, and what requests and tunnels say besides.
    fn snapshot(&self) -> view::Snapshot {
        let mut snapshot = self.core.snapshot(clock::monotonic_ns());
        if let Some(path) = &self.request_path {
            path.complete(&mut snapshot);
        }
        snapshot
    }

    /// Makes a change, and keeps it over a restart. If it cannot be kept, it is made all the same and the note says so.
    async fn change(&mut self, change: Change) -> Result<Response, Failure> {
        let tables = &self.kernel.tables;
        self.core.change(clock::monotonic_ns(), change.clone(), tables, &mut self.commands).map_err(refused)?;
        self.carry_out();
        self.state.record(&change);
        let mut notes = self.keep_state();
        if let Err(failure) = self.follow_services().await {
            tracing::error!("{failure}");
            notes.push(format!("the change is made, but its requests cannot be served: {}", failure.message));
        }
        tracing::info!(?change, "changed");
        Ok(Response::Done { notes })
    }

    /// Writes the state file; a note says so if it cannot be.
    fn keep_state(&self) -> Vec<String> {
        let Err(failure) = self.state.save(&self.config.daemon.state) else { return Vec::new() };
        tracing::error!("{failure}");
        vec![format!("the change is made, but a restart will forget it: {}", failure.message)]
    }

    fn detach(&mut self, interface: Option<&str>) -> Result<Response, Failure> {
        let names: Vec<String> = match interface {
            Some(name) => vec![name.to_owned()],
            None => self.kernel.attachments.iter().map(|(name, _)| name.to_owned()).collect(),
        };
        for name in &names {
            self.kernel.detach(name)?;
        }
        Ok(Response::Done { notes: vec![format!("detached from {}", names.join(", "))] })
    }

    fn status(&self, snapshot: &view::Snapshot) -> Result<StatusView, Failure> {
        let now_ns = clock::monotonic_ns();
        let stats = self.kernel.tables.stats().map_err(unreadable)?;
        let backends = || snapshot.services.iter().flat_map(|service| &service.backends);
        let row = &self.kernel.row;
        Ok(StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: now_ns.saturating_sub(self.started_ns) / MILLISECOND_NS,
            node: row.node,
            interfaces: self.interfaces(),
            services: count(snapshot.services.len()),
            backends: count(backends().count()),
            flows: backends().map(|backend| backend.live_flows).sum(),
            flow_entries4: self.entries.v4(),
            flow_entries6: self.entries.v6(),
            flow_capacity: u64::from(self.config.daemon.flows),
            upcalls: stats.upcall.saturating_add(stats.upcall_locked).saturating_add(stats.upcall_held),
            held: count(snapshot.held_packets),
            held_overflow: snapshot.counters.drop_hold_overflow,
            heartbeat_remaining_ms: row.upcall_until_ns.saturating_sub(now_ns) / MILLISECOND_NS,
            lease_remaining_ms: (row.lease_until_ns != 0)
                .then(|| row.lease_until_ns.saturating_sub(now_ns) / MILLISECOND_NS),
            log: self.logging.level(),
        })
    }

    fn interfaces(&self) -> Vec<InterfaceView> {
        let view = |(name, attachment): (&str, &crate::datapath::attach::Attachment)| InterfaceView {
            name: name.to_owned(),
            mode: attachment.mode,
            driver: attachment.interface.driver.clone(),
            link_pin: Some(self.kernel.pins().link(name).display().to_string()),
        };
        self.kernel.attachments.iter().map(view).collect()
    }

    fn services(&self, snapshot: &view::Snapshot) -> Vec<ServiceView> {
        let specs = self.core.services();
        snapshot.services.iter().map(|service| service_view(service, &specs)).collect()
    }

    fn service(&self, snapshot: &view::Snapshot, name: &str) -> Result<Response, Failure> {
        let found = snapshot.services.iter().find(|service| service.name == name).ok_or_else(|| no_service(name))?;
        let service = service_view(found, &self.core.services());
        Ok(Response::Service { service, backends: backends(snapshot, Some(name))? })
    }

    /// What XDP passed and dropped, then what the daemon dropped.
    fn drops(&self, snapshot: &view::Snapshot) -> Result<Vec<DropView>, Failure> {
        let stats = self.kernel.tables.stats().map_err(unreadable)?;
        let kernel = Counter::ALL.iter().map(|&counter| DropView {
            reason: counter.name().to_owned(),
            meaning: counter.meaning().to_owned(),
            packets: stats.count(counter),
        });
        let daemon = DAEMON_DROPS.map(|(reason, meaning, count)| DropView {
            reason: reason.to_owned(),
            meaning: meaning.to_owned(),
            packets: count(&snapshot.counters),
        });
        let sent = DropView {
            reason: "daemon_inject_failed".to_owned(),
            meaning: "A held packet that no interface took.".to_owned(),
            packets: self.kernel.inject_failures,
        };
        Ok(kernel.chain(daemon).chain([sent]).collect())
    }

    fn dump(&self) -> String {
        config::dump(&config::Config { services: self.core.services(), ..self.config.clone() })
    }
}

fn done(outcome: Result<(), Failure>) -> Result<Response, Failure> {
    outcome.map(|()| Response::Done { notes: Vec::new() })
}

fn refused(refusal: crate::core::model::Refusal) -> Failure {
    use crate::core::model::Refusal;
    let is_missing = matches!(refusal, Refusal::NoSuchService(_) | Refusal::NoSuchBackend { .. });
    let code = if is_missing { Code::NOT_FOUND } else { Code::REFUSED };
    Failure::new(code, refusal.to_string())
}

fn unreadable(error: TableError) -> Failure {
    Failure::new(Code::INTERNAL, "a table cannot be read").cause(error)
}

pub(super) fn no_service(name: &str) -> Failure {
    Failure::new(Code::NOT_FOUND, format!("no service is called `{name}`")).fix("`dispatcher service list` lists them")
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn service_view(service: &view::ServiceView, specs: &[ServiceSpec]) -> ServiceView {
    let spec = specs.iter().find(|spec| spec.name == service.name);
    let secure = spec.and_then(|spec| spec.secure.as_deref());
    let timeout = secure.map(|secure| secure.session.idle).or(spec.map(|spec| spec.affinity_timeout));
    ServiceView {
        id: service.id,
        name: service.name.clone(),
        vip: service.vip,
        protocol: service.protocol,
        mode: if secure.is_some() { "secure" } else { "packet" }.to_owned(),
        scheduler: service.scheduler,
        forward: service.forward,
        affinity: service.affinity,
        affinity_timeout_ms: u64::try_from(timeout.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        backends: count(service.backends.len()),
        backends_available: count(service.backends.iter().filter(|backend| backend.takes_flows).count()),
        flows: service.backends.iter().map(|backend| backend.live_flows).sum(),
    }
}

fn backends(snapshot: &view::Snapshot, service: Option<&str>) -> Result<Vec<BackendView>, Failure> {
    if let Some(name) = service
        && !snapshot.services.iter().any(|known| known.name == name)
    {
        return Err(no_service(name));
    }
    let services = snapshot.services.iter().filter(|known| service.is_none_or(|name| known.name == name));
    Ok(services.flat_map(|known| known.backends.iter().map(|backend| backend_view(&known.name, backend))).collect())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a rate is neither negative nor beyond u64, and a fraction of a byte is nothing"
)]
fn backend_view(service: &str, backend: &view::BackendView) -> BackendView {
    BackendView {
        id: backend.id,
        service: service.to_owned(),
        name: backend.name.clone(),
        address: backend.address,
        state: backend.state,
        health: backend.health,
        weight: backend.weight,
        flows: backend.live_flows,
        picks: backend.picks,
        rate: backend.bytes_per_second as u64,
        packets_in: backend.packets_in,
        bytes_in: backend.bytes_in,
        packets_out: backend.packets_out,
        bytes_out: backend.bytes_out,
    }
}
