//! What the request path answers when the CLI asks for sessions, tunnels and QoS classes.

use dispatcher_common::session::Session;

use super::RequestPath;
use crate::{
    clock,
    control::api::{SessionQuery, SessionView},
    core::{
        model::{AdminState, QosClassSpec},
        sessions::{Mapping, SessionId},
        view::{BackendView, ServiceView, Snapshot},
    },
    daemon::flows::Names,
    failure::{Code, Failure},
};

const MILLISECOND_NS: u64 = 1_000_000;

impl RequestPath {
    /// The sessions that `query` asks for; true if its limit cut more off.
    pub(in crate::daemon) fn list(
        &self,
        snapshot: &Snapshot,
        classes: &[QosClassSpec],
        query: &SessionQuery,
    ) -> Result<(Vec<SessionView>, bool), Failure> {
        let (service, backend) = look_up(snapshot, query)?;
        let is_wanted = |row: &Session| {
            service.is_none_or(|service| service.id == row.service)
                && backend.is_none_or(|backend| (backend.id, backend.generation) == (row.backend, row.generation))
        };
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let (found, more) = self.shared.sessions.list(limit, is_wanted);
        Ok((found.iter().map(|(id, row)| self.view(snapshot, classes, *id, row)).collect(), more))
    }

    /// One session.
    pub(in crate::daemon) fn session(
        &self,
        snapshot: &Snapshot,
        classes: &[QosClassSpec],
        id: SessionId,
    ) -> Result<SessionView, Failure> {
        let row = self.shared.sessions.row(id).ok_or_else(|| no_session(id))?;
        Ok(self.view(snapshot, classes, id, &row))
    }

    /// Gives a session to the backend that is named.
    pub(in crate::daemon) fn move_session(
        &self,
        snapshot: &Snapshot,
        id: SessionId,
        (service, backend): (&str, &str),
    ) -> Result<(), Failure> {
        let row = self.shared.sessions.row(id).ok_or_else(|| no_session(id))?;
        let service = find_service(snapshot, service)?;
        let backend = find_backend(service, backend)?;
        if row.service != service.id {
            let (of, wanted) = (Names(snapshot).service(row.service), &service.name);
            return Err(Failure::new(Code::REFUSED, format!("session {id} is of service `{of}`, not of `{wanted}`")));
        }
        if backend.state == AdminState::Maint {
            let message = format!("backend `{}/{}` is in maint: it gets nothing", service.name, backend.name);
            return Err(Failure::new(Code::REFUSED, message));
        }
        let mapping = Mapping { backend: backend.id, generation: backend.generation, ..Mapping::of(&row) };
        if self.shared.sessions.move_to(id, mapping) { Ok(()) } else { Err(no_session(id)) }
    }

    /// Gives all sessions of a backend to others of its service that take new ones; says how many.
    ///
    /// Each goes to the backend that has the fewest for its weight at that moment.
    pub(in crate::daemon) fn move_sessions(
        &self,
        snapshot: &Snapshot,
        (service, backend): (&str, &str),
    ) -> Result<u64, Failure> {
        let (service, others) = takers(snapshot, (service, backend))?;
        let leaving = find_backend(service, backend)?;
        let (rows, _) = self.shared.sessions.list(usize::MAX, |row| row.service == service.id);
        let count = |backend: &BackendView| {
            let theirs = |row: &Session| (row.backend, row.generation) == (backend.id, backend.generation);
            rows.iter().filter(|(_, row)| theirs(row)).count() as u64
        };
        let mut loads: Vec<(&BackendView, u64)> = others.into_iter().map(|other| (other, count(other))).collect();
        let moved = self.shared.sessions.move_all(service.id, (leaving.id, leaving.generation), |_, old| {
            // Cross-multiplied, so that no weight is divided by.
            let least = loads.iter_mut().min_by(|(one, has), (other, had)| {
                let of = |count: u64, weight: u16| (count + 1).saturating_mul(u64::from(weight));
                of(*has, other.weight).cmp(&of(*had, one.weight))
            });
            let (taker, count) = least?;
            *count += 1;
            Some(Mapping { backend: taker.id, generation: taker.generation, ..old })
        });
        Ok(moved)
    }

