//! The key file: made when there is none, open to nobody else, replaced whole with every rotation.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::{KeyError, MAX_SECRETS, Secret, Secrets};
use crate::{
    durable,
    failure::{Code, Failure},
};

/// Version of the file's layout; any other is refused.
const VERSION: u32 = 1;
/// Whoever reads the file can be any user of any service.
const MODE: u32 = 0o600;
const WAY_OUT: &str = "mend the file, or move it away: cookies and tickets of before are then worth nothing";

/// The file, and the secrets in it.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    secrets: Secrets,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    /// The newest first.
    secrets: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    created_s: i64,
    secret: String,
}

impl KeyFile {
    /// Reads the file, or makes it with one new secret.
    ///
    /// # Errors
    /// It cannot be read or made, or is no key file of this version. It is never ignored: that would end all sessions of
    /// clients that keep nothing but a cookie.
    pub fn open(path: &Path, now_s: i64) -> Result<Self, Failure> {
        match fs::read(path) {
            Ok(bytes) => {
                close(path)?;
                Ok(Self { path: path.to_owned(), secrets: parse(path, &bytes)? })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = Self { path: path.to_owned(), secrets: Secrets::random(now_s).map_err(no_key)? };
                file.save()?;
                Ok(file)
            }
            Err(error) => Err(unusable("read", path).cause(format_args!("system: {error}"))),
        }
    }

    /// What it holds.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Puts a new secret in front if the newest is a day old, or at once if it is `used_up`; true if it did. `keep` is how
    /// long something that is sealed may come back.
    ///
    /// # Errors
    /// The file cannot be written. The old secrets then stay: nothing is sealed with one that a restart would not know.
    pub fn rotate(&mut self, now_s: i64, keep: Duration, used_up: bool) -> Result<bool, Failure> {
        if !used_up && !self.secrets.is_due(now_s) {
            return Ok(false);
        }
        let secrets = self.secrets.rotated(now_s, keep).map_err(no_key)?;
        let rotated = Self { path: self.path.clone(), secrets };
        rotated.save()?;
        *self = rotated;
        Ok(true)
    }

    fn save(&self) -> Result<(), Failure> {
        let line = |secret: &Secret| Line {
            id: HEXLOWER.encode(&secret.id),
            created_s: secret.created_s,
            secret: HEXLOWER.encode(&secret.bytes),
        };
        let contents = Contents { version: VERSION, secrets: self.secrets.iter().map(line).collect() };
        let mut text = serde_json::to_vec_pretty(&contents).map_err(|error| malformed(&self.path, &error))?;
        text.push(b'\n');
        durable::replace(&self.path, &text, MODE)
            .map_err(|error| unusable("write", &self.path).cause(format_args!("system: {error}")))
    }
}

/// Takes a file that others may read away from them. A copy that was put back with the wrong mode is no reason not to
/// start.
fn close(path: &Path) -> Result<(), Failure> {
    let failed = |error| unusable("close", path).cause(format_args!("system: {error}"));
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & !MODE == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "the key file had mode {mode:o}; it has {MODE:o} now");
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Secrets, Failure> {
    // The version comes first: a file of another version may have a shape that this one does not know.
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(bytes).map_err(|error| malformed(path, &error))?;
    if version != VERSION {
        let message = format!("the key file has version {version}, this dispatcher reads version {VERSION}");
        return Err(Failure::new(Code::KEYS_UNUSABLE, message).at(path.display()).fix(WAY_OUT));
    }
    let Contents { secrets, .. } = serde_json::from_slice(bytes).map_err(|error| malformed(path, &error))?;
    let secrets: Option<Vec<Secret>> = secrets.iter().map(secret).collect();
    match secrets {
        Some(secrets) if (1..=MAX_SECRETS).contains(&secrets.len()) => Ok(Secrets(secrets)),
        Some(_) | None => {
            let message =
                format!("the key file does not hold 1 to {MAX_SECRETS} secrets of 32 bytes, each with an id of 4");
            Err(Failure::new(Code::KEYS_UNUSABLE, message).at(path.display()).fix(WAY_OUT))
        }
    }
}

fn secret(line: &Line) -> Option<Secret> {
    let id = HEXLOWER.decode(line.id.as_bytes()).ok()?.try_into().ok()?;
    let bytes = HEXLOWER.decode(line.secret.as_bytes()).ok()?.try_into().ok()?;
    Some(Secret { id, created_s: line.created_s, bytes })
}

fn unusable(action: &str, path: &Path) -> Failure {
    Failure::new(Code::KEYS_UNUSABLE, format!("cannot {action} the key file")).at(path.display())
}

/// Where it is damaged, but not what is there: that may be a secret.
fn malformed(path: &Path, error: &serde_json::Error) -> Failure {
    Failure::new(Code::KEYS_UNUSABLE, "the key file is damaged")
        .at(format_args!("{}:{}:{}", path.display(), error.line(), error.column()))
        .fix(WAY_OUT)
}

fn no_key(error: KeyError) -> Failure {
    Failure::new(Code::HOST_UNFIT, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;
    const KEEP: Duration = Duration::from_secs(3600);

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_is_made_once_and_open_to_nobody_else() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lib/keys");
        let made = KeyFile::open(&path, 5).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(KeyFile::open(&path, 99).unwrap().secrets(), made.secrets());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(KeyFile::open(&path, 99).unwrap().secrets(), made.secrets());
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_rotation_is_on_the_disk_before_it_counts() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys");
        let mut file = KeyFile::open(&path, 0).unwrap();
        let first = file.secrets().clone();
        assert!(!file.rotate(DAY_S - 1, KEEP, false).unwrap());
        // Nothing can be written where a directory has the temporary file's name.
        fs::create_dir(place.path().join(".keys.new")).unwrap();
        let failure = file.rotate(DAY_S, KEEP, false).unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (Code::KEYS_UNUSABLE, "cannot write the key file"));
        assert_eq!(file.secrets(), &first);
        fs::remove_dir(place.path().join(".keys.new")).unwrap();
        assert!(file.rotate(DAY_S, KEEP, false).unwrap());
        assert!(file.rotate(DAY_S, KEEP, true).unwrap(), "used up");
        assert_eq!(KeyFile::open(&path, DAY_S).unwrap().secrets(), file.secrets());
        assert_eq!(file.secrets().iter().count(), 3);
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_damaged_file_is_never_ignored() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys");
        let line = |secret: &str| {
            format!(r#"{{"version":1,"secrets":[{{"id":"00000000","created_s":0,"secret":"{secret}"}}]}}"#)
        };
        let good = line(&"ab".repeat(32));
        fs::write(&path, &good).unwrap();
        assert!(KeyFile::open(&path, 0).is_ok());
        let damaged = [
            String::new(),
            "{}".to_owned(),
            good[..good.len() - 2].to_owned(),
            good.replace("created_s", "made"),
            r#"{"version":2,"keys":[]}"#.to_owned(),
            r#"{"version":1,"secrets":[]}"#.to_owned(),
            line("abcd"),
            good.replace("0,", "\"abab\","),
            line(&"AB".repeat(32)),
            line(&"ab".repeat(33)),
            good.replace("00000000", "000000"),
        ];
        for text in damaged {
            fs::write(&path, &text).unwrap();
            let failure = KeyFile::open(&path, 0).unwrap_err();
            assert_eq!((failure.code, failure.fix.as_deref()), (Code::KEYS_UNUSABLE, Some(WAY_OUT)), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "what is damaged is left as it is");
            assert!(!failure.to_string().contains("abab"), "no secret is told: {failure}");
        }
    }
}
