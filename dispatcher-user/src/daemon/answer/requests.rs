//! Answers that are about sessions and QoS classes.

use crate::{
    control::api::{Response, SessionQuery, SessionView},
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
    pub(super) fn move_sessions(&mut self, snapshot: &Snapshot, names: (&str, &str)) -> Result<Response, Failure> {
        request_path::takers(snapshot, names)?;
        self.request_path()?;
        let (service, backend) = (names.0.to_owned(), names.1.to_owned());
        let drain = Change::SetBackend { service, backend, state: Some(AdminState::Drain), weight: None };
        let Response::Done { mut notes } = self.change(drain)? else { return Ok(Response::Done { notes: Vec::new() }) };
        let moved = self.request_path()?.move_sessions(snapshot, names)?;
        tracing::info!(service = names.0, backend = names.1, moved, "sessions moved");
        notes.insert(0, format!("sessions moved to other backends: {moved}"));
        Ok(Response::Done { notes })
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
        self.config.qos = classes;
        self.state.record_class(class, change);
        tracing::info!(class, ?change, "changed");
        Ok(Response::Done { notes: self.keep_state() })
    }
}
