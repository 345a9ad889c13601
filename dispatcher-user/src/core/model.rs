//! Services and backends as an operator names them; the configuration, the CLI and the core share these types.

mod net;
mod pattern;
mod qos;
mod refusal;
mod secure;

use std::{fmt, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    net::{Net, NetError},
    pattern::{HeaderPattern, HostPattern, PathPattern, PatternError, RequestPath, Token, without_port},
    qos::{
        ClassChange, ClassError, ClassMatch, DEFAULT_CLASS, MAX_CLASSES, QosClassSpec, QueueSpec, Rate, RateChange,
        change_class, check_shares,
    },
    refusal::Refusal,
    secure::{
        Alpn, CertificateSpec, ClientAuth, LimitsSpec, LostBackend, SecureRule, SecureSpec, SessionSpec, TlsSpec,
        TunnelProtocol, TunnelSpec,
    },
};

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
    /// What leads back to a backend.
    pub affinity: Affinity,
    /// How long a client is remembered after its last new flow.
    pub affinity_timeout: Duration,
    /// What mode `secure` needs besides; `None`: mode `packet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<Box<SecureSpec>>,
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

/// What leads back to a backend: in mode `packet` for a client's new flows, in mode `secure` for requests that are no
/// secure transactions. Secure ones always follow their session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// Nothing: every flow, or request, is picked on its own.
    None,
    /// The client's address. Mode `packet` alone.
    ClientIp,
    /// A cookie that names the backend. Mode `secure` alone.
    Cookie,
    /// The session: all requests are treated alike. Mode `secure` alone.
    Session,
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

impl ServiceSpec {
    /// Checks that everything said of the service belongs to its mode.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check_mode(&self) -> Result<(), Refusal> {
        self.check_affinity(self.affinity)?;
        let Some(secure) = &self.secure else { return Ok(()) };
        if self.protocol == Protocol::Udp {
            return Err(Refusal::SecureUdp);
        }
        if self.forward != Forward::Nat {
            return Err(Refusal::SecureForward);
        }
        match secure.redirect {
            Some(redirect) if redirect.ip() != self.vip.ip() => {
                Err(Refusal::RedirectAddress { redirect, vip: self.vip.ip() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks that the service's mode has that affinity.
    ///
    /// # Errors
    /// [`Refusal::AffinityOfOtherMode`]
    pub fn check_affinity(&self, affinity: Affinity) -> Result<(), Refusal> {
        match (affinity, &self.secure) {
            (Affinity::None, _) | (Affinity::ClientIp, None) | (Affinity::Cookie | Affinity::Session, Some(_)) => {
                Ok(())
            }
            (Affinity::ClientIp, Some(_)) | (Affinity::Cookie | Affinity::Session, None) => {
                Err(Refusal::AffinityOfOtherMode { affinity, is_secure: self.secure.is_some() })
            }
        }
    }

    /// What clients of the service connect to: the VIP, and where plain HTTP is redirected.
    pub fn listeners(&self) -> impl Iterator<Item = (SocketAddr, Protocol)> {
        let redirect = self.secure.as_ref().and_then(|secure| secure.redirect);
        [(self.vip, self.protocol)].into_iter().chain(redirect.map(|address| (address, Protocol::Tcp)))
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::ClientIp => "client-ip",
            Self::Cookie => "cookie",
            Self::Session => "session",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
