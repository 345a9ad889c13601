//! The classes of the whole dispatcher, and the admissions of all backends that schedule by them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub(super) use super::scheduler::ClassSum;
use super::{
    admission::{Admission, Clock},
    rate::Rates,
    settings::{ClassChange, ClassId, ClassSettings, Settings, SettingsError, WindowSettings},
    view::{ClassCounts, ClassView, ShedCounts},
};

/// The classes, and what schedules by them.
#[derive(Debug)]
pub struct Classes {
    state: Mutex<State>,
    rates: Arc<Rates>,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    /// By number. A class that was removed leaves its place, nameless, to the next one that is added.
    classes: Vec<ClassSettings>,
    backends: Vec<(Weak<Admission>, WindowSettings)>,
}

impl Classes {
    /// Makes the classes; the first is the default class.
    ///
    /// # Errors
    /// If the settings contradict themselves.
    pub fn new(classes: Vec<ClassSettings>, clock: Clock) -> Result<Self, SettingsError> {
        Settings::new(classes.clone(), WindowSettings::Open).check()?;
        let this =
            Self { state: Mutex::new(State { classes, backends: Vec::new() }), rates: Arc::new(Rates::new()), clock };
        this.set_rates(&this.lock().classes);
        Ok(this)
    }

    /// Makes the admission of a backend. Its [`Admission::tend`] has to be run.
    ///
    /// # Errors
    /// If the window contradicts itself.
    pub fn admission(&self, window: WindowSettings) -> Result<Arc<Admission>, SettingsError> {
        let mut state = self.lock();
        let settings = Settings::new(state.classes.clone(), window);
        let admission = Admission::new(&settings, Arc::clone(&self.rates), self.clock)?;
        state.backends.retain(|(backend, _)| backend.strong_count() > 0);
        state.backends.push((Arc::downgrade(&admission), window));
        Ok(admission)
    }

    /// Changes the window of a backend.
    ///
    /// # Errors
    /// If the window contradicts itself; then nothing changes.
    pub fn set_window(&self, admission: &Arc<Admission>, window: WindowSettings) -> Result<(), SettingsError> {
        let mut state = self.lock();
        admission.configure(&Settings::new(state.classes.clone(), window))?;
        let own = Arc::downgrade(admission);
        for (backend, known) in &mut state.backends {
            if backend.ptr_eq(&own) {
                *known = window;
            }
        }
        Ok(())
    }

