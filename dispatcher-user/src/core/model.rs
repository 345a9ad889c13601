//! Services and backends as an operator names them; the configuration, the CLI and the core share these types.

mod refusal;

use std::{fmt, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::refusal::Refusal;

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

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
