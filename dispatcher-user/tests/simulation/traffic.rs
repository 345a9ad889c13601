//! What clients, forgers and backends send.

use std::net::SocketAddr;

use dispatcher_common::{
    decide::Positions,
    flow::state,
    parse::{ACK, FIN, RST, SYN},
};
use dispatcher_user::core::model::Protocol;

use crate::{
    frames::{self, Content, Tag, Tuple},
    kernel::{self, Fate},
    oracle,
    world::World,
};

impl World {
    /// A client sends something.
    pub(crate) fn traffic(&mut self) {
        let Some(tuple) = self.some_tuple() else { return };
        let current = self.oracle.current.get(&oracle::key(&tuple)).copied();
        let number = match current {
            Some(number) if !self.oracle.flow(number).is_forged && !self.oracle.flow(number).ended => number,
            // A port is used again once nothing of its last connection is on its way.
            Some(number) if !self.oracle.flow(number).on_the_way.is_empty() => return,
            _ => {
                let opening = u32::try_from(self.dice.below(1 << 32)).unwrap();
                let number = self.oracle.begin(tuple, opening, false);
                return self.send_of(number, if tuple.udp { 0 } else { SYN });
            }
        };
        if tuple.udp {
            for _ in 0..1 + self.dice.below(4) {
                self.send_of(number, 0);
            }
        } else if self.oracle.flow(number).last_seq.is_none() {
            // Nobody answered yet.
            self.oracle.flow(number).next_seq = 0;
            self.send_of(number, SYN);
        } else {
            let flags = match self.dice.below(12) {
                0 => FIN | ACK,
                1 => RST,
                _ => ACK,
            };
            self.oracle.flow(number).ended = flags != ACK;
            self.send_of(number, flags);
        }
    }

    fn some_tuple(&mut self) -> Option<Tuple> {
        let service = self.dice.choose(&self.services)?.clone();
        let host = self.dice.below(3);
        let port = 40_000 + u16::try_from(self.dice.below(4)).unwrap();
        let client = match service.vip {
            SocketAddr::V4(_) => SocketAddr::from(([198, 51, 100, 2 + u8::try_from(host).unwrap()], port)),
            SocketAddr::V6(_) => {
                let last = 2 + u16::try_from(host).unwrap();
                SocketAddr::from(([0x2001, 0xdb8, 0x51, 0, 0, 0, 0, last], port))
            }
        };
        Some(Tuple { client, vip: service.vip, udp: service.protocol == Protocol::Udp })
    }

    /// Sends the next packet of a flow.
    pub(crate) fn send_of(&mut self, number: u32, flags: u8) {
        let id = self.next_id;
        self.next_id += 1;
        let router = [2, 2, 0, 0, 0, self.router];
        let padding = [0, 0, 0, 200, 1_400][usize::try_from(self.dice.below(5)).unwrap()];
        let flow = self.oracle.flow(number);
        let tag = Tag { flow: number, seq: flow.next_seq, id };
        let sequence = flow.opening.wrapping_add(if flags == SYN { 0 } else { 1 + flow.next_seq });
        flow.next_seq += 1;
        let frame = frames::request(&flow.tuple, Content { flags, sequence, router, padding, tag });
        self.send(frame);
    }

    /// Somebody sends a packet under a client's name: to a flow that lives, or to none.
    pub(crate) fn forge(&mut self) {
        if self.dice.once_in(20) {
            // A router fails over: packets come from another MAC address now.
            self.router = self.router.wrapping_add(1);
        }
        let Some(tuple) = self.some_tuple() else { return };
        let key = oracle::key(&tuple);
        let opening = u32::try_from(self.dice.below(1 << 32)).unwrap();
        let flags = if tuple.udp {
            return;
        } else if self.dice.once_in(2) {
            SYN
        } else {
            RST
        };
        if let (Some((backend, _, of)), Some(&victim)) = (self.tables.holder(&key), self.oracle.current.get(&key)) {
            // Nobody here keeps book of sequence numbers: who resets a connection by forgery may open it again, and if its
            // backend takes no flows then, it is led away. A SYN on its way may do the same. Its answers count as over.
            let takes_flows = self.tables.backends[usize::from(backend)].takes_flows();
            let Positions { consumed, produced } = self.tables.positions.get();
            let victim = self.oracle.flow(victim);
            let repeats = flags == RST && consumed != produced;
            victim.may_collide |= flags == RST;
            victim.may_move |= repeats || (flags == SYN && of >= state::CLOSING && !takes_flows);
        }
        let number = self.oracle.begin(tuple, opening, true);
        self.send_of(number, flags);
    }

    /// The backend that got a packet answers it, sooner or later.
    pub(crate) fn answer(&mut self, tuple: &Tuple, tag: Tag, backend: u16) {
        let row = self.tables.backends[usize::from(backend)];
        let address = if dispatcher_common::address::is_mapped_v4(&row.addr) {
            let [.., a, b, c, d] = row.addr;
            SocketAddr::from(([a, b, c, d], row.port))
        } else {
            SocketAddr::from((row.addr, row.port))
        };
        let flow = self.oracle.flow(tag.flow).clone();
        let key = oracle::key(tuple);
        let is_current = self.oracle.current.get(&key) == Some(&tag.flow);
        let nat = oracle::service_of(&self.tables, &key)
            .is_some_and(|service| service.forward == dispatcher_common::service::forward::NAT);
        let may_fail = flow.is_forged || flow.ended || flow.may_move || flow.may_collide;
        if !nat || may_fail || !is_current || !self.profile.has_room() {
            return;
        }
        let frame = frames::answer(row.mac, address, tuple, Tag { id: 0, ..tag });
        let fate = kernel::receive(&self.tables, self.now_ns, frame, 4);
        let Fate::Forwarded { frame, mac, .. } = fate else {
            panic!("the answer to packet {} of flow {} did not leave: {fate:?}", tag.seq, tag.flow)
        };
        assert_eq!(frames::ends(&frame), (tuple.vip, tuple.client), "an answer of flow {} left wrongly", tag.flow);
        assert_eq!(mac[..5], [2, 2, 0, 0, 0], "an answer left for nobody's MAC address");
    }
}
