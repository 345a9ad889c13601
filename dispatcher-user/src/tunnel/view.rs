//! Writes down what a pool's slots hold, for an operator to see.

use std::{sync::Arc, sync::atomic::Ordering};

use super::{
    connection::Connection,
    context::{Context, PoolView, TunnelState, TunnelView},
    dial::Facts,
    table::{Shared, Slot},
};

impl<B> Shared<B> {
    pub(super) fn view(&self) -> PoolView {
        let home = &self.home;
        let table = self.table();
        let tunnels = table.slots.iter().enumerate().flat_map(|(number, slot)| views(number, slot)).collect();
        drop(table);
        PoolView {
            backend: home.settings.backend.to_string(),
            address: home.settings.address,
            verified: home.settings.tls.verifies(),
            tunnels,
            upgraded: home.upgraded.load(Ordering::SeqCst),
            counters: home.counts.view(),
        }
    }
}

/// A slot's tunnels. One that somebody keeps has a line even while it has none.
fn views<B>(number: usize, slot: &Slot<B>) -> Vec<TunnelView> {
    let of = |state, connection: &Arc<Connection<B>>| TunnelView {
        slot: number,
        state,
        context: Some(context(&connection.facts, connection.opened_ns())),
        streams: connection.streams(),
        limit: connection.limit(),
        requests: connection.requests(),
        bytes_in: connection.meter.received(),
        bytes_out: connection.meter.sent(),
        round_trip_us: connection.facts.is_http2().then(|| connection.round_trip_ns() / 1000),
        failures: slot.failures,
        last_error: slot.last_error.as_deref().map(str::to_owned),
    };
    let mut views = Vec::new();
    match &slot.current {
        Some(connection) => views.push(of(TunnelState::Open, connection)),
        None if slot.is_occupied => views.push(closed(number, slot)),
        None => {}
    }
    views.extend(slot.draining.iter().map(|draining| of(TunnelState::Draining, &draining.connection)));
    views
}

fn closed<B>(number: usize, slot: &Slot<B>) -> TunnelView {
    TunnelView {
        slot: number,
        state: if slot.failures == 0 { TunnelState::Opening } else { TunnelState::Down },
        context: None,
        streams: 0,
        limit: 0,
        requests: 0,
        bytes_in: 0,
        bytes_out: 0,
        round_trip_us: None,
        failures: slot.failures,
        last_error: slot.last_error.as_deref().map(str::to_owned),
    }
}

fn context(facts: &Facts, opened_ns: u64) -> Context {
    Context {
        local: facts.local,
        remote: facts.remote,
        tls: facts.tls.to_owned(),
        cipher: facts.cipher.to_owned(),
        alpn: facts.alpn.map(str::to_owned),
        resumed: facts.resumed,
        opened_ns,
    }
}
