//! The load-balancing table: a row for each backend ID, with what the kernel is told and what was measured.

use std::{collections::VecDeque, net::SocketAddr};

use dispatcher_common::{
    backend::{Backend, BackendStats, health, state},
    table::MAX_BACKENDS,
};

use super::{
    balancer::Load,
    entry,
    event::NextHop,
    model::BackendSpec,
    neighbours::{Neighbour, Reach},
    rate::Rate,
};

/// All rows. IDs are indices.
#[derive(Debug, Default)]
pub(super) struct Backends {
    rows: Vec<Row>,
    /// IDs below the end of `rows` that are free, the longest free first.
    free: VecDeque<u16>,
}

/// A backend ID, and the backend that has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    /// The row of `dsp_backends`.
    pub(super) entry: Backend,
    /// Live flows, as far as known.
    pub(super) live: u64,
    /// Flows that it was given since it was added.
    pub(super) picks: u64,
    /// What the daemon itself sent to it; the kernel does not see that.
    pub(super) injected: BackendStats,
    /// Bytes per second, both directions.
    pub(super) bytes: Rate,
    /// New flows per second.
    pub(super) flows: Rate,
    last: Last,
    /// The counters when it was added.
    base: BackendStats,
}

/// The last reading of a row's counters.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    stats: BackendStats,
    at_ns: u64,
    /// What the daemon itself contributed by then.
    picks: u64,
    injected_bytes: u64,
    /// The counters hold a former daemon's counts, which were never read.
    unknown: bool,
}

impl Backends {
    /// Takes over the rows of a former daemon, vacant ones for their generations.
    pub(super) fn adopt(&mut self, now_ns: u64, adopted: &[(u16, Backend)]) {
        for &(id, entry) in adopted.iter().filter(|(id, _)| usize::from(*id) < MAX_BACKENDS) {
            if self.rows.len() <= usize::from(id) {
                self.rows.resize_with(usize::from(id) + 1, Row::default);
            }
            if let Some(row) = self.rows.get_mut(usize::from(id)) {
                row.entry = entry;
                row.last = Last { at_ns: now_ns, unknown: true, ..Last::default() };
            }
        }
        let vacant = (0..).zip(&self.rows).filter(|(_, row)| row.entry.state == state::VACANT);
        self.free = vacant.map(|(id, _)| id).collect();
    }

    /// Gives a new backend an ID: one never used, or the one that is free for the longest time. `None` if all are taken.
    pub(super) fn allocate(&mut self, now_ns: u64, service: u16, spec: &BackendSpec) -> Option<u16> {
        let id = if self.rows.len() < MAX_BACKENDS {
            self.rows.push(Row::default());
            u16::try_from(self.rows.len() - 1).ok()?
        } else {
            self.free.pop_front()?
        };
        let row = self.row_mut(id)?;
        let generation = row.entry.generation.wrapping_add(1);
        let last = Last { at_ns: now_ns, picks: 0, injected_bytes: 0, ..row.last };
        *row =
            Row { entry: Backend { generation, ..new_entry(service, spec) }, last, base: last.stats, ..Row::default() };
        Some(id)
    }

    /// How many more backends there is room for.
    pub(super) fn room(&self) -> usize {
        MAX_BACKENDS - self.rows.len() + self.free.len()
    }

    /// Frees an ID. Its generation stays, so that flows of its backend are not taken for another's.
    pub(super) fn vacate(&mut self, id: u16) {
        if let Some(row) = self.row_mut(id) {
            row.entry = Backend { generation: row.entry.generation, ..Backend::default() };
            row.live = 0;
            self.free.push_back(id);
        }
    }

    /// A row; `None` for an ID that was never used.
    pub(super) fn row(&self, id: u16) -> Option<&Row> {
        self.rows.get(usize::from(id))
    }

    /// A row, to be changed.
    pub(super) fn row_mut(&mut self, id: u16) -> Option<&mut Row> {
        self.rows.get_mut(usize::from(id))
    }

    /// The ID of the backend of `service` at `address`.
    pub(super) fn find(&self, service: u16, address: SocketAddr) -> Option<u16> {
        (0..).zip(&self.rows).find(|(_, row)| row.is(service, address)).map(|(id, _)| id)
    }

    /// What the kernel is told of a backend.
    pub(super) fn entry(&self, id: u16) -> Option<&Backend> {
        self.row(id).map(|row| &row.entry)
    }

