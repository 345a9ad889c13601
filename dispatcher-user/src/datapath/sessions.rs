//! The rows of `dsp_sessions`: read when the daemon starts, and written through while it runs.

use std::io;

use aya::maps::{HashMap, Map, MapData, MapError};
use dispatcher_common::{
    session::{Session, SessionKey},
    table,
};

use super::{load::LoadError, pin::PinDirectory, tables::absent_is_fine};
use crate::{core::sessions::SessionId, sessions::Rows};

/// One way to the rows; whoever shares them has one of its own.
pub struct SessionRows {
    map: HashMap<MapData, SessionKey, Session>,
}

impl SessionRows {
    /// Opens the pinned table.
    ///
    /// # Errors
    /// If it is not there, or of another layout.
    pub fn open(pins: &PinDirectory) -> Result<Self, LoadError> {
        let map = HashMap::try_from(Map::HashMap(MapData::from_pin(pins.table(table::SESSIONS))?))?;
        Ok(Self { map })
    }

    /// Removes all rows, of a daemon that had services which are gone.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn clear(&mut self) -> Result<(), MapError> {
        let keys: Vec<SessionKey> = self.map.keys().filter_map(Result::ok).collect();
        keys.iter().try_for_each(|key| absent_is_fine(self.map.remove(key)))
    }

    /// All rows. A row that vanishes meanwhile is left out.
    pub fn all(&self) -> impl Iterator<Item = (SessionId, Session)> + '_ {
        self.map.iter().filter_map(|row| row.ok().map(|(key, session)| (key.into(), session)))
    }
}

impl Rows for SessionRows {
    fn put(&mut self, id: SessionId, row: &Session) -> io::Result<()> {
        self.map.insert(id.key(), row, 0).map_err(io::Error::other)
    }

    fn remove(&mut self, id: SessionId) -> io::Result<()> {
        absent_is_fine(self.map.remove(&id.key())).map_err(io::Error::other)
    }
}