    /// Ends a session.
    pub(in crate::daemon) fn remove_session(&self, id: SessionId) -> Result<(), Failure> {
        if self.shared.sessions.remove(id) { Ok(()) } else { Err(no_session(id)) }
    }

    fn view(&self, snapshot: &Snapshot, classes: &[QosClassSpec], id: SessionId, row: &Session) -> SessionView {
        let now_ns = clock::monotonic_ns();
        let names = Names(snapshot);
        let since = |then_ns: u64| now_ns.saturating_sub(then_ns) / MILLISECOND_NS;
        let class =
            classes.get(usize::from(row.class)).map_or_else(|| format!("#{}", row.class), |class| class.name.clone());
        SessionView {
            id,
            service: names.service(row.service),
            backend: names.backend(row.backend, row.generation),
            tunnel: row.tunnel,
            tunnel_context: self.tunnel_context(row.service, row.backend, row.tunnel),
            clients: self.clients(row.service, id),
            class,
            requests: row.requests,
            bytes: row.bytes,
            age_ms: since(row.created_ns),
            idle_ms: since(row.last_seen_ns),
            expires_ms: row.expires_ns.saturating_sub(now_ns) / MILLISECOND_NS,
        }
    }
}

/// The service, and its backends but for the one that is named that take new sessions. Fails if there is none.
pub(in crate::daemon) fn takers<'a>(
    snapshot: &'a Snapshot,
    (service, backend): (&str, &str),
) -> Result<(&'a ServiceView, Vec<&'a BackendView>), Failure> {
    let service = find_service(snapshot, service)?;
    find_backend(service, backend)?;
    let is_taker = |other: &&BackendView| other.takes_flows && other.name != backend;
    let others: Vec<&BackendView> = service.backends.iter().filter(is_taker).collect();
    if others.is_empty() {
        let message = format!("no other backend of service `{}` takes sessions", service.name);
        return Err(Failure::new(Code::REFUSED, message).fix("`dispatcher backend list` shows why"));
    }
    Ok((service, others))
}

/// The service and the backend that `query` names, as far as it names them; fails if one is not there.
pub(in crate::daemon) fn look_up<'a>(
    snapshot: &'a Snapshot,
    query: &SessionQuery,
) -> Result<(Option<&'a ServiceView>, Option<&'a BackendView>), Failure> {
    let service = query.service.as_deref().map(|name| find_service(snapshot, name)).transpose()?;
    let backend = match (service, query.backend.as_deref()) {
        (Some(service), Some(name)) => Some(find_backend(service, name)?),
        _ => None,
    };
    Ok((service, backend))
}

/// Why there is nothing to say of a backend's tunnels: it is not there, or has none.
pub(in crate::daemon) fn no_tunnels(snapshot: &Snapshot, (service, backend): (&str, &str)) -> Failure {
    match find_service(snapshot, service).and_then(|service| find_backend(service, backend)) {
        Ok(_) => Failure::new(Code::NOT_FOUND, format!("there are no tunnels to backend `{service}/{backend}`"))
            .fix("`dispatcher tunnel list` lists those that there are"),
        Err(failure) => failure,
    }
}

fn find_service<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a ServiceView, Failure> {
    let found = snapshot.services.iter().find(|service| service.name == name);
    found.ok_or_else(|| crate::daemon::answer::no_service(name))
}

fn find_backend<'a>(service: &'a ServiceView, name: &str) -> Result<&'a BackendView, Failure> {
    service.backends.iter().find(|backend| backend.name == name).ok_or_else(|| {
        let message = format!("service `{}` has no backend `{name}`", service.name);
        Failure::new(Code::NOT_FOUND, message).fix(format!("`dispatcher backend list {}` lists them", service.name))
    })
}

pub(in crate::daemon) fn no_session(id: SessionId) -> Failure {
    Failure::new(Code::NOT_FOUND, format!("there is no session {id}")).fix("`dispatcher session list` lists them")
}
