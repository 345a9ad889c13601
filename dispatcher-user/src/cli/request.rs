//! Turns a command into the request that the daemon gets, and says in words what was done.

use super::{
    args::{Backend, Command, Config, Flow, Lock, Qos, Service, ServiceAdd, Session, Tunnel},
    values::{BackendName, BackendSetting, ClassSetting, ServiceSetting},
};
use crate::{
    config::words::Word,
    control::api::{FlowQuery, Request, SessionQuery},
    core::model::{AdminState, BackendSpec, Change, ClassChange, ServiceSpec},
};

/// The request of a command; `None` for those that the daemon has no part in.
pub(super) fn of(command: &Command) -> Option<Request> {
    Some(match command {
        Command::Status => Request::Status,
        Command::Attach { interface, mode } => Request::Attach { interface: interface.clone(), mode: *mode },
        Command::Detach(detach) => Request::Detach { interface: detach.interface.clone() },
        Command::Service(command) => of_service(command),
        Command::Backend(command) => of_backend(command),
        Command::Flow(command) => of_flow(command),
        Command::Session(command) => of_session(command),
        Command::Tunnel(command) => of_tunnel(command),
        Command::Qos(Qos::List) => Request::Classes,
        Command::Qos(Qos::Set { class, settings }) => set_class(class, settings),
        Command::Lock(Lock::List) => Request::Locks,
        Command::Lock(Lock::Release { client, service }) => {
            Request::ReleaseLock { client: *client, service: service.clone() }
        }
        Command::Drops { .. } => Request::Drops,
        Command::Config(Config::Dump { file: None }) => Request::ConfigDump,
        Command::LogLevel { level } => Request::LogLevel { level: *level },
        Command::Run(_)
        | Command::Check { .. }
        | Command::Config(Config::Dump { file: Some(_) })
        | Command::Version
        | Command::Completions { .. } => return None,
    })
}

fn of_service(command: &Service) -> Request {
    let change = match command {
        Service::List => return Request::Services,
        Service::Show { service } => return Request::Service { service: service.clone() },
        Service::Add(add) => Change::AddService { service: new_service(add) },
        Service::Set { service, settings } => set_service(service, settings),
        Service::Remove { service } => Change::RemoveService { service: service.clone() },
    };
    Request::Change { change }
}

fn new_service(add: &ServiceAdd) -> ServiceSpec {
    ServiceSpec {
        name: add.service.clone(),
        vip: add.vip.address,
        protocol: add.vip.protocol,
        scheduler: add.scheduler,
        forward: add.forward,
        affinity: add.affinity,
        affinity_timeout: add.affinity_timeout,
        secure: None,
        backends: Vec::new(),
    }
}

fn set_service(service: &str, settings: &[ServiceSetting]) -> Change {
    let (mut scheduler, mut affinity, mut affinity_timeout) = (None, None, None);
    for setting in settings {
        match setting {
            ServiceSetting::Scheduler(new) => scheduler = Some(*new),
            ServiceSetting::Affinity(new) => affinity = Some(*new),
            ServiceSetting::AffinityTimeout(new) => affinity_timeout = Some(*new),
        }
    }
    Change::SetService { service: service.to_owned(), scheduler, affinity, affinity_timeout }
}

fn of_backend(command: &Backend) -> Request {
    let state = |name: &BackendName, state| set_backend(name, &[BackendSetting::State(state)]);
    let change = match command {
        Backend::List { service } => return Request::Backends { service: service.clone() },
        Backend::Add { service, backend, address, weight } => {
            let backend =
                BackendSpec { name: backend.clone(), address: *address, weight: *weight, state: AdminState::Ready };
            Change::AddBackend { service: service.clone(), backend }
        }
        Backend::Set { backend, settings } => set_backend(backend, settings),
        Backend::Ready { backend } => state(backend, AdminState::Ready),
        Backend::Drain { backend, moves: false } => state(backend, AdminState::Drain),
        Backend::Drain { backend: BackendName { service, backend }, moves: true } => {
            return Request::MoveSessions { service: service.clone(), backend: backend.clone() };
        }
        Backend::Maint { backend } => state(backend, AdminState::Maint),
        Backend::Weight { backend, weight } => set_backend(backend, &[BackendSetting::Weight(*weight)]),
        Backend::Remove { backend, force } => {
            let BackendName { service, backend } = backend.clone();
            Change::RemoveBackend { service, backend, force: *force }
        }
    };
    Request::Change { change }
}

