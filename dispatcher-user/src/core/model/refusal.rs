//! Why a change to services or backends is refused: the rules that they keep, in words.

use std::net::{IpAddr, SocketAddr};

use super::{Affinity, Protocol};

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
    /// Mode `secure` over UDP.
    #[error("a service of mode secure has protocol tcp")]
    SecureUdp,
    /// Mode `secure` with a forward mode of packets.
    #[error("a service of mode secure forwards no packets: its forward mode is nat")]
    SecureForward,
    /// An affinity that the service's mode does not have.
    #[error(
        "a service of mode {} has no affinity {affinity}, but {}",
        if *is_secure { "secure" } else { "packet" },
        if *is_secure { "none, cookie or session" } else { "none or client-ip" }
    )]
    AffinityOfOtherMode {
        /// The affinity.
        affinity: Affinity,
        /// The service's mode.
        is_secure: bool,
    },
    /// An affinity timeout for a service that remembers sessions.
    #[error("a service of mode secure has no affinity timeout: its sessions last as [service.session] says")]
    SecureTimeout,
    /// A redirect on another address than the VIP's.
    #[error("redirect {redirect} is not on the address of the VIP, {vip}")]
    RedirectAddress {
        /// The redirect.
        redirect: SocketAddr,
        /// The VIP.
        vip: IpAddr,
    },
}