    /// Sets every backend's live flows: a backend that is not named has none.
    pub(super) fn set_live(&mut self, live: &[(u16, u64)]) {
        for row in &mut self.rows {
            row.live = 0;
        }
        for &(id, count) in live {
            if let Some(row) = self.row_mut(id).filter(|row| row.entry.state != state::VACANT) {
                row.live = count;
            }
        }
    }
}

impl Row {
    /// How loaded it is, with one more flow. Exact up to 2^53 flows.
    pub(super) fn load(&self) -> Load {
        let live = self.live as f64 + 1.0;
        Load { count: live, cost: live, traffic: self.bytes.per_second() }
    }

    /// Notes a flow that the daemon gave to the backend.
    pub(super) fn opened(&mut self) {
        self.live = self.live.saturating_add(1);
        self.picks = self.picks.wrapping_add(1);
    }

    /// Notes a packet that the daemon sent to the backend.
    pub(super) fn injected(&mut self, bytes: u64) {
        self.injected.packets_in = self.injected.packets_in.wrapping_add(1);
        self.injected.bytes_in = self.injected.bytes_in.wrapping_add(bytes);
    }

    /// Takes in a reading of the kernel's counters.
    pub(super) fn read(&mut self, now_ns: u64, stats: BackendStats) {
        let elapsed_ns = now_ns.saturating_sub(self.last.at_ns);
        if self.last.unknown {
            // The first backend that had the ID has all of its counts; a later one starts here.
            self.base = if self.entry.generation > 1 { stats } else { BackendStats::default() };
        } else {
            let grown = |count: fn(&BackendStats) -> u64| count(&stats).saturating_sub(count(&self.last.stats));
            let opened = grown(|stats| stats.flows_opened);
            self.live = self.live.saturating_add(opened).saturating_sub(grown(|stats| stats.flows_closed));
            let bytes = grown(|stats| stats.bytes_in).saturating_add(grown(|stats| stats.bytes_out));
            self.bytes.read(bytes + (self.injected.bytes_in - self.last.injected_bytes), elapsed_ns);
            self.flows.read(opened + (self.picks - self.last.picks), elapsed_ns);
            self.picks = self.picks.wrapping_add(opened);
        }
        self.last =
            Last { stats, at_ns: now_ns, picks: self.picks, injected_bytes: self.injected.bytes_in, unknown: false };
    }

    /// Packets and bytes since the backend was added, the daemon's own included.
    pub(super) fn totals(&self) -> BackendStats {
        let grown = |count: fn(&BackendStats) -> u64| {
            let since = count(&self.last.stats).saturating_sub(count(&self.base));
            since.saturating_add(count(&self.injected))
        };
        BackendStats {
            packets_in: grown(|stats| stats.packets_in),
            bytes_in: grown(|stats| stats.bytes_in),
            packets_out: grown(|stats| stats.packets_out),
            bytes_out: grown(|stats| stats.bytes_out),
            flows_opened: grown(|stats| stats.flows_opened),
            flows_closed: grown(|stats| stats.flows_closed),
        }
    }

    /// Takes in what is known of the way to the backend.
    pub(super) fn reach(&mut self, neighbour: &Neighbour) {
        if let Some(hop) = neighbour.hop {
            self.entry.ifindex = hop.ifindex;
            self.entry.mac = hop.mac;
            self.entry.source_mac = hop.source_mac;
        }
        self.entry.health = match neighbour.reach {
            Reach::Unheard => self.entry.health,
            Reach::Found => health::UP,
            Reach::Lost => health::DOWN,
        };
    }

    /// Takes in what the operator says of the backend.
    pub(super) fn configure(&mut self, service: u16, spec: &BackendSpec) {
        self.entry.service = service;
        self.entry.weight = spec.weight;
        self.entry.state = entry::state(spec.state);
    }

    /// The last known way to the backend.
    pub(super) fn hop(&self) -> Option<NextHop> {
        let Backend { ifindex, mac, source_mac, .. } = self.entry;
        (ifindex != 0).then_some(NextHop { ifindex, mac, source_mac })
    }

    /// True if the row is that of a backend of `service` at `address`.
    fn is(&self, service: u16, address: SocketAddr) -> bool {
        let Backend { state, addr, port, service: of, .. } = self.entry;
        state != state::VACANT && of == service && addr == entry::mapped(address.ip()) && port == address.port()
    }
}

fn new_entry(service: u16, spec: &BackendSpec) -> Backend {
    Backend {
        addr: entry::mapped(spec.address.ip()),
        port: spec.address.port(),
        weight: spec.weight,
        state: entry::state(spec.state),
        service,
        ..Backend::default()
    }
}
