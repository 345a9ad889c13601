//! Carries out where a packet goes: entries, the rewritten frame, the client's lock, in an order that overtakes nothing.
//!
//! A flow's way back is written before its first packet leaves, for the answer may come at once. The way in is written
//! held, but for a TCP connection that a SYN opens, and at a moment when no packet of the flow can pass directly before
//! those that came up:
//!
//! - While a packet from the ring buffer is handled: before the packet leaves. Its record is consumed only afterwards,
//!   and a held flow opens only once all records are consumed that were there when a direct packet first found it.
//! - When packets are released that waited: also before, so that a daemon that dies meanwhile has not given the flow to
//!   one backend and left it to be picked anew. Their records were consumed long ago, so that a held flow might open at
//!   once; its fence is beyond reach until one more packet of it has come up behind those released.
//!
//! The client's entry follows the flow, so that the kernel does not make that flow by the entry. The lock goes last.

use bytes::{Bytes, BytesMut};
use dispatcher_common::{
    address::Family,
    client::{Client, ClientKey},
    decide,
    flow::{Assignment, Flow, state},
    parse::{Headers, Parsed, parse},
    rewrite,
    verdict::Forward,
};

use super::{
    Dispatcher,
    place::{Arrived, Placement, Reason},
};
use crate::core::{
    event::{Command, Upcall},
    lookup::{Entries, Now},
    model::Affinity,
    waiting::Packet,
};

/// A packet whose backend is decided.
pub(super) struct Outgoing<'a, A: Family> {
    headers: &'a Headers<A>,
    service: u16,
    backend: u16,
    /// The flow was not the backend's before: its entries are to be written.
    is_new: bool,
    /// Its entries are to be written.
    /// It opens a TCP connection.
    opening: bool,
}

impl<'a, A: Family> Outgoing<'a, A> {
    /// A packet that `arrived` and is to go as `placement` says; `None` if it is not to go.
    pub(super) fn new(arrived: &Arrived<'a, A>, placement: Placement) -> Option<Self> {
        let (backend, is_new) = match placement {
            Placement::Known(backend) => (backend, false),
            Placement::New(backend) => (backend, true),
            Placement::Wait | Placement::Drop(_) => return None,
        };
        let (headers, service, opening) = (arrived.headers, arrived.service, arrived.opening);
        Some(Self { headers, service, backend, is_new, opening })
    }
}

/// What a packet that goes to a backend asks for.
#[derive(Debug)]
pub(super) struct Steps {
    /// Writes the way back.
    pub(super) answer: Option<Command>,
    /// Writes the way in, held.
    pub(super) forward: Option<Command>,
    /// Sends the packet.
    pub(super) inject: Command,
    /// Writes the client's entry.
    pub(super) client: Option<Command>,
}

impl Dispatcher {
    /// Handles a packet that came up.
    pub(super) fn packet(&mut self, now: Now<'_>, upcall: Upcall, commands: &mut Vec<Command>) {
        self.counters.upcalls += 1;
        match parse(&*upcall.frame, upcall.ifindex) {
            Parsed::V4(headers) => self.packet_of(now, &headers, upcall, commands),
            Parsed::V6(headers) => self.packet_of(now, &headers, upcall, commands),
            Parsed::Other => self.counters.drop(Reason::Unreadable),
        }
    }

    fn packet_of<A: Entries>(
        &mut self,
        now: Now<'_>,
        headers: &Headers<A>,
        upcall: Upcall,
        commands: &mut Vec<Command>,
    ) {
        let Upcall { service, ifindex, placed_lock, frame } = upcall;
        let arrived = Arrived::new(headers, service);
        let client = arrived.client();
        let placement = self.place(now, &arrived);
        let outgoing = Outgoing::new(&arrived, placement);
        match placement {
            Placement::Drop(reason) => self.counters.drop(reason),
            Placement::Wait => self.wait(Packet { since_ns: now.ns, client, ifindex, frame }),
            Placement::Known(_) | Placement::New(_) => {
                if let Some(steps) = outgoing.and_then(|outgoing| self.send(now.ns, &outgoing, frame)) {
                    let Steps { answer, forward, inject, client } = steps;
                    commands.extend(answer.into_iter().chain(forward).chain([inject]).chain(client));
                }
            }
        }
        if placed_lock && !self.waits(&client) {
            commands.push(Command::RemoveLock(client));
        }
    }

    /// Prepares a packet for its backend. Nothing if its service or backend is gone.
    pub(super) fn send<A: Entries>(&mut self, now_ns: u64, out: &Outgoing<'_, A>, frame: Bytes) -> Option<Steps> {
        let key = &out.headers.key;
        let service = self.services.find(out.service)?;
        let row = self.backends.row_mut(out.backend)?;
        let backend = (out.backend, &row.entry);
        let assignment = Assignment::new(key, &out.headers.arrival, &service.entry(), backend);
        let forward = decide::towards(assignment.target, assignment.destination, backend);
        let inject = Command::Inject { ifindex: forward.hop.ifindex, frame: rewritten(frame, out.headers, &forward)? };
        let length = u64::from(out.headers.length);
        self.counters.injected += 1;
        row.injected(length);
        let (id, generation) = (out.backend, row.entry.generation);
        if !out.is_new {
            return Some(Steps { answer: None, forward: None, inject, client: None });
        }
        row.opened();
        let answer =
            assignment.towards_client().map(|(answer, flow)| A::write(answer, Flow { last_seen_ns: now_ns, ..flow }));
        // Nothing can overtake a SYN but its own copy: its sender waits for the answer. Were the entry held, the answer's
        // acknowledgement would come up, for it may arrive while the SYN is still being sent.
        let state = if out.opening { state::SYN } else { state::HELD };
        let flow = assignment.towards_backend(state);
        let forward = A::write(*key, Flow { packets: 1, bytes: length, last_seen_ns: now_ns, ..flow });
        let client = (service.spec.affinity == Affinity::ClientIp).then(|| {
            let expires_ns = now_ns.saturating_add(service.entry().affinity_ns);
            let client = ClientKey::new(key.src, service.id);
            Command::WriteClient(client, Client { expires_ns, backend: id, generation, pad: [0; 4] })
        });
        Some(Steps { answer, forward: Some(forward), inject, client })
    }
}

/// The frame as it leaves; in its own memory if nobody shares that.
fn rewritten<A: Family>(frame: Bytes, headers: &Headers<A>, forward: &Forward<A>) -> Option<Bytes> {
    let mut frame = frame.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
    rewrite::apply(&mut *frame, headers, forward)?;
    Some(frame.freeze())
}
