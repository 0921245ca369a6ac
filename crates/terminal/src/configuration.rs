//! What the operator has set for this terminal: heard over the channel, in force at once, and kept in a file so that it
//! also holds after a restart while the server is away.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use selfsame_api::configuration::{Configuration, ConfigurationSource, Language};
use selfsame_api::interface::{DEADLINE_MS_MAX, DEADLINE_MS_MIN, HandoverMode, NewSession, RegisterKind};

use crate::channel::Connection;
use crate::{lock, write_private};

/// Longest file that is read, in bytes. A real one has 300.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// The configuration in force.
pub(crate) struct Configured {
    path: PathBuf,
    known: Mutex<Known>,
}

struct Known {
    configuration: Configuration,
    /// The server said it, now or in an earlier run.
    heard: bool,
    /// It is what the file holds.
    kept: bool,
}

/// What a request leaves open, settled when it is accepted: a change in the middle changes nothing for its payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) register: RegisterKind,
    pub(crate) mode: HandoverMode,
    pub(crate) deadline: Duration,
    pub(crate) language: Language,
}

impl Plan {
    /// Of a session whose request is not remembered. `default` is the register of this terminal's own settings.
    pub(crate) fn unasked(configuration: &Configuration, default: RegisterKind) -> Self {
        Self {
            register: configuration.register.unwrap_or(default),
            mode: configuration.handover_mode,
            // A server with other limits than ours cannot make us wait longer than we promise to callers.
            deadline: Duration::from_millis(
                configuration.deadline_ms.clamp(DEADLINE_MS_MIN, DEADLINE_MS_MAX),
            ),
            language: configuration.language,
        }
    }

    pub(crate) fn of(request: &NewSession, configuration: &Configuration, default: RegisterKind) -> Self {
        let unasked = Self::unasked(configuration, default);
        Self {
            register: request.handover.register.unwrap_or(unasked.register),
            mode: request.handover.mode.unwrap_or(unasked.mode),
            deadline: request.deadline_ms.map_or(unasked.deadline, Duration::from_millis),
            language: unasked.language,
        }
    }
}

impl Configured {
    /// What was kept, or else the defaults: a terminal must also start with a damaged file.
    pub(crate) fn open(path: PathBuf) -> Self {
        let kept = read(&path).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "the configuration that was kept cannot be read");
            None
        });
        let heard = kept.is_some();
        let known = Known { configuration: kept.unwrap_or_default(), heard, kept: heard };
        Self { path, known: Mutex::new(known) }
    }

    pub(crate) fn in_force(&self) -> Configuration {
        lock(&self.known).configuration.clone()
    }

    pub(crate) fn source(&self, connection: Connection) -> ConfigurationSource {
        match (lock(&self.known).heard, connection) {
            (false, _) => ConfigurationSource::Default,
            (true, Connection::Open(_)) => ConfigurationSource::Server,
            (true, Connection::Lost) => ConfigurationSource::Kept,
        }
    }

    /// Takes over what the server says. In force also if it cannot be kept.
    pub(crate) fn apply(&self, configuration: &Configuration) {
        let mut known = lock(&self.known);
        if known.configuration != *configuration {
            tracing::info!(?configuration, "the operator has changed this terminal's configuration");
            known.kept = false;
        }
        known.configuration = configuration.clone();
        known.heard = true;
        if !known.kept {
            let written = write(&self.path, configuration);
            known.kept = written.is_ok();
            if let Err(error) = written {
                let path = self.path.display();
                tracing::error!(%path, %error, "the configuration is in force, but not kept for a restart");
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Configuration>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map(Some).map_err(io::Error::other)
}

fn write(path: &Path, configuration: &Configuration) -> io::Result<()> {
    write_private(path, &serde_json::to_vec_pretty(configuration).map_err(io::Error::other)?)
}

#[cfg(test)]
mod tests {
    use selfsame_api::configuration::Maintenance;
    use selfsame_domain::terminal::Standing;
    use serde_json::json;

    use super::*;

    const OPEN: Connection = Connection::Open(Standing::Active);

    fn set() -> Configuration {
        let maintenance = Some(Maintenance { text: Some("back at 14:00".to_owned()) });
        Configuration {
            maintenance,
            deadline_ms: 9_000,
            register: Some(RegisterKind::Screen),
            ..Default::default()
        }
    }

    #[test]
    fn what_was_heard_is_kept_for_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("configuration.json");
        let configured = Configured::open(path.clone());
        assert_eq!((configured.in_force(), configured.source(OPEN)), Default::default());
        configured.apply(&set());
        assert_eq!(configured.source(OPEN), ConfigurationSource::Server);
        let next = Configured::open(path.clone());
        assert_eq!((next.in_force(), next.source(Connection::Lost)), (set(), ConfigurationSource::Kept));
        next.apply(&Configuration::default());
        assert_eq!(Configured::open(path).in_force(), Configuration::default());
    }

    #[test]
    fn a_terminal_starts_with_a_damaged_file_and_works_with_one_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("configuration.json");
        fs::write(&path, "{\"deadline_ms\":").unwrap();
        let configured = Configured::open(path);
        assert_eq!(configured.source(OPEN), ConfigurationSource::Default);
        let nowhere = Configured::open(folder.path().join("absent/configuration.json"));
        nowhere.apply(&set());
        assert_eq!(nowhere.in_force(), set());
    }

    #[test]
    fn what_a_request_says_comes_before_what_is_set() {
        let request = |more: serde_json::Value| {
            let mut request = json!({ "request_id": "r", "modality": "finger" });
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<NewSession>(request).unwrap()
        };
        let open = Plan::of(&request(json!({})), &set(), RegisterKind::Serial);
        assert_eq!((open.register, open.deadline.as_millis()), (RegisterKind::Screen, 9_000));
        let said = json!({ "deadline_ms": 2_000, "handover": { "register": "return", "mode": "immediate" } });
        let said = Plan::of(&request(said), &set(), RegisterKind::Serial);
        assert_eq!((said.register, said.mode), (RegisterKind::Return, HandoverMode::Immediate));
        assert_eq!(said.deadline.as_millis(), 2_000);
        let endless = Configuration { deadline_ms: u64::MAX, ..Default::default() };
        let bounded = Plan::of(&request(json!({})), &endless, RegisterKind::Serial);
        assert_eq!(bounded.deadline.as_millis(), u128::from(DEADLINE_MS_MAX));
        assert_eq!(bounded.register, RegisterKind::Serial, "the terminal's own, where nobody says more");
    }
}
