//! Which backends of a service get requests: what the operator wants of them, and whether their tunnels stand.
//!
//! ```text
//!            tunnels open: gets what is new          cut for GRACE
//!   reach:   Open ◀────────────▶ Cut ──────────────────────────────▶ Gone ──a tunnel opens──▶ Open
//!                    sessions wait for a tunnel        sessions are given another backend, or wait (`lost`)
//! ```
//!
//! A backend begins as `Cut`: it may have sessions already, which an earlier daemon gave it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use crate::{
    core::{
        maglev::Entrant,
        model::{AdminState, Scheduler},
        requests::Member,
        view::{BackendView, Health},
    },
    ingress::service::Service,
    tunnel::context::Standing,
};

/// How long a backend without a tunnel keeps its sessions: a restart of its TLS, or of a switch, is no loss of it.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The backends of one service.
pub(super) struct Roster {
    service: Arc<Service>,
    state: Mutex<State>,
}

struct State {
    scheduler: Scheduler,
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    entrant: Entrant,
    generation: u16,
    wanted: AdminState,
    reach: Reach,
}

/// Whether a backend's tunnels stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Open,
    Cut,
    Gone,
}

impl Roster {
    pub(super) fn new(service: Arc<Service>, scheduler: Scheduler) -> Self {
        Self { service, state: Mutex::new(State { scheduler, rows: Vec::new() }) }
    }

    /// Takes note of what the operator wants now. Whether tunnels stand is known of those that stay.
    pub(super) fn follow(&self, scheduler: Scheduler, backends: &[BackendView]) {
        let mut state = self.state();
        let reach = |backend: &BackendView| {
            let is_it = |row: &&Row| (row.entrant.id, row.generation) == (backend.id, backend.generation);
            state.rows.iter().find(is_it).map_or(Reach::Cut, |row| row.reach)
        };
        let row = |backend: &BackendView| Row {
            entrant: Entrant { id: backend.id, address: backend.address, weight: backend.weight },
            generation: backend.generation,
            wanted: backend.state,
            reach: reach(backend),
        };
        state.rows = backends.iter().map(row).collect();
        state.scheduler = scheduler;
        self.apply(&state);
    }

    /// Follows a backend's tunnels until its pool is gone.
    pub(super) async fn watch(self: Arc<Self>, id: u16, generation: u16, mut standing: watch::Receiver<Standing>) {
        loop {
            let is_open = standing.borrow_and_update().open > 0;
            if is_open {
                self.reached(id, generation, Reach::Open);
            } else {
                self.cut(id, generation);
                if let Ok(changed) = timeout(GRACE, standing.changed()).await {
                    if changed.is_err() {
                        return;
                    }
                    continue;
                }
                self.reached(id, generation, Reach::Gone);
            }
            if standing.changed().await.is_err() {
                return;
            }
        }
    }

    /// What the dispatcher sees of a backend.
    pub(super) fn health(&self, id: u16) -> Health {
        let state = self.state();
        match state.rows.iter().find(|row| row.entrant.id == id).map(|row| row.reach) {
            None => Health::Unknown,
            Some(Reach::Open) => Health::Up,
            Some(Reach::Cut | Reach::Gone) => Health::Down,
        }
    }

    /// A backend that is gone stays so until it has a tunnel.
    fn cut(&self, id: u16, generation: u16) {
        let was_open = |row: &Row| row.reach == Reach::Open;
        self.change(id, generation, |row| if was_open(row) { Reach::Cut } else { row.reach });
    }

    fn reached(&self, id: u16, generation: u16, reach: Reach) {
        self.change(id, generation, |_before| reach);
    }

    fn change(&self, id: u16, generation: u16, to: impl Fn(&Row) -> Reach) {
        let mut state = self.state();
        let found = state.rows.iter_mut().find(|row| (row.entrant.id, row.generation) == (id, generation));
        let Some(row) = found else { return };
        let (before, after) = (row.reach, to(row));
        if before == after {
            return;
        }
        row.reach = after;
        let (service, backend) = (&self.service.name, row.entrant.address);
        match after {
            Reach::Open => tracing::info!(%service, %backend, "the backend's tunnels are open"),
            Reach::Cut => tracing::warn!(%service, %backend, "the backend has no tunnel: it gets nothing new"),
            Reach::Gone => tracing::warn!(%service, %backend, "the backend still has no tunnel: its sessions are lost"),
        }
        self.apply(&state);
    }

    fn apply(&self, state: &State) {
        let member = |row: &Row| Member {
            entrant: row.entrant,
            generation: row.generation,
            takes_new: row.wanted == AdminState::Ready && row.reach == Reach::Open,
            keeps: row.wanted != AdminState::Maint && row.reach != Reach::Gone,
        };
        let members: Vec<Member> = state.rows.iter().map(member).collect();
        self.service.balancer().follow(state.scheduler, &members);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
