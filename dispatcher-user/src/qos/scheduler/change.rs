//! What an operator changes while the schedule runs.

use super::{Scheduler, class::Class};
use crate::qos::{
    precedence::Precedence,
    request::nanoseconds,
    settings::{ClassId, Settings, SettingsError},
    slots::Level,
    view::ShedReason,
};

impl<T> Scheduler<T> {
    /// Changes the settings. What waits and what is in flight stays. There may be more classes than before, not fewer: a
    /// number beyond the new classes keeps its settings.
    ///
    /// # Errors
    /// If the settings contradict themselves; then nothing changes.
    pub fn configure(&mut self, now_ns: u64, settings: &Settings) -> Result<(), SettingsError> {
        settings.check()?;
        self.standing_ns = nanoseconds(settings.standing);
        for (index, class) in settings.classes.iter().enumerate() {
            match self.classes.get_mut(index) {
                Some(known) => known.set(class.clone(), now_ns),
                None => self.classes.push(Class::new(class.clone(), now_ns)),
            }
        }
        self.precedence = Precedence::new(self.classes.iter().map(|class| &class.settings));
        self.slots.set_window(settings.window, now_ns);
        self.slots.set_levels(self.levels());
        Ok(())
    }

    /// Closes the schedule or opens it again. While it is closed, what waits and what asks is refused, so that it can be
    /// sent to another backend; what is in flight stays.
    pub fn set_closed(&mut self, now_ns: u64, is_closed: bool) {
        self.is_closed = is_closed;
        if !is_closed {
            return;
        }
        for index in 0..self.classes.len() {
            while let Some(class) = self.classes.get(index)
                && let Some(ticket) = class.returning.first().or_else(|| class.queue.oldest())
            {
                self.refuse(now_ns, ticket, ShedReason::Closed);
            }
        }
    }

    /// The class itself, or the default class for one that there is not.
    pub(super) fn known(&self, class: ClassId) -> ClassId {
        if class.index() < self.classes.len() { class } else { ClassId::default() }
    }

    /// The levels with what their classes hold and ask for.
    fn levels(&self) -> Vec<Level> {
        let mut levels = vec![Level::default(); self.precedence.levels()];
        for (id, class) in (0..).map(ClassId).zip(&self.classes) {
            let Some(level) = levels.get_mut(self.precedence.level(id)) else { continue };
            level.in_flight += class.in_flight;
            level.share_percent += u32::from(class.settings.share_percent);
            level.reserve = level
                .reserve
                .map_or(class.settings.reserve, |sum| Some(sum.saturating_add(class.settings.reserve.unwrap_or(0))));
        }
        levels
    }
}