fn set_backend(name: &BackendName, settings: &[BackendSetting]) -> Change {
    let (mut state, mut weight) = (None, None);
    for setting in settings {
        match setting {
            BackendSetting::State(new) => state = Some(*new),
            BackendSetting::Weight(new) => weight = Some(*new),
        }
    }
    let BackendName { service, backend } = name.clone();
    Change::SetBackend { service, backend, state, weight }
}

fn of_session(command: &Session) -> Request {
    match command {
        Session::List { service, backend, limit } => {
            let (of_backend, backend) = backend.clone().map(|name| (name.service, name.backend)).unzip();
            Request::Sessions(SessionQuery { service: service.clone().or(of_backend), backend, limit: *limit })
        }
        Session::Show { session } => Request::Session { session: *session },
        Session::Move { session, backend: BackendName { service, backend } } => {
            Request::MoveSession { session: *session, service: service.clone(), backend: backend.clone() }
        }
        Session::Remove { session } => Request::RemoveSession { session: *session },
    }
}

fn of_tunnel(command: &Tunnel) -> Request {
    match command {
        Tunnel::List { service } => Request::Tunnels { service: service.clone() },
        Tunnel::Show { backend: BackendName { service, backend } } => {
            Request::Pool { service: service.clone(), backend: backend.clone() }
        }
        Tunnel::Reset { backend: BackendName { service, backend }, tunnel } => {
            Request::ResetTunnels { service: service.clone(), backend: backend.clone(), tunnel: *tunnel }
        }
    }
}

fn set_class(class: &str, settings: &[ClassSetting]) -> Request {
    let mut change = ClassChange::default();
    for ClassSetting(setting) in settings {
        change.then(setting);
    }
    Request::SetClass { class: class.to_owned(), change }
}

fn of_flow(command: &Flow) -> Request {
    match command {
        Flow::List { service, client, limit } => {
            Request::Flows(FlowQuery { service: service.clone(), client: *client, limit: *limit })
        }
        Flow::Remove { flow } => Request::RemoveFlow { flow: *flow },
    }
}

/// Says what was done by a request; `None` for those that only ask, or whose answer says it.
pub(super) fn done(request: &Request) -> Option<String> {
    Some(match request {
        Request::Change { change } => changed(change),
        Request::RemoveFlow { flow } => format!("removed flow {flow}"),
        Request::ReleaseLock { client, service: None } => format!("released the locks of {client}"),
        Request::ReleaseLock { client, service: Some(service) } => {
            format!("released the lock of {client} at service {service}")
        }
        Request::MoveSession { session, service, backend } => format!("session {session} goes to {service}/{backend}"),
        Request::MoveSessions { service, backend } => format!("backend {service}/{backend}: drain"),
        Request::RemoveSession { session } => format!("removed session {session}"),
        Request::ResetTunnels { service, backend, tunnel: None } => {
            format!("the tunnels to {service}/{backend} are being replaced")
        }
        Request::ResetTunnels { service, backend, tunnel: Some(tunnel) } => {
            format!("tunnel {tunnel} to {service}/{backend} is being replaced")
        }
        Request::SetClass { class, .. } => format!("changed QoS class {class}"),
        Request::LogLevel { level } => format!("the daemon logs at level {}", level.word()),
        Request::Attach { interface, mode } => format!("attached to {interface} in {} mode", mode.word()),
        // The daemon knows from what.
        Request::Detach { .. } => return None,
        Request::Status
        | Request::Services
        | Request::Service { .. }
        | Request::Backends { .. }
        | Request::Flows(_)
        | Request::Locks
        | Request::Sessions(_)
        | Request::Session { .. }
        | Request::Tunnels { .. }
        | Request::Pool { .. }
        | Request::Classes
        | Request::Drops
        | Request::ConfigDump => return None,
    })
}

fn changed(change: &Change) -> String {
    match change {
        Change::AddService { service } => format!("added service {}", service.name),
        Change::SetService { service, .. } => format!("changed service {service}"),
        Change::RemoveService { service } => format!("removed service {service}"),
        Change::AddBackend { service, backend } => format!("added backend {service}/{}", backend.name),
        Change::SetBackend { service, backend, state, weight } => {
            let state = state.map(|state| state.word().to_owned());
            let weight = weight.map(|weight| format!("weight {weight}"));
            let news: Vec<String> = state.into_iter().chain(weight).collect();
            format!("backend {service}/{backend}: {}", news.join(", "))
        }
        Change::RemoveBackend { service, backend, .. } => format!("removed backend {service}/{backend}"),
    }
}
