//! Packets that wait for a backend: kept, released in order, or given up.

use dispatcher_common::{
    client::ClientKey,
    parse::{Headers, Parsed, parse},
};

use super::{
    Dispatcher,
    place::{Arrived, Placement, Reason},
    send::{Outgoing, Steps},
};
use crate::core::{
    ahead::Moment,
    event::Command,
    lookup::{Entries, Now},
    waiting::Packet,
};

/// Packets that are released, and what they ask for.
struct Release<'a, 'b> {
    moment: &'a mut Moment<'b>,
    steps: Vec<Steps>,
    locks: Vec<ClientKey>,
}

impl Dispatcher {
    /// True if packets of the client wait.
    pub(super) fn waits(&self, client: &ClientKey) -> bool {
        self.services.find(client.service).is_some_and(|service| service.waiting.packets_of(client) > 0)
    }

    /// Lets a packet wait, if there is room.
    pub(super) fn wait(&mut self, packet: Packet) {
        let Some(service) = self.services.find_mut(packet.client.service) else { return };
        let crowded = service.waiting.packets_of(&packet.client) >= self.settings.max_held_per_client;
        if crowded || self.held_packets >= self.settings.max_held_total {
            self.counters.drop(Reason::HoldOverflow);
            return;
        }
        service.waiting.push(packet);
        self.held_packets += 1;
        self.counters.waited += 1;
    }

    /// Sends on what waits for a service, in the order in which it came.
    ///
    /// Clients' entries go last but for the locks: by them the kernel makes flows whose packets may still be waiting.
    pub(super) fn release(&mut self, moment: &mut Moment<'_>, service: u16, commands: &mut Vec<Command>) {
        if self.services.find(service).is_none_or(|service| service.waiting.packets() == 0) {
            return;
        }
        let mut release = Release { moment, steps: Vec::new(), locks: Vec::new() };
        while let Some(packet) = self.pop(service, u64::MAX, &mut release.locks) {
            match parse(&*packet.frame, packet.ifindex) {
                Parsed::V4(headers) => self.release_packet(&headers, packet, &mut release),
                Parsed::V6(headers) => self.release_packet(&headers, packet, &mut release),
                Parsed::Other => self.counters.drop(Reason::Unreadable),
            }
        }
        let Release { moment, steps, locks } = release;
        let mut clients = Vec::new();
        for Steps { answer, forward, inject, client } in steps {
            commands.extend(answer);
            commands.extend(forward.map(|write| moment.ahead.behind(write)));
            commands.push(inject);
            clients.extend(client);
        }
        commands.extend(clients);
        commands.extend(locks.into_iter().map(Command::RemoveLock));
    }

    fn release_packet<A: Entries>(&mut self, headers: &Headers<A>, packet: Packet, release: &mut Release<'_, '_>) {
        let Packet { client, frame, .. } = packet;
        let arrived = Arrived::new(headers, client.service);
        let Moment { ns: now_ns, ahead } = release.moment;
        let placement = self.place(Now { ns: *now_ns, tables: ahead }, &arrived);
        let outgoing = Outgoing::new(&arrived, placement);
        match placement {
            Placement::Drop(reason) => self.counters.drop(reason),
            // A release starts only when a backend is usable, and none is lost before it ends.
            Placement::Wait => self.counters.drop(Reason::HoldTimeout),
            Placement::Known(_) | Placement::New(_) => {
                let Some(steps) = outgoing.and_then(|outgoing| self.send(*now_ns, &outgoing, frame)) else { return };
                if steps.forward.is_none() {
                    A::count(ahead, &headers.key, u64::from(headers.length));
                }
                let writes = [&steps.answer, &steps.forward, &steps.client];
                writes.into_iter().flatten().for_each(|write| ahead.note(write));
                release.steps.push(steps);
            }
        }
    }

    /// Gives up packets that have waited too long.
    pub(super) fn drop_overdue(&mut self, now_ns: u64, commands: &mut Vec<Command>) {
        let timeout_ns = u64::try_from(self.settings.hold_timeout.as_nanos()).unwrap_or(u64::MAX);
        let Some(until_ns) = now_ns.checked_sub(timeout_ns) else { return };
        let services: Vec<u16> =
            self.services.iter().filter(|service| service.waiting.packets() > 0).map(|service| service.id).collect();
        for service in services {
            self.give_up(service, until_ns, Reason::HoldTimeout, commands);
        }
    }

    /// Gives up the packets of a service that came at or before `until_ns`.
    pub(super) fn give_up(&mut self, service: u16, until_ns: u64, reason: Reason, commands: &mut Vec<Command>) {
        let mut locks = Vec::new();
        while self.pop(service, until_ns, &mut locks).is_some() {
            self.counters.drop(reason);
        }
        commands.extend(locks.into_iter().map(Command::RemoveLock));
    }

    /// Takes out the oldest packet that waits, and notes its client's lock if it was the client's last.
    fn pop(&mut self, service: u16, until_ns: u64, locks: &mut Vec<ClientKey>) -> Option<Packet> {
        let (packet, was_last) = self.services.find_mut(service)?.waiting.pop_until(until_ns)?;
        self.held_packets = self.held_packets.saturating_sub(1);
        if was_last {
            locks.push(packet.client);
        }
        Some(packet)
    }
}
