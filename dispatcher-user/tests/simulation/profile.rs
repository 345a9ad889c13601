//! What kind of world a seed is: how big, how troubled, with which services.

use std::{net::SocketAddr, time::Duration};

use dispatcher_user::core::model::{AdminState, Affinity, BackendSpec, Forward, Protocol, Scheduler, ServiceSpec};

use crate::{dice::Dice, tables::Capacities, world::MILLISECOND_NS};

pub(crate) const SCHEDULERS: [Scheduler; 8] = [
    Scheduler::Rr,
    Scheduler::Wrr,
    Scheduler::Lc,
    Scheduler::Wlc,
    Scheduler::Sh,
    Scheduler::Mh,
    Scheduler::P2c,
    Scheduler::LeastLoad,
];

/// How often each kind of thing happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    pub(crate) traffic: u64,
    pub(crate) daemon: u64,
    pub(crate) time: u64,
    pub(crate) operator: u64,
    pub(crate) forgers: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// The daemon is always done before anything else happens.
    pub(crate) calm: bool,
    pub(crate) crashes: bool,
    pub(crate) longest_pause_ns: u64,
    pub(crate) capacities: Capacities,
    pub(crate) weights: Weights,
    pub(crate) services: u8,
}

impl Profile {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let calm = dice.once_in(5);
        let tight = |dice: &mut Dice, few: u64, many: u64| if dice.once_in(4) { few } else { many };
        let size = |number: u64| usize::try_from(number).unwrap();
        let capacities = Capacities {
            event_bytes: if calm { 1 << 20 } else { tight(dice, 1_600, 1 << 20) },
            locks: if calm { 1_000 } else { size(tight(dice, 2, 1_000)) },
            flows: if calm { 10_000 } else { size(tight(dice, 12, 10_000)) },
            clients: if calm { 1_000 } else { size(tight(dice, 2, 1_000)) },
        };
        let weights = Weights {
            traffic: 40,
            daemon: 20 + dice.below(120),
            time: 5,
            operator: if calm { 0 } else { dice.below(4) },
            forgers: if calm { 0 } else { dice.below(4) },
        };
        Self {
            calm,
            crashes: !calm && dice.once_in(2),
            longest_pause_ns: if calm { 10 } else { tight(dice, 3_000, 20) } * MILLISECOND_NS,
            capacities,
            weights,
            services: u8::try_from(1 + dice.below(3)).unwrap(),
        }
    }

    /// True if no entry of a flow or client makes room for another.
    pub(crate) fn has_room(&self) -> bool {
        self.capacities.flows > 1_000 && self.capacities.clients > 100
    }

    pub(crate) fn services(&self, dice: &mut Dice) -> Vec<ServiceSpec> {
        (0..self.services).map(|number| service(dice, number)).collect()
    }
}

/// The service of that number. Its backends' addresses are those of other services too.
pub(crate) fn service(dice: &mut Dice, number: u8) -> ServiceSpec {
    let six = number == 2;
    let vip = if six {
        SocketAddr::from(([0x2001, 0xdb8, 0x113, 0, 0, 0, 0, u16::from(number)], 80))
    } else {
        SocketAddr::from(([203, 0, 113, 10 + number], 80))
    };
    let forward = if dice.once_in(4) { Forward::Dsr } else { Forward::Nat };
    let mut spec = ServiceSpec {
        name: format!("s{number}"),
        vip,
        protocol: if dice.once_in(2) { Protocol::Udp } else { Protocol::Tcp },
        scheduler: *dice.choose(&SCHEDULERS).unwrap(),
        forward,
        affinity: if dice.once_in(2) { Affinity::ClientIp } else { Affinity::None },
        affinity_timeout: Duration::from_secs(1 + dice.below(600)),
        secure: None,
        backends: Vec::new(),
    };
    for index in 0..1 + dice.below(4) {
        spec.backends.push(backend(dice, &spec, u8::try_from(index).unwrap()));
    }
    spec
}

/// The backend of that number in `service`.
pub(crate) fn backend(dice: &mut Dice, service: &ServiceSpec, number: u8) -> BackendSpec {
    let port = if service.forward == Forward::Dsr { 80 } else { 8080 };
    let address = match service.vip {
        SocketAddr::V4(_) => SocketAddr::from(([10, 77, 1, 11 + number], port)),
        SocketAddr::V6(_) => SocketAddr::from(([0xfd00, 0x77, 0, 0, 0, 0, 0, 11 + u16::from(number)], port)),
    };
    let state = if dice.once_in(8) { AdminState::Drain } else { AdminState::Ready };
    BackendSpec { name: format!("b{number}"), address, weight: u16::try_from(1 + dice.below(4)).unwrap(), state }
}
