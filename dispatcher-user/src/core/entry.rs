//! Writes what an operator names as the tables hold it.

use std::net::{IpAddr, SocketAddr};

use dispatcher_common::{
    address::{Family as _, Mapped},
    backend::state,
    service::{self, ServiceKey, forward, scheduler},
};

use super::model::{AdminState, Forward, Protocol, Scheduler};

/// The address in the form shared by both families.
pub(super) fn mapped(address: IpAddr) -> Mapped {
    match address {
        IpAddr::V4(v4) => v4.octets().mapped(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The IANA number of a protocol.
pub(super) fn protocol(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => service::TCP,
        Protocol::Udp => service::UDP,
    }
}

/// The key of the service at `vip`.
pub(super) fn service_key(vip: SocketAddr, of: Protocol) -> ServiceKey {
    ServiceKey { addr: mapped(vip.ip()), port: vip.port(), proto: protocol(of), pad: 0 }
}

/// The code of a scheduler.
pub(super) fn scheduler(scheduler: Scheduler) -> u8 {
    match scheduler {
        Scheduler::Rr => scheduler::RR,
        Scheduler::Wrr => scheduler::WRR,
        Scheduler::Lc => scheduler::LC,
        Scheduler::Wlc => scheduler::WLC,
        Scheduler::Sh => scheduler::SH,
        Scheduler::Mh => scheduler::MH,
        Scheduler::P2c => scheduler::P2C,
        Scheduler::LeastLoad => scheduler::LEAST_LOAD,
    }
}

/// The code of a forward mode.
pub(super) fn forward(forward: Forward) -> u8 {
    match forward {
        Forward::Nat => forward::NAT,
        Forward::Dsr => forward::DSR,
    }
}

/// The code of an operator's state.
pub(super) fn state(admin: AdminState) -> u8 {
    match admin {
        AdminState::Ready => state::READY,
        AdminState::Drain => state::DRAIN,
        AdminState::Maint => state::MAINT,
    }
}
