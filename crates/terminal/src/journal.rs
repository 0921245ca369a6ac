//! What this terminal accepted and how it ended, in a file, so that a caller hears the truth after a crash.
//!
//! One JSON object a line. Survives the end of the process; not synced to the disk, because after a power cut a
//! repeated request simply verifies again and no money is involved. Holds no identifier, sample or code.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use selfsame_api::interface::Outcome;
use selfsame_domain::id::{RegisterId, SessionId, VerificationId};
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lock;

/// How long a `request_id` is remembered.
pub(crate) const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Longest file that is read at start, in bytes: a day of a till that verifies somebody every two seconds.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A request was accepted; from now on it has an outcome.
    Accepted {
        session: SessionId,
        request_id: Reference,
        at: Timestamp,
        /// The paired register that made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        register: Option<RegisterId>,
    },
    /// It ended. Written before anybody is told.
    Ended {
        session: SessionId,
        outcome: Outcome,
        #[serde(skip_serializing_if = "Option::is_none")]
        verification: Option<VerificationId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pass_expires_at: Option<Timestamp>,
    },
}

/// A request of an earlier run of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) session: SessionId,
    pub(crate) request_id: Reference,
    pub(crate) at: Timestamp,
    pub(crate) register: Option<RegisterId>,
    /// `None`: the process ended in the middle.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) verification: Option<VerificationId>,
    pub(crate) pass_expires_at: Option<Timestamp>,
}

/// The open file.
pub(crate) struct Journal {
    file: Mutex<File>,
}

impl Journal {
    /// Reads what is remembered, drops what is older than [`MEMORY`], and goes on writing. Lines that were cut off by
    /// a crash are left out.
    pub(crate) fn open(path: &Path, now: Timestamp) -> io::Result<(Self, Vec<Remembered>)> {
        let remembered = read(path, now)?;
        let beside = beside(path);
        let mut file = create(&beside)?;
        for entry in remembered.iter().flat_map(entries) {
            file.write_all(&line(&entry))?;
        }
        std::fs::rename(&beside, path)?;
        Ok((Self { file: Mutex::new(file) }, remembered))
    }

    /// Adds a line.
    pub(crate) fn write(&self, entry: &Entry) -> io::Result<()> {
        lock(&self.file).write_all(&line(entry))
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn line(entry: &Entry) -> Vec<u8> {
    let mut line = serde_json::to_vec(entry).expect("a journal entry always serializes");
    line.push(b'\n');
    line
}

fn entries(remembered: &Remembered) -> Vec<Entry> {
    let Remembered { session, request_id, at, register, outcome, verification, pass_expires_at } =
        remembered.clone();
    let accepted = Entry::Accepted { session, request_id, at, register };
    let ended = outcome.map(|outcome| Entry::Ended { session, outcome, verification, pass_expires_at });
    [Some(accepted), ended].into_iter().flatten().collect()
}

fn read(path: &Path, now: Timestamp) -> io::Result<Vec<Remembered>> {
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            tracing::error!(
                bytes = found.len(),
                "the journal is too long to be read; requests of before are forgotten"
            );
            return Ok(Vec::new());
        }
        Ok(_) => std::fs::read(path)?,
    };
    let mut remembered: Vec<Remembered> = Vec::new();
    for entry in text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
        match entry {
            Entry::Accepted { session, request_id, at, register } => remembered.push(Remembered {
                session,
                request_id,
                at,
                register,
                outcome: None,
                verification: None,
                pass_expires_at: None,
            }),
            Entry::Ended { session, outcome, verification, pass_expires_at } => {
                // The end of a request follows soon after it, so the search is short.
                if let Some(found) = remembered.iter_mut().rev().find(|found| found.session == session) {
                    found.outcome = Some(outcome);
                    (found.verification, found.pass_expires_at) = (verification, pass_expires_at);
                }
            }
        }
    }
    remembered.retain(|found| now.since(found.at) < MEMORY);
    Ok(remembered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000 + seconds * 1000)
    }

    fn session(number: u8) -> SessionId {
        SessionId::new(at(0), [number; 10])
    }

    fn accepted(number: u8, seconds: i64) -> Entry {
        let request_id = format!("r{number}").parse().unwrap();
        Entry::Accepted { session: session(number), request_id, at: at(seconds), register: None }
    }

    fn declined(number: u8) -> Entry {
        Entry::Ended {
            session: session(number),
            outcome: Outcome::Declined,
            verification: None,
            pass_expires_at: None,
        }
    }

    #[test]
    fn a_request_that_did_not_end_is_remembered_without_an_outcome() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (journal, remembered) = Journal::open(&path, at(0)).unwrap();
        assert_eq!(remembered, []);
        for entry in [accepted(1, 0), declined(1), accepted(2, 1)] {
            journal.write(&entry).unwrap();
        }
        drop(journal);
        for _ in 0..2 {
            let (_, remembered) = Journal::open(&path, at(2)).unwrap();
            let outcomes: Vec<_> = remembered.iter().map(|found| (found.session, found.outcome)).collect();
            assert_eq!(outcomes, [(session(1), Some(Outcome::Declined)), (session(2), None)]);
        }
    }

    #[test]
    fn a_line_cut_off_by_a_crash_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let whole = [line(&accepted(1, 0)), line(&accepted(2, 0))].concat();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let (journal, remembered) = Journal::open(&path, at(1)).unwrap();
        assert_eq!(remembered.iter().map(|found| found.session).collect::<Vec<_>>(), [session(1)]);
        journal.write(&declined(1)).unwrap();
        let (_, remembered) = Journal::open(&path, at(1)).unwrap();
        assert_eq!(remembered[0].outcome, Some(Outcome::Declined));
    }

    #[test]
    fn requests_are_forgotten_after_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (journal, _) = Journal::open(&path, at(0)).unwrap();
        journal.write(&accepted(1, 0)).unwrap();
        journal.write(&accepted(2, 3600)).unwrap();
        let (_, remembered) = Journal::open(&path, at(24 * 3600)).unwrap();
        assert_eq!(remembered.iter().map(|found| found.session).collect::<Vec<_>>(), [session(2)]);
    }

    #[test]
    fn a_file_that_is_no_journal_is_not_read_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, b"\xff\xfe{}\n[]\n{\"event\":\"accepted\"}\n").unwrap();
        assert_eq!(Journal::open(&path, at(0)).unwrap().1, []);
        assert!(Journal::open(&folder.path().join("absent/journal"), at(0)).is_err());
    }
}
