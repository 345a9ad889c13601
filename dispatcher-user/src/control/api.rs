//! What can be asked of a daemon, and what it answers.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    config::{AttachMode, LogLevel},
    control::tuple::FlowTuple,
    core::{
        model::{Change, ClassChange, Net},
        sessions::SessionId,
    },
    failure::Failure,
};

pub use super::view::{
    BackendView, ClassView, ClientView, CountView, DropView, FlowView, InterfaceView, LockView, PoolView, ServiceView,
    SessionView, ShedView, StatusView, TunnelContextView, TunnelView,
};
pub use crate::core::view::Health;

/// Version of this interface; both sides refuse any other.
pub const VERSION: u32 = 1;

/// A line: the interface's version and what is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line<T> {
    /// [`VERSION`].
    pub version: u32,
    /// A [`Request`] or a [`Response`].
    pub body: T,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// How the daemon is. [`Response::Status`]
    Status,
    /// All services. [`Response::Services`]
    Services,
    /// One service with its backends. [`Response::Service`]
    Service {
        /// Service name.
        service: String,
    },
    /// Backends. [`Response::Backends`]
    Backends {
        /// Those of this service alone.
        service: Option<String>,
    },
    /// Changes services or backends. [`Response::Done`]
    Change {
        /// The change.
        change: Change,
    },
    /// Flows. [`Response::Flows`]
    Flows(FlowQuery),
    /// Removes a flow, both its directions. [`Response::Done`]
    RemoveFlow {
        /// The tuple of the client's direction.
        flow: FlowTuple,
    },
    /// Client locks that stand. [`Response::Locks`]
    Locks,
    /// Removes a client's locks. [`Response::Done`]
    ReleaseLock {
        /// The client.
        client: IpAddr,
        /// Its lock at this service alone.
        service: Option<String>,
    },
    /// Sessions. [`Response::Sessions`]
    Sessions(SessionQuery),
    /// One session. [`Response::Session`]
    Session {
        /// Its ID.
        session: SessionId,
    },
    /// Gives a session to another backend. [`Response::Done`]
    MoveSession {
        /// Its ID.
        session: SessionId,
        /// Its service's name.
        service: String,
        /// The backend's name.
        backend: String,
    },
    /// Drains a backend, and gives its sessions to others. [`Response::Done`]
    MoveSessions {
        /// Service name.
        service: String,
        /// Backend name.
        backend: String,
    },
    /// Ends a session. [`Response::Done`]
    RemoveSession {
        /// Its ID.
        session: SessionId,
    },
    /// Tunnels. [`Response::Tunnels`]
    Tunnels {
        /// Those of this service alone.
        service: Option<String>,
    },
    /// The tunnels of a backend, and what happened to them. [`Response::Pool`]
    Pool {
        /// Service name.
        service: String,
        /// Backend name.
        backend: String,
    },
    /// Replaces tunnels; requests on them end first. [`Response::Done`]
    ResetTunnels {
        /// Service name.
        service: String,
        /// Backend name.
        backend: String,
        /// This one alone.
        tunnel: Option<u16>,
    },
    /// QoS classes. [`Response::Classes`]
    Classes,
    /// Changes a QoS class. [`Response::Done`]
    SetClass {
        /// Its name.
        class: String,
        /// The change.
        change: ClassChange,
    },
    /// Counters of packets passed or dropped, one a reason. [`Response::Drops`]
    Drops,
    /// The configuration in force. [`Response::Config`]
    ConfigDump,
    /// Changes what is logged. [`Response::Done`]
    LogLevel {
        /// The new level.
        level: LogLevel,
    },
    /// Attaches the program to an interface. [`Response::Done`]
    Attach {
        /// Interface name.
        interface: String,
        /// How.
        mode: AttachMode,
    },
    /// Detaches the program. [`Response::Done`]
    Detach {
        /// From this interface; `None`: from all.
        interface: Option<String>,
    },
}

/// Which flows are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowQuery {
    /// Those of this service alone.
    pub service: Option<String>,
    /// Those of these clients alone.
    pub client: Option<Net>,
    /// At most so many.
    pub limit: u32,
}

/// Which sessions are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionQuery {
    /// Those of this service alone.
    pub service: Option<String>,
    /// Of that service, those of this backend alone.
    pub backend: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// It was done.
    Done {
        /// Words for the operator, one sentence each; may be empty.
        notes: Vec<String>,
    },
    /// How the daemon is.
    Status(StatusView),
    /// Services in the order in which they were added.
    Services {
        /// The services.
        items: Vec<ServiceView>,
    },
    /// One service.
    Service {
        /// The service.
        service: ServiceView,
        /// Its backends.
        backends: Vec<BackendView>,
    },
    /// Backends, service by service.
    Backends {
        /// The backends.
        items: Vec<BackendView>,
    },
    /// Flows, in no order.
    Flows {
        /// The flows.
        items: Vec<FlowView>,
        /// True if the limit cut more off.
        more: bool,
    },
    /// Client locks.
    Locks {
        /// The locks.
        items: Vec<LockView>,
    },
    /// Sessions, in no order.
    Sessions {
        /// The sessions.
        items: Vec<SessionView>,
        /// True if the limit cut more off.
        more: bool,
    },
    /// One session.
    Session(Box<SessionView>),
    /// Tunnels, service by service and backend by backend.
    Tunnels {
        /// The tunnels.
        items: Vec<TunnelView>,
    },
    /// A backend's tunnels.
    Pool(PoolView),
    /// QoS classes.
    Classes {
        /// The classes, in the order of their numbers.
        items: Vec<ClassView>,
    },
    /// Counters.
    Drops {
        /// One row a reason, zero or not.
        items: Vec<DropView>,
    },
    /// The configuration in force.
    Config {
        /// As a configuration file.
        toml: String,
    },
    /// It was not done.
    Failed(Failure),
}
