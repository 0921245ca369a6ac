//! Ways to the cash register (step 5 of the method, the terminal's side): a code is typed as a keyboard, written to a
//! serial line, a TCP connection or a WebSocket, shown on the screen, or given back to the caller of the interface.
//!
//! A till that takes what a scanner sends gives no receipt. What is known here is whether all of a code went out
//! ([`Undelivered`] otherwise); whether it was charged is known to the payment server. Digits are never printed, and are
//! wiped here when they were sent.

mod channels;
mod code;
mod keyboard;
mod keys;
mod profile;
mod screen;
mod serial;
mod settings;
mod tcp;
#[cfg(target_os = "linux")]
mod uinput;
mod websocket;

use std::io;
use std::time::{Duration, Instant};

pub use channels::{OpenError, Registers};
pub(crate) use code::LiveCode;
pub use keyboard::GadgetKeyboard;
pub use keys::DigitKeys;
pub use profile::{OutputProfile, Suffix};
pub use serial::{SerialLine, Trigger};
pub use settings::{
    KeyboardOutput, KeyboardSettings, RegisterSettings, SerialSettings, TcpSettings, WebSocketSettings,
};
pub use tcp::TcpLine;
#[cfg(target_os = "linux")]
pub use uinput::VirtualKeyboard;
pub use websocket::BrowserRegister;

/// A page on which the installer of a till sees what arrives, and how fast. Needs no network.
pub const TEST_PAGE: &str = include_str!("test_page.html");

/// Digits of a payment code.
pub const CODE_CHARACTERS: usize = 18;

/// Longest time that bringing a code to the register takes. Nobody waits longer with a hand on the till.
pub const HANDOVER_DEADLINE: Duration = Duration::from_secs(2);

/// Longest time without any progress. A till that is switched off, or a cable that is out, is known by then.
const STALL_MAX: Duration = Duration::from_secs(1);

/// A way to the register that can fail.
pub trait Register: Send + Sync {
    /// Brings the digits of a code to the till, within `within`. Blocks. What is sent twice is two codes to the till, so
    /// nothing in here tries again.
    fn deliver(&self, digits: &str, within: Duration) -> Result<(), Undelivered>;

    /// Whether a code would find a till, as far as that can be seen without sending anything.
    fn is_there(&self) -> bool;
}

/// Why a code did not go out, or perhaps not.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// There is nothing to send to. Nothing was sent.
    #[error("{way} is not there")]
    Missing {
        /// Where it should have gone.
        way: String,
        /// Why.
        source: io::Error,
    },
    /// The keypad would move the cursor instead of typing digits. Nothing was sent.
    #[error("NumLock is off at the till")]
    NumLockOff,
    /// Nothing was sent for another reason.
    #[error("nothing was sent to {way}")]
    NotSent {
        /// Where it should have gone.
        way: String,
        /// Why.
        source: io::Error,
    },
    /// The till may have got a part, or all of it.
    #[error("the way to {way} broke after {sent} of {whole} characters")]
    Uncertain {
        /// Where it went.
        way: String,
        /// So many characters went out at most.
        sent: usize,
        /// Of so many.
        whole: usize,
        /// Why.
        source: io::Error,
    },
}

impl Undelivered {
    /// What an error means after so many characters went out, the one that failed included if a part of it may have.
    fn after(way: &str, sent: usize, whole: usize, source: io::Error) -> Self {
        let way = way.to_owned();
        match sent {
            0 if is_absence(&source) => Undelivered::Missing { way, source },
            0 => Undelivered::NotSent { way, source },
            _ => Undelivered::Uncertain { way, sent, whole, source },
        }
    }
}

/// Whether an error says that there is no device, or nobody at its other end.
fn is_absence(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let codes = [Errno::NOENT, Errno::NXIO, Errno::NODEV, Errno::SHUTDOWN, Errno::PIPE, Errno::IO];
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionRefused];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
        || kinds.contains(&error.kind())
}

/// A setting with which no code could be sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnusableSetting(pub(crate) String);

/// The pause between two characters.
#[expect(
    clippy::disallowed_methods,
    reason = "tills tell scanners from people by this pause; it waits for nothing"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// What is left until `give_up`, or the error that nothing is.
fn left(give_up: Instant) -> io::Result<Duration> {
    let left = give_up.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the time of the hand-over is over"));
    }
    Ok(left)
}
