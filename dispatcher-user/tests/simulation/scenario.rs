//! A small world without chance: one daemon that does at once what it is asked to, for tests of single promises.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use dispatcher_common::{
    backend::Backend,
    client::ClientKey,
    parse::{ACK, SYN},
    service::Service,
};
use dispatcher_user::core::{
    dispatcher::Settings,
    event::{Event, NextHop},
    model::{AdminState, Affinity, BackendSpec, Change, Forward, Protocol, Refusal, Scheduler, ServiceSpec},
    view::Snapshot,
};

use crate::{
    daemon::{Daemon, Effect},
    frames::{self, Content, OUR_MAC, Tag, Tuple},
    kernel::{self, Fate},
    oracle,
    tables::{Capacities, Tables},
    world::{IFINDEX, MILLISECOND_NS},
};

pub(crate) const SETTINGS: Settings =
    Settings { seed: 7, max_held_per_client: 4, max_held_total: 10, hold_timeout: Duration::from_secs(1) };

pub(crate) struct Scenario {
    pub(crate) now_ns: u64,
    pub(crate) tables: Tables,
    pub(crate) daemon: Daemon,
    /// What the daemon has sent.
    pub(crate) sent: Vec<Bytes>,
    next_id: u32,
}

pub(crate) fn roomy() -> Capacities {
    Capacities { event_bytes: 1 << 20, locks: 1000, flows: 1000, clients: 1000 }
}

/// Service `web` at 203.0.113.10 with backends at 10.77.1.11 and so on.
pub(crate) fn web(scheduler: Scheduler, backends: u8) -> ServiceSpec {
    ServiceSpec {
        name: "web".into(),
        vip: "203.0.113.10:80".parse().unwrap(),
        protocol: Protocol::Udp,
        scheduler,
        forward: Forward::Nat,
        affinity: Affinity::None,
        affinity_timeout: Duration::from_secs(600),
        secure: None,
        backends: (0..backends).map(backend).collect(),
    }
}

pub(crate) fn backend(number: u8) -> BackendSpec {
    BackendSpec {
        name: format!("b{number}"),
        address: SocketAddr::from(([10, 77, 1, 11 + number], 8080)),
        weight: 1,
        state: AdminState::Ready,
    }
}

pub(crate) fn client(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host], port))
}

impl Scenario {
    /// A daemon over empty tables; no neighbour is known yet.
    pub(crate) fn new(services: Vec<ServiceSpec>) -> Self {
        Self::over(Tables::new(roomy()), services)
    }

    /// A daemon over what another left.
    pub(crate) fn over(tables: Tables, services: Vec<ServiceSpec>) -> Self {
        let now_ns = 5_000 * MILLISECOND_NS;
        let daemon = Daemon::start(SETTINGS, now_ns, &tables, services);
        let mut scenario = Self { now_ns, tables, daemon, sent: Vec::new(), next_id: 0 };
        scenario.work();
        scenario.daemon.beat(now_ns, &mut scenario.tables);
        scenario
    }

    /// Carries out all that the core asks for.
    pub(crate) fn work(&mut self) {
        while self.daemon.is_busy() {
            if let Effect::Sent(frame) = self.daemon.work(&mut self.tables) {
                self.sent.push(frame);
            }
        }
    }

    pub(crate) fn hand(&mut self, event: Event) {
        self.daemon.hand(self.now_ns, event, &self.tables);
        self.work();
    }

    pub(crate) fn change(&mut self, change: Change) -> Result<(), Refusal> {
        let outcome = self.daemon.change(self.now_ns, change, &self.tables);
        self.work();
        outcome
    }

    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now_ns += milliseconds * MILLISECOND_NS;
        self.daemon.beat(self.now_ns, &mut self.tables);
        self.hand(Event::Tick);
    }

    pub(crate) fn reach(&mut self, number: u8, found: bool) {
        let hop = NextHop { ifindex: 4, mac: [2, 1, 0, 0, 0, 11 + number], source_mac: OUR_MAC };
        self.hand(Event::Neighbour { address: backend(number).address.ip(), hop: found.then_some(hop) });
    }

    /// Sends the `seq`-th packet from `client` to `vip`, and lets the daemon handle it if it goes up.
    pub(crate) fn send(&mut self, client: SocketAddr, vip: &str, seq: u32) -> Fate {
        let udp = !vip.ends_with(":81");
        let tuple = Tuple { client, vip: vip.parse().unwrap(), udp };
        self.next_id += 1;
        let tag = Tag { flow: u32::from(client.port()), seq, id: self.next_id };
        let flags = if seq == 0 { SYN } else { ACK };
        let content = Content { flags, sequence: seq, router: [2, 2, 0, 0, 0, 9], padding: 0, tag };
        let fate = kernel::receive(&self.tables, self.now_ns, frames::request(&tuple, content), IFINDEX);
        self.work_off();
        fate
    }

    pub(crate) fn work_off(&mut self) {
        while self.daemon.take_record(self.now_ns, &self.tables) {
            self.work();
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.daemon.core.snapshot(self.now_ns)
    }

    /// The tags of what was sent since the last look, with the addresses it was sent to.
    pub(crate) fn take_sent(&mut self) -> Vec<(Tag, SocketAddr)> {
        self.sent.drain(..).map(|frame| (frames::tag(&frame), frames::ends(&frame).1)).collect()
    }

    pub(crate) fn service(&self, vip: &str, udp: bool) -> Option<Service> {
        self.tables.services.get(&oracle::service_key(vip.parse().unwrap(), udp)).copied()
    }

    /// ID and row of the backend at the address of the `number`-th.
    pub(crate) fn row(&self, number: u8) -> Option<(u16, Backend)> {
        let address = oracle::mapped(backend(number).address.ip());
        let rows = (0..).zip(self.tables.backends.iter().copied());
        rows.into_iter().find(|(_, row)| row.addr == address)
    }

    pub(crate) fn locks(&self) -> Vec<ClientKey> {
        self.tables.locks.borrow().keys().copied().collect()
    }
}
