//! Answers that are about sessions and QoS classes.

use crate::{
    control::api::{Response, SessionQuery, SessionView, TunnelView},
    core::{
        model::{AdminState, Change, ClassChange, ClassError, change_class},
        sessions::SessionId,
        view::Snapshot,
    },
    daemon::{
        Daemon,
        request_path::{self, RequestPath},
    },
    failure::{Code, Failure},
};

impl Daemon {
    pub(super) fn request_path(&self) -> Result<&RequestPath, Failure> {
        self.request_path.as_ref().ok_or_else(request_path::no_secure_service)
    }

    /// The request path, for a session that is named: without one, there is no such session.
    pub(super) fn path_of(&self, session: SessionId) -> Result<&RequestPath, Failure> {
        self.request_path.as_ref().ok_or_else(|| request_path::no_session(session))
    }

    /// The sessions that `query` asks for; true if its limit cut more off.
    pub(super) fn sessions(
        &self,
        snapshot: &Snapshot,
        query: &SessionQuery,
    ) -> Result<(Vec<SessionView>, bool), Failure> {
        match &self.request_path {
            Some(path) => path.list(snapshot, &self.config.qos, query),
            None => request_path::look_up(snapshot, query).map(|_names| (Vec::new(), false)),
        }
    }

    /// Drains a backend, and gives its sessions to others; refused where there are none.
    pub(super) async fn move_sessions(
        &mut self,
        snapshot: &Snapshot,
        names: (&str, &str),
    ) -> Result<Response, Failure> {
        request_path::takers(snapshot, names)?;
        self.request_path()?;
        let (service, backend) = (names.0.to_owned(), names.1.to_owned());
        let drain = Change::SetBackend { service, backend, state: Some(AdminState::Drain), weight: None };
        let Response::Done { mut notes } = self.change(drain).await? else {
            return Ok(Response::Done { notes: Vec::new() });
        };
        let moved = self.request_path()?.move_sessions(snapshot, names)?;
        tracing::info!(service = names.0, backend = names.1, moved, "sessions moved");
        notes.insert(0, format!("sessions moved to other backends: {moved}"));
        Ok(Response::Done { notes })
    }

    /// The tunnels of all services, or of one.
    pub(super) fn tunnels(&self, snapshot: &Snapshot, service: Option<String>) -> Result<Vec<TunnelView>, Failure> {
        let query = SessionQuery { service, ..SessionQuery::default() };
        request_path::look_up(snapshot, &query)?;
        let path = self.request_path.as_ref();
        Ok(path.map(|path| path.tunnels(query.service.as_deref())).unwrap_or_default())
    }

    /// A backend's tunnels.
    pub(super) fn pool(&self, snapshot: &Snapshot, service: &str, backend: &str) -> Result<Response, Failure> {
        let pool = self.request_path.as_ref().and_then(|path| path.pool(service, backend));
        let pool = pool.ok_or_else(|| request_path::no_tunnels(snapshot, (service, backend)))?;
        Ok(Response::Pool(pool))
    }

    /// Has tunnels of a backend replaced.
    pub(super) fn reset_tunnels(
        &self,
        snapshot: &Snapshot,
        (service, backend): (&str, &str),
        tunnel: Option<u16>,
    ) -> Result<Response, Failure> {
        match self.request_path.as_ref().and_then(|path| path.reset(service, backend, tunnel)) {
            Some(true) => Ok(Response::Done { notes: Vec::new() }),
            Some(false) => {
                let message = format!("backend `{service}/{backend}` has no such tunnel");
                Err(Failure::new(Code::NOT_FOUND, message).fix("`dispatcher tunnel list` lists those that there are"))
            }
            None => Err(request_path::no_tunnels(snapshot, (service, backend))),
        }
    }

    /// Changes a QoS class, and keeps that over a restart.
    pub(super) fn set_class(&mut self, class: &str, change: &ClassChange) -> Result<Response, Failure> {
        self.request_path()?;
        let mut classes = self.config.qos.clone();
        change_class(&mut classes, class, change).map_err(|error| {
            let is_missing = matches!(error, ClassError::NoSuchClass(_));
            let failure = Failure::new(if is_missing { Code::NOT_FOUND } else { Code::REFUSED }, error.to_string());
            if is_missing { failure.fix("`dispatcher qos list` lists them") } else { failure }
        })?;
        self.request_path()?.set_classes(&classes)?;
        self.config.qos = classes;
        self.state.record_class(class, change);
        tracing::info!(class, ?change, "changed");
        Ok(Response::Done { notes: self.keep_state() })
    }
}
