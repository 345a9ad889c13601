//! What must hold: remembers every flow and packet, and fails at the first that went another way than it should.

use std::collections::BTreeSet;

use dispatcher_common::{
    address::{Family as _, V6},
    backend::Backend,
    client::{Client, ClientKey},
    decide::Tables as _,
    flow::{FlowKey, state},
    service::{Service, ServiceKey, TCP, UDP},
};

use crate::{
    frames::{self, Tag, Tuple},
    tables::{Map, Tables},
};

/// A conversation between a client and a service.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) tuple: Tuple,
    /// Somebody else's packets under the client's name.
    pub(crate) is_forged: bool,
    /// Backend ID and generation that its packets reach.
    pub(crate) home: Option<(u16, u16)>,
    /// The last packet that a backend got.
    pub(crate) last_seq: Option<u32>,
    pub(crate) next_seq: u32,
    /// Number of the connection's SYN.
    pub(crate) opening: u32,
    pub(crate) ended: bool,
    /// Its entry is gone, or was made twice at once, so that it may be picked anew although its backend is there.
    pub(crate) may_move: bool,
    /// Order has yielded to delivery, as it may while the daemon is late, its way up full, or the flow's entry lost.
    pub(crate) may_reorder: bool,
    /// Another flow of the same port may take its answers: it was made in the same moment, or this one looks over.
    pub(crate) may_collide: bool,
    /// Its packets that are on their way through the daemon.
    pub(crate) on_the_way: BTreeSet<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) flows: Vec<Flow>,
    /// The flow that a 5-tuple is of now.
    pub(crate) current: Map<FlowKey<V6>, u32>,
    pub(crate) delivered: BTreeSet<u32>,
    /// No entry of a flow makes room for another's.
    pub(crate) has_room: bool,
    /// Packets that a dying daemon was handling: its successor handles them again.
    pub(crate) handled_again: BTreeSet<u32>,
    /// Clients for which the kernel wrote an entry while the daemon handled a record.
    pub(crate) written_meanwhile: BTreeSet<[u8; 16]>,
}

/// The 5-tuple as tables know it.
pub(crate) fn key(tuple: &Tuple) -> FlowKey<V6> {
    FlowKey {
        src: mapped(tuple.client.ip()),
        dst: mapped(tuple.vip.ip()),
        sport: tuple.client.port(),
        dport: tuple.vip.port(),
        proto: if tuple.udp { UDP } else { TCP },
        pad: [0; 3],
    }
}

/// The key of the service at `vip`.
pub(crate) fn service_key(vip: std::net::SocketAddr, udp: bool) -> ServiceKey {
    ServiceKey { addr: mapped(vip.ip()), port: vip.port(), proto: if udp { UDP } else { TCP }, pad: 0 }
}

pub(crate) fn mapped(address: std::net::IpAddr) -> V6 {
    match address {
        std::net::IpAddr::V4(v4) => v4.octets().mapped(),
        std::net::IpAddr::V6(v6) => v6.octets(),
    }
}

/// The service that a 5-tuple is for, if it is there.
pub(crate) fn service_of(tables: &Tables, key: &FlowKey<V6>) -> Option<Service> {
    tables.service(&ServiceKey { addr: key.dst, port: key.dport, proto: key.proto, pad: 0 })
}

/// True if the backend's answers to `key` could not be told from those of another live flow.
pub(crate) fn conflicts(tables: &Tables, key: &FlowKey<V6>, backend: &Backend) -> bool {
    use dispatcher_user::core::lookup::Lookup as _;
    let answers = FlowKey { src: backend.addr, dst: key.src, sport: backend.port, dport: key.sport, ..*key };
    let other = if dispatcher_common::address::is_mapped_v4(&key.src) {
        tables.flow4(&crate::tables::shrunk(&answers)).map(|flow| (flow.address.mapped(), flow.port, flow.state))
    } else {
        tables.flow6(&answers).map(|flow| (flow.address, flow.port, flow.state))
    };
    other.is_some_and(|(vip, port, of)| of < state::CLOSING && (vip, port) != (key.dst, key.dport))
}

impl Oracle {
    pub(crate) fn flow(&mut self, number: u32) -> &mut Flow {
        &mut self.flows[usize::try_from(number).unwrap()]
    }

    /// Begins a flow, which its 5-tuple is of from now on.
    pub(crate) fn begin(&mut self, tuple: Tuple, opening: u32, is_forged: bool) -> u32 {
        let number = u32::try_from(self.flows.len()).unwrap();
        let before = self.current.get(&key(&tuple)).copied();
        let may_collide = before.is_some_and(|before| self.flow(before).may_collide);
        if !is_forged || !self.current.contains_key(&key(&tuple)) {
            self.current.insert(key(&tuple), number);
        }
        self.flows.push(Flow {
            tuple,
            is_forged,
            home: None,
            last_seq: None,
            next_seq: 0,
            opening,
            ended: false,
            may_move: false,
            may_reorder: false,
            may_collide,
            on_the_way: BTreeSet::new(),
        });
        number
    }

    /// The flow's entry is gone.
    pub(crate) fn forget(&mut self, key: &FlowKey<V6>) {
        if let Some(&number) = self.current.get(key) {
            let flow = self.flow(number);
            (flow.may_move, flow.may_reorder) = (true, true);
        }
    }

