//! Services and backends as an operator names them; the configuration, the CLI and the core share these types.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A service that clients use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Unique name.
    pub name: String,
    /// The VIP and its port.
    pub vip: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The rule that chooses a backend for a new flow.
    pub scheduler: Scheduler,
    /// How packets reach the backend.
    pub forward: Forward,
    /// Whether a client's new flows return to its backend.
    pub affinity: Affinity,
    /// How long a client is remembered after its last new flow.
    pub affinity_timeout: Duration,
    /// The machines that serve, in the order in which they were added.
    pub backends: Vec<BackendSpec>,
}

/// A machine that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendSpec {
    /// Name, unique within its service.
    pub name: String,
    /// Address and port.
    pub address: SocketAddr,
    /// Share of new flows; 0 takes none.
    pub weight: u16,
    /// What the operator wants of it.
    pub state: AdminState,
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The rule that chooses a backend for a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Fewest live flows.
    Lc,
    /// Fewest live flows for its weight.
    Wlc,
    /// Source hash.
    Sh,
    /// Maglev hash of the 5-tuple.
    Mh,
    /// The better of two random choices.
    P2c,
    /// Least load: live flows and traffic together, for its weight.
    LeastLoad,
}

/// How packets reach the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forward {
    /// Destination translated on the way in, source on the way back.
    Nat,
    /// MAC addresses rewritten; the backend answers the client itself.
    Dsr,
}

/// Whether a client's new flows return to its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// Every flow is picked on its own.
    None,
    /// The client's address leads back.
    ClientIp,
}

/// What the operator wants of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminState {
    /// Takes new flows.
    Ready,
    /// Keeps its flows and takes no new ones.
    Drain,
    /// Gets nothing; its flows are picked anew.
    Maint,
}

/// A change that an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// Adds a service, with its backends if it names some.
    AddService {
        /// The service.
        service: ServiceSpec,
    },
    /// Changes a service's rules; what is `None` stays.
    SetService {
        /// Service name.
        service: String,
        /// New scheduler.
        scheduler: Option<Scheduler>,
        /// New affinity.
        affinity: Option<Affinity>,
        /// New affinity timeout.
        affinity_timeout: Option<Duration>,
    },
    /// Removes a service and its backends.
    RemoveService {
        /// Service name.
        service: String,
    },
    /// Adds a backend to a service.
    AddBackend {
        /// Service name.
        service: String,
        /// The backend.
        backend: BackendSpec,
    },
    /// Changes a backend; what is `None` stays.
    SetBackend {
        /// Service name.
        service: String,
        /// Backend name.
        backend: String,
        /// New state.
        state: Option<AdminState>,
        /// New weight.
        weight: Option<u16>,
    },
    /// Removes a backend. Refused while it has live flows, unless forced.
    RemoveBackend {
        /// Service name.
        service: String,
        /// Backend name.
        backend: String,
        /// Remove it although flows live; they are picked anew.
        force: bool,
    },
}

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No service has that name.
    #[error("no service is called `{0}`")]
    NoSuchService(String),
    /// No backend of the service has that name.
    #[error("service `{service}` has no backend `{backend}`")]
    NoSuchBackend {
        /// Service name.
        service: String,
        /// Backend name.
        backend: String,
    },
    /// The name is taken.
    #[error("a service called `{0}` exists already")]
    ServiceExists(String),
    /// The VIP, port and protocol are taken.
    #[error("service `{holder}` has {vip}/{protocol} already")]
    VipTaken {
        /// Name of the service that has it.
        holder: String,
        /// The VIP and port.
        vip: SocketAddr,
        /// The protocol.
        protocol: Protocol,
    },
    /// The backend's name is taken within the service.
    #[error("service `{service}` has a backend `{backend}` already")]
    BackendExists {
        /// Service name.
        service: String,
        /// Backend name.
        backend: String,
    },
    /// The backend's address and port are taken within the service.
    #[error("backend `{holder}` of service `{service}` has {address} already")]
    AddressTaken {
        /// Service name.
        service: String,
        /// Name of the backend that has it.
        holder: String,
        /// The address and port.
        address: SocketAddr,
    },
    /// VIP and backend are of different address families.
    #[error("backend {backend} and VIP {vip} are of different address families")]
    FamilyMismatch {
        /// The backend's address.
        backend: IpAddr,
        /// The VIP.
        vip: IpAddr,
    },
    /// A `dsr` backend serves on another port than the VIP.
    #[error("with forward = \"dsr\" ports cannot change: backend port {backend} is not the VIP's {vip}")]
    PortMismatch {
        /// The backend's port.
        backend: u16,
        /// The VIP's port.
        vip: u16,
    },
    /// The backend still has live flows.
    #[error("backend `{service}/{backend}` has {flows} live flows; drain it first, or use --force")]
    Busy {
        /// Service name.
        service: String,
        /// Backend name.
        backend: String,
        /// Live flows.
        flows: u64,
    },
    /// A table is full.
    #[error("the table of {what} is full ({capacity})")]
    Full {
        /// What it holds.
        what: &'static str,
        /// How many.
        capacity: usize,
    },
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
