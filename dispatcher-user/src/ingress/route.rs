//! Chooses the backend of a request: that of its session, that of its cookie, or the best one now.

use std::sync::Arc;

use super::{
    identity::{KnownBy, Whose},
    service::{Backend, Rules, Service},
};
use crate::{
    core::{
        model::{Affinity, LostBackend},
        sessions::{Mapping, SessionId},
    },
    qos::settings::ClassId,
};

/// What binds a request to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {
    /// Its session: it has a row in the mapping table, or gets one (S4, S10).
    Session,
    /// Its cookie alone; there is no row (S9).
    Cookie,
    /// Nothing (S8).
    None,
}

impl Bond {
    /// The bond of a request.
    #[must_use]
    pub fn of(is_secure: bool, affinity: Affinity) -> Self {
        match affinity {
            _ if is_secure => Self::Session,
            Affinity::Session => Self::Session,
            Affinity::Cookie => Self::Cookie,
            // An address binds flows, and this service has requests.
            Affinity::None | Affinity::ClientIp => Self::None,
        }
    }
}

/// What a backend is chosen by.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Whose request it is.
    pub whose: Whose,
    /// What binds it.
    pub bond: Bond,
    /// Its class, if a rule says one.
    pub class: Option<ClassId>,
    /// Who the client is, hashed.
    pub client: u64,
}

/// Where a request goes.
pub struct Route {
    /// The backend.
    pub backend: Arc<Backend>,
    /// The tunnel that its session is mapped to.
    pub slot: Option<u16>,
    /// Its class.
    pub class: ClassId,
}

/// Why a request goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No backend is ready.
    #[error("no backend is ready")]
    NoBackend,
    /// The session's backend is gone, and the service gives it no other.
    #[error("the session's backend is not there")]
    Lost,
}

/// Chooses a backend other than those that `refused` names.
///
/// # Errors
/// If there is none.
pub fn choose(
    service: &Service,
    rules: &Rules,
    wanted: &Wanted,
    refused: &[u16],
    now_ns: u64,
) -> Result<Route, NoRoute> {
    let pick = || service.pick(now_ns, wanted.client, refused).ok_or(NoRoute::NoBackend);
    let claimed = || {
        let claims = wanted.whose.claims.as_ref()?;
        service.claimed(claims).filter(|backend| !refused.contains(&backend.id))
    };
    let class = wanted.class.unwrap_or_default();
    match wanted.bond {
        Bond::Session => by_session(service, rules, wanted, refused, now_ns),
        Bond::Cookie => {
            let backend = claimed().map_or_else(pick, Ok)?;
            Ok(Route { backend, slot: None, class })
        }
        Bond::None => Ok(Route { backend: pick()?, slot: None, class }),
    }
}

/// The mapped backend. If there is none yet, that of the cookie, else the best one, is mapped; if it is gone, the best
/// one takes its place where that is allowed.
fn by_session(
    service: &Service,
    rules: &Rules,
    wanted: &Wanted,
    refused: &[u16],
    now_ns: u64,
) -> Result<Route, NoRoute> {
    let session = wanted.whose.session;
    // A session that was made up for this request is in no table.
    let known = if wanted.whose.known_by == KnownBy::Nothing {
        None
    } else {
        service.sessions.request(now_ns, service.id, session)
    };
    let usable = |backend: Arc<Backend>| Some(backend).filter(|backend| !refused.contains(&backend.id));
    let pick = || service.pick(now_ns, wanted.client, refused).ok_or(NoRoute::NoBackend);
    let Some(mapping) = known else {
        let claimed = wanted.whose.claims.as_ref().and_then(|claims| service.claimed(claims)).and_then(usable);
        let backend = match claimed {
            Some(backend) => backend,
            None if is_lost(wanted) && rules.session.lost == LostBackend::Strict => return Err(NoRoute::Lost),
            None => pick()?,
        };
        let mapping = map(&backend, session, wanted.class.unwrap_or_default());
        let mapped = service.sessions.insert(now_ns, service.id, session, mapping);
        // Another request of the session may have come first.
        let backend = if mapped == mapping {
            backend
        } else {
            service.keeper(mapped.backend, mapped.generation).unwrap_or(backend)
        };
        return Ok(route(backend, mapped));
    };
    if let Some(backend) = service.keeper(mapping.backend, mapping.generation).and_then(usable) {
        let mapping = keep_class(service, session, mapping, wanted.class);
        return Ok(route(backend, mapping));
    }
    if rules.session.lost == LostBackend::Strict {
        return Err(NoRoute::Lost);
    }
    let backend = pick()?;
    let moved = map(&backend, session, wanted.class.unwrap_or(ClassId(u16::from(mapping.class))));
    service.sessions.move_to(session, moved);
    service.counters.redispatched.one();
    tracing::info!(service = %service.name, ?session, from = mapping.backend, to = %backend.name, "session redispatched");
    Ok(route(backend, moved))
}

/// True if the cookie names a backend that is gone.
fn is_lost(wanted: &Wanted) -> bool {
    wanted.whose.claims.is_some()
}

fn route(backend: Arc<Backend>, mapping: Mapping) -> Route {
    Route { backend, slot: Some(mapping.tunnel), class: ClassId(u16::from(mapping.class)) }
}

/// A session's place at a backend. Its tunnel follows from its ID, which is random: so they are spread evenly.
fn map(backend: &Backend, session: SessionId, class: ClassId) -> Mapping {
    let [high, low, ..] = session.0;
    let tunnel = u16::from_be_bytes([high, low]).checked_rem(backend.kept).unwrap_or(0);
    let class = u8::try_from(class.0).unwrap_or(0);
    Mapping { backend: backend.id, generation: backend.generation, tunnel, class }
}

/// The class of a session is the last that a rule gave one of its requests.
fn keep_class(service: &Service, session: SessionId, mapping: Mapping, class: Option<ClassId>) -> Mapping {
    let Some(class) = class.and_then(|class| u8::try_from(class.0).ok()).filter(|class| *class != mapping.class) else {
        return mapping;
    };
    let changed = Mapping { class, ..mapping };
    service.sessions.move_to(session, changed);
    changed
}
