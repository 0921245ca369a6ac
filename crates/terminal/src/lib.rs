//! The terminal: the machine at the till. Step 1 of the method (the verification interface), the verification program
//! of step 2, and the terminal's side of steps 3 to 5 (asking for the code, handing it to the register).
//!
//! Two processes: the terminal offers the interface and hands over codes; the verifier is woken by it, takes
//! identifier and sample, and talks to the payment server. They share the device's identity and nothing else. Must
//! never know SQL, templates or scores: frames leave this machine sealed, and what comes back is a verdict.

mod access;
pub mod capture;
mod certificate;
mod channel;
mod configuration;
mod confirmation;
mod desk;
pub mod device;
mod diagnostics;
pub mod enrolment;
mod events;
pub mod face;
mod handover;
mod health;
mod interface;
mod journal;
mod kiosk;
mod listen;
mod page;
mod pairing;
pub mod register;
mod session;
mod simulator;
mod state;
mod tables;
mod verification;
mod verifier;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use desk::{DeskConfig, desk_openapi_json, run_desk};
pub use interface::{TerminalConfig, openapi_json, run_terminal};
pub use kiosk::{KioskAccess, kiosk_openapi_json};
pub use listen::{LanAccess, Listening, RegisterAccess};
pub use page::PageAccess;
pub use simulator::{Simulator, run_simulated_terminal};
pub use tables::interface_tables;
pub use verifier::{Budgets, VerifierConfig, run_verifier};

/// Why terminal or verifier do not run.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// The socket could not be made.
    #[error("failed to listen on `{socket}`")]
    Listen {
        /// Which socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The journal of accepted requests could not be read or written.
    #[error("failed to open the journal `{path}`")]
    Journal {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A simulator was to be started at a live site.
    #[error("this terminal belongs to a live site, and simulators are for test sites only")]
    LiveSite,
    /// The file of paired registers could not be read.
    #[error("failed to read the paired registers in `{path}`")]
    Registers {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Serving failed.
    #[error("the process stopped serving")]
    Serve(#[source] io::Error),
}

/// Bytes of the operating system's generator. The one place where randomness enters the terminal.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's generator always answers");
    bytes
}

/// Writes a file that only its owner can read: beside the old one and then in its place, so that there is always a
/// whole one.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Locks. Nothing is left half done while one of our locks is held, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
