//! The state file: what the command line changed, kept as an overlay over the configuration so that it survives a restart.

mod overlay;

use std::{
    fmt, fs,
    io::{self, ErrorKind},
    path::Path,
};

use serde::{Deserialize, Serialize};

use self::overlay::Overlay;
use crate::{
    config::apply_change,
    core::model::{Change, ClassChange, ClassError, QosClassSpec, Refusal, ServiceSpec, change_class},
    durable,
    failure::{Code, Failure},
};

/// Version of the file's layout; any other is refused.
const VERSION: u32 = 1;
/// The file's group may see what was changed.
const MODE: u32 = 0o640;

/// What the command line changed since the configuration was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    overlay: Overlay,
}

/// The file, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    changes: Overlay,
}

/// A change that no longer fits the configuration, and was therefore forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The change.
    pub change: Change,
    /// Why it does not fit.
    pub refusal: Refusal,
}

/// A change of a QoS class that no longer fits the configuration, and was therefore forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassWarning {
    /// The class.
    pub class: String,
    /// Why it does not fit.
    pub error: ClassError,
}

impl fmt::Display for ClassWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, error } = self;
        write!(
            f,
            "changing QoS class `{class}`, once done on the command line, no longer fits the configuration and is \
             forgotten: {error}"
        )
    }
}

impl State {
    /// Reads the file; where there is none, nothing was changed.
    ///
    /// # Errors
    /// It cannot be read, or is no state file of this version. It is never ignored: that would undo what an operator did.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unusable("read", path, &error)),
        };
        // The version comes first: a file of another version may have a shape that this one does not know.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(&bytes).map_err(|error| malformed(path, &error))?;
        if version != VERSION {
            let message = format!("the state file has version {version}, this dispatcher reads version {VERSION}");
            return Err(Failure::new(Code::STATE_UNUSABLE, message).at(path.display()).fix(WAY_OUT));
        }
        let Contents { changes, .. } = serde_json::from_slice(&bytes).map_err(|error| malformed(path, &error))?;
        Ok(Self { overlay: changes })
    }

    /// Takes a change in that was made.
    pub fn record(&mut self, change: &Change) {
        self.overlay.record(change);
    }

    /// Applies what was changed to the configured services. Changes that no longer fit are forgotten, and returned.
    pub fn apply(&mut self, mut services: Vec<ServiceSpec>) -> (Vec<ServiceSpec>, Vec<Warning>) {
        let mut warnings = Vec::new();
        let mut fitting = self.overlay.without_services();
        for change in self.overlay.changes() {
            match apply_change(&mut services, &change) {
                Ok(()) => fitting.record(&change),
                Err(refusal) => warnings.push(Warning { change, refusal }),
            }
        }
        self.overlay = fitting;
        (services, warnings)
    }

    /// Takes a change of a QoS class in that was made.
    pub fn record_class(&mut self, class: &str, change: &ClassChange) {
        self.overlay.record_class(class, change);
    }

    /// Applies what was changed to the configured QoS classes. Changes that no longer fit are forgotten, and returned.
    pub fn apply_classes(&mut self, classes: &mut [QosClassSpec]) -> Vec<ClassWarning> {
        let mut warnings = Vec::new();
        self.overlay.retain_classes(|class, change| match change_class(classes, class, change) {
            Ok(()) => true,
            Err(error) => {
                warnings.push(ClassWarning { class: class.to_owned(), error });
                false
            }
        });
        warnings
    }

    /// Writes the file so that a crash at any moment leaves the old one or the new one, whole.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let contents = Contents { version: VERSION, changes: self.overlay.clone() };
        let mut text = serde_json::to_vec_pretty(&contents).map_err(|error| malformed(path, &error))?;
        text.push(b'\n');
        durable::replace(path, &text, MODE).map_err(|error| unusable("write", path, &error))
    }
}

const WAY_OUT: &str = "mend the file, or move it away: what was changed on the command line is then forgotten";

fn unusable(action: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::STATE_UNUSABLE, format!("cannot {action} the state file"))
        .at(path.display())
        .cause(format_args!("system: {error}"))
}

fn malformed(path: &Path, error: &serde_json::Error) -> Failure {
    Failure::new(Code::STATE_UNUSABLE, "the state file is damaged")
        .at(format_args!("{}:{}:{}", path.display(), error.line(), error.column()))
        .cause(error)
        .fix(WAY_OUT)
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { change, refusal } = self;
        let what = match change {
            Change::AddService { service } => format!("adding service `{}`", service.name),
            Change::SetService { service, .. } => format!("changing service `{service}`"),
            Change::RemoveService { service } => format!("removing service `{service}`"),
            Change::AddBackend { service, backend } => format!("adding backend `{service}/{}`", backend.name),
            Change::SetBackend { service, backend, .. } => format!("changing backend `{service}/{backend}`"),
            Change::RemoveBackend { service, backend, .. } => format!("removing backend `{service}/{backend}`"),
        };
        write!(f, "{what}, once done on the command line, no longer fits the configuration and is forgotten: {refusal}")
    }
}

#[cfg(test)]
mod tests;
