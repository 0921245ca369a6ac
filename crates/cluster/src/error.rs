//! What can go wrong with a throw-away cluster.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no cluster, or why it did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The programs of PostgreSQL are nowhere.
    #[error(
        "PostgreSQL is not installed: no `initdb` in /usr/lib/postgresql or on the path. Do: install PostgreSQL 15 or newer \
         (Debian package `postgresql`)"
    )]
    NotInstalled,
    /// PostgreSQL refuses to run as root, and there is nobody else to run it.
    #[error(
        "PostgreSQL does not run as root, and there is no user `postgres`. Do: make that user, or do not be root"
    )]
    NoUser,
    /// A program did not even start.
    #[error("failed to start `{program}`")]
    Start {
        /// Name of the program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A program said that it failed.
    #[error("`{program}` failed: {said}")]
    Program {
        /// Name of the program.
        program: String,
        /// What it wrote to its error output.
        said: String,
    },
    /// A program, or the database at its start, did not end in time.
    #[error("{what} took longer than {} s; the log ends: {log}", patience.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        patience: Duration,
        /// Last lines of the cluster's log, if there is one.
        log: String,
    },
    /// The database ended while it was starting.
    #[error("PostgreSQL ended at its start; the log ends: {log}")]
    Ended {
        /// Last lines of its log.
        log: String,
    },
    /// The cluster was told something that it cannot do as it stands.
    #[error("{0}")]
    State(&'static str),
    /// A file or folder of the cluster.
    #[error("failed to {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl ClusterError {
    /// For `map_err` after an operation on a file.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
