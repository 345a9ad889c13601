//! Runs the decision on the host: the same `parse`, `decide` and `rewrite` as the program, over tables in memory.

use std::{cell::RefCell, collections::HashMap, mem};

use dispatcher_common::{
    address::Family,
    backend::{Backend, BackendStats},
    client::{Client, ClientKey},
    client_lock::ClientLock,
    config::Config,
    counter::Counter,
    decide::{FlowTable, Placed, Positions, Tables, decide},
    event::flags,
    flow::{Flow, FlowKey},
    parse::{Headers, Parsed, parse},
    rewrite, ring,
    service::{Service, ServiceKey},
    table::{MAX_BACKENDS, MAX_LOCKS},
    verdict::{Forward, Translation, Upcall, Verdict},
};

use super::{
    scene::Scene,
    world::{World, record_size},
};

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where it went.
    pub action: Action,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

/// Where a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `XDP_PASS`
    Pass,
    /// `XDP_DROP`
    Drop,
    /// `XDP_TX`
    Tx,
    /// `XDP_REDIRECT` to an interface.
    Redirect(u32),
    /// `XDP_ABORTED`, or a number that is no action: the program is broken.
    Broken(u32),
}

/// Decides about a frame that interface `ingress` received at the world's time, and carries that out.
pub fn run(world: &mut World, frame: &[u8], ingress: u32) -> Outcome {
    let mut host = Host {
        ingress,
        frame: frame.to_vec(),
        backends: mem::take(&mut world.backends),
        now_ns: world.now_ns,
        world: RefCell::new(world),
    };
    let outcome = match parse(frame, ingress) {
        Parsed::V4(headers) => host.run(&headers),
        Parsed::V6(headers) => host.run(&headers),
        Parsed::Other => host.counted(Counter::NotOurs, Action::Pass),
    };
    host.world.into_inner().backends = host.backends;
    outcome
}

/// The tables as the decision sees them.
struct Host<'a> {
    /// Interface that received the frame.
    ingress: u32,
    /// The frame, as received.
    frame: Vec<u8>,
    /// The world's, for the decision borrows rows.
    backends: HashMap<u16, Backend>,
    now_ns: u64,
    world: RefCell<&'a mut World>,
}

/// Where no backend is.
static VACANT: Backend = Backend {
    addr: [0; 16],
    port: 0,
    generation: 0,
    ifindex: 0,
    mac: [0; 6],
    source_mac: [0; 6],
    weight: 0,
    state: 0,
    health: 0,
    service: 0,
    pad: [0; 2],
};

impl Host<'_> {
    fn run<A: Scene>(&mut self, headers: &Headers<A>) -> Outcome {
        match decide(headers, self.now_ns, &*self) {
            Verdict::Pass(reason) => self.counted(reason, Action::Pass),
            Verdict::Drop(reason) | Verdict::Up(Upcall { reason, .. }) => self.counted(reason, Action::Drop),
            Verdict::Forward(forward) => self.forward(headers, &forward),
        }
    }

    fn counted(&self, reason: Counter, action: Action) -> Outcome {
        self.count(reason);
        Outcome { action, frame: self.frame.clone() }
    }

    fn forward<A: Family>(&mut self, headers: &Headers<A>, forward: &Forward<A>) -> Outcome {
        rewrite::apply(&mut *self.frame, headers, forward).unwrap();
        self.with_stats(forward.backend, |stats| {
            let bytes = u64::from(headers.length);
            if matches!(forward.translation, Translation::Source(_)) {
                (stats.packets_out, stats.bytes_out) = (stats.packets_out + 1, stats.bytes_out + bytes);
            } else {
                (stats.packets_in, stats.bytes_in) = (stats.packets_in + 1, stats.bytes_in + bytes);
            }
        });
        let ifindex = forward.hop.ifindex;
        if ifindex != self.ingress && !self.world.borrow().ports.contains(&ifindex) {
            return self.counted(Counter::NoPort, Action::Drop);
        }
        let action = if ifindex == self.ingress { Action::Tx } else { Action::Redirect(ifindex) };
        Outcome { action, frame: self.frame.clone() }
    }

    fn with_stats(&self, backend: u16, change: impl FnOnce(&mut BackendStats)) {
        change(self.world.borrow_mut().backend_stats(backend));
    }
}

impl Tables for Host<'_> {
    fn service(&self, key: &ServiceKey) -> Option<Service> {
        self.world.borrow().services.get(key).copied()
    }

    fn backend(&self, id: u16) -> Option<&Backend> {
        (usize::from(id) < MAX_BACKENDS).then(|| self.backends.get(&id).unwrap_or(&VACANT))
    }

    fn ring_slot(&self, ring: u16, slot: usize) -> u16 {
        // A row of an array that nobody wrote is zero.
        self.world.borrow().rings.get(&ring).map_or(0, |ring| ring.slots.get(slot).copied().unwrap_or(ring::EMPTY))
    }

    fn client(&self, key: &ClientKey) -> Option<Client> {
        self.world.borrow().clients.get(key).copied()
    }

    fn insert_client(&self, key: &ClientKey, client: &Client) {
        self.world.borrow_mut().clients.insert(*key, *client);
    }

    fn lock(&self, key: &ClientKey) -> Option<ClientLock> {
        self.world.borrow().locks.get(key).copied()
    }

    fn place_lock(&self, key: &ClientKey, lock: &ClientLock) -> Placed {
        let locks = &mut self.world.borrow_mut().locks;
        if locks.contains_key(key) {
            Placed::Stands
        } else if locks.len() >= MAX_LOCKS {
            Placed::Full
        } else {
            locks.insert(*key, *lock);
            Placed::Yes
        }
    }

    fn remove_lock(&self, key: &ClientKey) {
        self.world.borrow_mut().locks.remove(key);
    }

    fn config(&self) -> Config {
        self.world.borrow().config
    }

    fn send_up(&self, upcall: &Upcall) -> bool {
        let mut world = self.world.borrow_mut();
        let fits = record_size(self.frame.len()).is_some_and(|size| world.has_room(size));
        if fits {
            let placed = if upcall.reason == Counter::Upcall { flags::PLACED_LOCK } else { 0 };
            world.send_up(self.ingress, upcall.service, placed, &self.frame);
        }
        fits
    }

    fn upcall_positions(&self) -> Positions {
        let world = self.world.borrow();
        Positions { consumed: world.consumed, produced: world.produced }
    }

    fn count(&self, counter: Counter) {
        self.world.borrow_mut().stats.add(counter);
    }

    fn count_flow(&self, backend: u16, opened: bool) {
        self.with_stats(backend, |stats| {
            if opened {
                stats.flows_opened += 1;
            } else {
                stats.flows_closed += 1;
            }
        });
    }
}

impl<A: Scene> FlowTable<A> for Host<'_> {
    fn with_flow<R>(&self, key: &FlowKey<A>, visit: impl FnOnce(&mut Flow<A>) -> R) -> Option<R> {
        A::flows(&mut self.world.borrow_mut()).get_mut(key).map(visit)
    }

    fn insert_flow(&self, key: &FlowKey<A>, build: impl FnOnce() -> Flow<A>) -> bool {
        let mut world = self.world.borrow_mut();
        if world.refuses_flows {
            return false;
        }
        A::flows(&mut world).insert(*key, build());
        true
    }
}