    /// The number of the class with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ClassId> {
        let state = self.lock();
        (0..).map(ClassId).zip(&state.classes).find(|(_, class)| class.name == name).map(|(id, _)| id)
    }

    /// Replaces the classes by those of a new configuration. A class keeps its number as long as its name is there.
    ///
    /// # Errors
    /// If the settings contradict themselves; then nothing changes.
    pub fn replace(&self, classes: Vec<ClassSettings>) -> Result<(), SettingsError> {
        Settings::new(classes.clone(), WindowSettings::Open).check()?;
        let mut state = self.lock();
        let numbered = renumbered(&state.classes, classes);
        self.apply(&mut state, numbered)
    }

    /// Changes a class.
    ///
    /// # Errors
    /// If there is no such class, or the change contradicts other settings; then nothing changes.
    pub fn set(&self, name: &str, change: &ClassChange) -> Result<(), SettingsError> {
        let mut state = self.lock();
        let mut classes = state.classes.clone();
        let named = classes.iter_mut().find(|class| class.name == name);
        change.apply(named.ok_or_else(|| SettingsError::NoClass(name.to_owned()))?);
        self.apply(&mut state, classes)
    }

    /// The classes, over all backends, in the order in which they go.
    #[must_use]
    pub fn view(&self) -> Vec<ClassView> {
        let state = self.lock();
        let admissions = state.backends.iter().filter_map(|(backend, _)| backend.upgrade());
        let mut sums: Vec<ClassSum> = state.classes.iter().map(|class| ClassSum::new(class, (self.clock)())).collect();
        for backend in admissions.map(|admission| admission.class_sums()) {
            for (sum, part) in sums.iter_mut().zip(&backend) {
                sum.add(part);
            }
        }
        let mut views = Vec::new();
        for (id, mut sum) in (0..).map(ClassId).zip(sums) {
            let (class_rate, client_rate) = self.rates.refused(id);
            let shed = ShedCounts { class_rate, client_rate, ..ShedCounts::default() };
            sum.add_counts(&ClassCounts { shed, ..ClassCounts::default() });
            views.push(sum.view());
        }
        views.retain(|view| !view.name.is_empty());
        views.sort_by_key(|view| view.priority);
        views
    }

    fn apply(&self, state: &mut State, classes: Vec<ClassSettings>) -> Result<(), SettingsError> {
        Settings::new(classes.clone(), WindowSettings::Open).check()?;
        self.set_rates(&classes);
        state.classes = classes;
        for (backend, window) in &state.backends {
            if let Some(admission) = backend.upgrade() {
                admission.configure(&Settings::new(state.classes.clone(), *window))?;
            }
        }
        Ok(())
    }

    fn set_rates(&self, classes: &[ClassSettings]) {
        for (id, class) in (0..).map(ClassId).zip(classes) {
            self.rates.set(id, class);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds this lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// New classes at the numbers that classes of their names have, else at free ones.
fn renumbered(before: &[ClassSettings], classes: Vec<ClassSettings>) -> Vec<ClassSettings> {
    // Nobody asks in the name of a class that is gone, but what waits in it still has to go.
    let vacant = |class: &ClassSettings| ClassSettings {
        share_percent: 0,
        reserve: Some(0),
        ..ClassSettings { name: String::new(), ..class.clone() }
    };
    let mut places: Vec<ClassSettings> = before.iter().map(vacant).collect();
    let (kept, added): (Vec<_>, Vec<_>) =
        classes.into_iter().partition(|class| before.iter().any(|known| known.name == class.name));
    for class in kept {
        let index = before.iter().position(|known| known.name == class.name);
        if let Some(place) = index.and_then(|index| places.get_mut(index)) {
            *place = class;
        }
    }
    for class in added {
        match places.iter_mut().find(|place| place.name.is_empty()) {
            Some(place) => *place = class,
            None => places.push(class),
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{clock::monotonic_ns, qos::request::Ask};

    fn named(names: &[&str]) -> Vec<ClassSettings> {
        names.iter().zip(0..).map(|(name, priority)| ClassSettings::new(name, priority)).collect()
    }

    fn classes(names: &[&str]) -> Classes {
        Classes::new(named(names), monotonic_ns).unwrap()
    }

    fn names(classes: &Classes) -> Vec<String> {
        classes.view().into_iter().map(|view| view.name).collect()
    }

    #[test]
    fn a_class_keeps_its_number_while_others_come_and_go() {
        let classes = classes(&["default", "gold", "bronze"]);
        let bronze = classes.find("bronze");
        classes.replace(named(&["silver", "bronze", "default", "copper"])).unwrap();
        assert_eq!((classes.find("default"), classes.find("bronze")), (Some(ClassId(0)), bronze));
        // The place of gold is taken by one of the new ones.
        assert_eq!((classes.find("gold"), classes.find("silver")), (None, Some(ClassId(1))));
        assert_eq!(classes.find("copper"), Some(ClassId(3)));
        assert_eq!(names(&classes), ["silver", "bronze", "default", "copper"]);
        classes.replace(named(&["default"])).unwrap();
        assert_eq!(names(&classes), ["default"]);
    }

    #[test]
    fn what_a_class_counted_goes_with_its_name() {
        let classes = classes(&["default", "gold"]);
        let admission = classes.admission(WindowSettings::Open).unwrap();
        let mut permits = Vec::new();
        for class in [0, 1, 1] {
            let mut admit = admission.admit(Ask::new(ClassId(class), 7));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(Ok(permit)) = std::pin::Pin::new(&mut admit).poll(&mut context) else {
                panic!()
            };
            permits.push(permit);
        }
        let admitted = || classes.view().iter().map(|view| (view.counts.admitted, view.in_flight)).collect::<Vec<_>>();
        assert_eq!(admitted(), [(1, 1), (2, 2)]);
        classes.replace(named(&["default", "silver"])).unwrap();
        assert_eq!(admitted(), [(1, 1), (0, 2)], "what was in flight still is");
        permits.into_iter().for_each(|permit| permit.finish());
        assert_eq!(admitted(), [(1, 0), (0, 0)]);
    }

    #[test]
    fn a_change_reaches_every_backend_or_changes_nothing() {
        let classes = classes(&["default", "gold"]);
        let backends = [(); 2].map(|()| classes.admission(WindowSettings::Fixed(3)).unwrap());
        let change = ClassChange { weight: Some(9), timeout: Some(Duration::from_secs(7)), ..ClassChange::default() };
        classes.set("gold", &change).unwrap();
        for backend in &backends {
            let view = &backend.classes()[1];
            assert_eq!((view.weight, view.timeout_ms), (9, 7000));
        }
        let unknown = classes.set("silver", &change);
        assert_eq!(unknown, Err(SettingsError::NoClass("silver".to_owned())));
        let excessive = ClassChange { share_percent: Some(101), ..ClassChange::default() };
        assert_eq!(classes.set("gold", &excessive), Err(SettingsError::Shares(101)));
        assert_eq!(classes.view()[1].share_percent, 0);
        let nothing = classes.set_window(&backends[0], WindowSettings::Fixed(0));
        assert_eq!(nothing, Err(SettingsError::Window(WindowSettings::Fixed(0))));
        assert_eq!(backends[0].window().slots, Some(3));
        classes.set_window(&backends[0], WindowSettings::Fixed(5)).unwrap();
        classes.set("gold", &ClassChange::default()).unwrap();
        assert_eq!((backends[0].window().slots, backends[1].window().slots), (Some(5), Some(3)));
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let refused = |classes| Classes::new(classes, monotonic_ns).map(drop).unwrap_err();
        assert_eq!(refused(Vec::new()), SettingsError::Classes(0));
        assert_eq!(refused(named(&["c"; 65])), SettingsError::Classes(65));
        let weightless = ClassSettings { weight: 0, ..ClassSettings::new("w", 0) };
        assert_eq!(refused(vec![weightless]), SettingsError::Weight("w".to_owned()));
        let found = |min, max, initial| WindowSettings::Found { min, max, initial };
        for window in [found(0, 4, 2), found(3, 4, 2), found(1, 4, 5)] {
            let classes = classes(&["default"]);
            assert_eq!(classes.admission(window).map(drop), Err(SettingsError::Window(window)));
        }
    }
}