    /// The kernel made a flow while the daemon had its hands full: neither saw what the other decided.
    pub(crate) fn made_meanwhile(&mut self, key: &FlowKey<V6>) {
        self.written_meanwhile.insert(key.src);
        let client = |flow: &Flow| (mapped(flow.tuple.client.ip()), flow.tuple.client.port());
        let its_own = self.flows.iter_mut().filter(|flow| client(flow) == (key.src, key.sport));
        its_own.for_each(|flow| flow.may_collide = true);
        if let Some(&number) = self.current.get(key) {
            self.flow(number).may_move = true;
        }
    }

    /// A flow's entry was written for `backend`. `client` is the client's entry as it was before.
    pub(crate) fn gave(
        &mut self,
        tables: &Tables,
        now_ns: u64,
        key: &FlowKey<V6>,
        to: (u16, u16),
        client: Option<Client>,
    ) {
        let row = tables.backends[usize::from(to.0)];
        assert_eq!(row.generation, to.1, "a flow is given to a backend that is gone: {key:?}");
        let number = self.current.get(key).copied();
        if number.is_some_and(|number| self.flow(number).home == Some(to)) {
            return;
        }
        assert!(row.takes_flows(), "flow {number:?} is given to a backend that takes none: {row:?}");
        let Some(service) = service_of(tables, key) else { return };
        assert_eq!(row.service, service.id, "flow {number:?} is given to another service's backend");
        if let Some(client) = client.filter(|client| service.has_client_affinity() && now_ns < client.expires_ns)
            && !self.written_meanwhile.contains(&key.src)
        {
            let home = tables.backends[usize::from(client.backend)];
            let holds = home.generation == client.generation && home.takes_flows();
            assert!(!holds || client.backend == to.0, "flow {number:?} left its client's backend {}", client.backend);
        }
    }

    /// A backend got a packet.
    pub(crate) fn reached(&mut self, tables: &Tables, frame: &[u8], backend: u16, directly: bool) {
        let has_room = self.has_room;
        let Tag { flow: number, seq, id } = frames::tag(frame);
        let row = tables.backends[usize::from(backend)];
        let to = (backend, row.generation);
        let is_again = !self.delivered.insert(id);
        assert!(!is_again || self.handled_again.contains(&id), "packet {id} of flow {number} came twice");
        let flow = self.flow(number);
        flow.on_the_way.remove(&id);
        assert!(row.keeps_flows(row.generation), "flow {number} reached a backend that gets nothing: {row:?}");
        check_frame(frame, &row, &flow.tuple);
        if flow.is_forged {
            let forged = key(&flow.tuple);
            let victim = self.current[&forged];
            let victim = self.flow(victim);
            let moved = victim.home.is_some_and(|home| {
                home != to && !victim.may_collide && !victim.ended && !victim.may_move && keeps(tables, home)
            });
            assert!(!moved, "a forged packet led flow {number} away: {victim:?} to {to:?}");
            return;
        }
        if flow.ended && seq == 0 && !flow.tuple.udp {
            // A SYN that comes when its connection is over may well open another.
            return;
        }
        let moved = flow.home.is_some_and(|home| home != to);
        let may_move = flow.may_move || flow.ended || flow.home.is_some_and(|home| !keeps(tables, home));
        assert!(!moved || may_move, "flow {number} went to {to:?} (directly: {directly}) and before: {flow:?}");
        // A TCP connection does not survive it; a SYN of it that comes late may open it anew before what is behind.
        flow.may_reorder |= moved && !flow.tuple.udp;
        // Where entries make room for others, this one may be gone again.
        flow.may_move &= !moved || !has_room;
        flow.home = Some(to);
        // A repeated SYN may come late: it means nothing to a connection that is open.
        let late = !flow.tuple.udp && seq == 0;
        let in_order = flow.last_seq.is_none_or(|last| last < seq) || is_again || late || flow.may_reorder;
        assert!(in_order, "packet {seq} of flow {number} overtaken (directly: {directly}): {flow:?}");
        flow.last_seq = flow.last_seq.max(Some(seq));
    }
}

fn keeps(tables: &Tables, (backend, generation): (u16, u16)) -> bool {
    tables.backends[usize::from(backend)].keeps_flows(generation)
}

/// What arrives is addressed to who gets it.
fn check_frame(frame: &[u8], row: &Backend, tuple: &Tuple) {
    assert_eq!(frames::destination_mac(frame), row.mac, "to a stranger's MAC address");
    let (from, to) = frames::ends(frame);
    assert_eq!(from, tuple.client, "the client's address is changed");
    let translated = mapped(to.ip()) == row.addr && to.port() == row.port;
    assert!(translated || to == tuple.vip, "to {to}, which is neither the backend nor the VIP");
}

/// The client's entry at the service of `key`.
pub(crate) fn client_entry(tables: &Tables, key: &FlowKey<V6>) -> Option<Client> {
    let service = service_of(tables, key)?;
    let clients = tables.clients.borrow();
    clients.get(&ClientKey { addr: key.src, service: service.id, pad: [0; 2] }).copied()
}
