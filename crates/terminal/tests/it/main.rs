//! Ways to the register as a till meets them: bytes of files, pipes and pseudo-terminals, connections, and a browser that
//! is typed into. What needs a program that is not installed says so and is skipped; CI has to have it.

mod browser;
mod chromium;
mod keyboard;
mod network;
mod serial;

use std::time::Duration;

use selfsame_terminal::register::{RegisterSettings, Registers, Undelivered};

/// A code of a test site, with digits that follow upon themselves.
const CODE: &str = "980011223344556677";

/// Longest wait for something that only a defect can delay.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(settings: RegisterSettings) -> Registers {
    Registers::open(&settings).await.expect("settings that can be")
}

/// Why settings are refused.
async fn refused(settings: RegisterSettings) -> String {
    let Err(error) = Registers::open(&settings).await else { panic!("{settings:?} was taken") };
    error.to_string()
}

/// No trace of the digits in what is said about them.
#[track_caller]
fn tells_no_digits(undelivered: &Undelivered) {
    let told = format!("{undelivered} {undelivered:?}");
    assert!(!told.contains(&CODE[2..8]), "{told}");
}
