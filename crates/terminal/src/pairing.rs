//! Pairing of cash registers, and the registers that are paired.
//!
//! Nobody can pair unless somebody at the terminal has opened the window for it. Then one register at a time may ask,
//! the terminal's own screen shows who asks and a code, and whoever stands there types the code into the register. Eight
//! digits against five tries: one in 20 million for each pairing, and three pairings in a window.

pub(crate) mod routes;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selfsame_api::bytes::Bytes;
use selfsame_api::merchant::Secret;
use selfsame_api::pairing::{
    AskingRegister, NAME_CHARS_MAX, Paired, Pairing, PairingWindow, Register, Registers,
};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::clock::Clock;
use selfsame_domain::id::{PairingId, RegisterId, TerminalId};
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::access::{same_hash, token_hash};
use crate::{lock, random, write_private};

/// How long registers may ask after somebody at the terminal has opened the window.
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// Life of a code: the way from the terminal's screen to the register's.
const CODE_LIFETIME: Duration = Duration::from_secs(2 * 60);

/// Wrong codes of one pairing, and pairings of one window.
const TRIES_MAX: u32 = 5;
const PAIRINGS_MAX: u32 = 3;

/// Most registers of one terminal: more than any till has, few enough to look through.
const REGISTERS_MAX: usize = 16;

/// Digits of a code.
const CODE_DIGITS: usize = 8;

/// Head of a token: tells people and secret scanners what it is.
const TOKEN_PREFIX: &str = "rt_";

/// A paired register in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    id: RegisterId,
    name: String,
    token_sha256: Bytes,
    created_at: Timestamp,
}

/// The file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    registers: Vec<Stored>,
}

/// A register that asks.
struct Asking {
    id: PairingId,
    name: String,
    address: String,
    code: Zeroizing<String>,
    expires_at: Timestamp,
    tries_left: u32,
}

/// The window in which registers may ask.
#[derive(Default)]
struct Window {
    closes_at: Option<Timestamp>,
    asked: u32,
    asking: Option<Asking>,
    paired: Option<Register>,
}

struct Inner {
    file: File,
    window: Window,
}

/// All that has to do with pairing.
pub(crate) struct Pairings {
    path: PathBuf,
    terminal: TerminalId,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// Told whenever the registers are others than before.
    changes: watch::Sender<()>,
}

impl Pairings {
    /// Reads which registers are paired.
    pub(crate) fn open(path: &Path, terminal: TerminalId, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let file = match fs::read(path) {
            Ok(json) => serde_json::from_slice(&json).map_err(io::Error::from)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::default(),
            Err(error) => return Err(error),
        };
        let inner = Mutex::new(Inner { file, window: Window::default() });
        Ok(Self { path: path.to_owned(), terminal, clock, inner, changes: watch::Sender::new(()) })
    }

    /// Whose token has this hash. Looks at all of them, however early one fits.
    pub(crate) fn find(&self, hash: &[u8; 32]) -> Option<RegisterId> {
        let inner = lock(&self.inner);
        let fits = |stored: &Stored| stored.token_sha256.to_array().is_some_and(|own| same_hash(&own, hash));
        inner
            .file
            .registers
            .iter()
            .fold(None, |found, stored| if fits(stored) { Some(stored.id) } else { found })
    }

    /// Done when the register's token is good no more.
    pub(crate) async fn unpaired(self: Arc<Self>, register: RegisterId) {
        let mut changes = self.changes.subscribe();
        while lock(&self.inner).file.registers.iter().any(|stored| stored.id == register) {
            // Fails never: we hold the sender.
            let _ = changes.changed().await;
        }
    }

    /// The paired registers, oldest first.
    pub(crate) fn registers(&self) -> Registers {
        let data = lock(&self.inner).file.registers.iter().map(Stored::shown).collect();
        Registers { data }
    }

    /// Opens the window anew; what was going on in an earlier one is over.
    pub(crate) fn open_window(&self) -> PairingWindow {
        let now = self.clock.now();
        let mut inner = lock(&self.inner);
        inner.window = Window { closes_at: Some(now + WINDOW), ..Window::default() };
        tracing::info!("registers may ask to be paired");
        inner.window.shown(now)
    }

    /// Closes it.
    pub(crate) fn close_window(&self) -> PairingWindow {
        let mut inner = lock(&self.inner);
        inner.window.close();
        inner.window.shown(self.clock.now())
    }

    /// What the terminal's screen shows.
    pub(crate) fn window(&self) -> PairingWindow {
        let now = self.clock.now();
        let mut inner = lock(&self.inner);
        inner.window.expire(now);
        inner.window.shown(now)
    }

    /// A register asks to be let in.
    pub(crate) fn ask(&self, name: &str, address: Option<IpAddr>) -> Result<Pairing, Problem> {
        let name = check_name(name)?;
        let now = self.clock.now();
        let mut inner = lock(&self.inner);
        let Inner { file, window } = &mut *inner;
        window.expire(now);
        if window.closes_at.is_none() {
            let detail = "ask somebody at the terminal to run `selfsame terminal pair`, then try again";
            return Err(Problem::new(ProblemCode::PairingClosed).detail(detail));
        }
        if window.asking.is_some() {
            let detail = "another register is being paired with this terminal";
            return Err(Problem::new(ProblemCode::InvalidState).detail(detail));
        }
        if window.asked == PAIRINGS_MAX {
            window.close();
            return Err(
                Problem::new(ProblemCode::TooManyAttempts).detail("the terminal has closed the pairing")
            );
        }
        if file.registers.len() >= REGISTERS_MAX && file.registers.iter().all(|stored| stored.name != name) {
            let detail = format!("{REGISTERS_MAX} registers are paired with this terminal: unpair one");
            return Err(Problem::new(ProblemCode::InvalidState).detail(detail));
        }
        window.asked += 1;
        let asking = Asking {
            id: PairingId::new(now, random()),
            name,
            address: address.map_or_else(|| "this machine".to_owned(), |address| address.to_string()),
            code: new_code(),
            expires_at: now + CODE_LIFETIME,
            tries_left: TRIES_MAX,
        };
        tracing::info!(
            register.name = asking.name,
            peer.address = asking.address,
            "a register asks to be paired"
        );
        let pairing =
            Pairing { id: asking.id, expires_in_ms: millis(CODE_LIFETIME), tries_left: asking.tries_left };
        window.asking = Some(asking);
        Ok(pairing)
    }

    /// The register brings the code. An earlier register of the same name loses its token.
    pub(crate) fn complete(&self, pairing: PairingId, code: &Secret) -> Result<Paired, Problem> {
        let now = self.clock.now();
        let mut inner = lock(&self.inner);
        let Inner { file, window } = &mut *inner;
        window.expire(now);
        let asking = window.asking.as_mut().filter(|asking| asking.id == pairing);
        let asking = asking.ok_or_else(|| {
            Problem::new(ProblemCode::NotFound).detail("this pairing is over: ask for another one")
        })?;
        if !is_code(&code.0, &asking.code) {
            asking.tries_left -= 1;
            let (left, name) = (asking.tries_left, asking.name.clone());
            tracing::warn!(register.name = name, left, "a wrong pairing code");
            if left == 0 {
                window.asking = None;
                return Err(Problem::new(ProblemCode::TooManyAttempts).detail("this pairing is over"));
            }
            let detail = format!("tries that are left: {left}");
            return Err(Problem::new(ProblemCode::PairingRefused).detail(detail));
        }
        let token = Zeroizing::new(format!("{TOKEN_PREFIX}{}", Bytes::from(random::<32>()).encode()));
        let stored = Stored {
            id: RegisterId::new(now, random()),
            name: asking.name.clone(),
            token_sha256: Bytes::from(token_hash(&token)),
            created_at: now,
        };
        let mut registers = file.registers.clone();
        registers.retain(|earlier| earlier.name != stored.name);
        registers.push(stored.clone());
        self.replace(file, registers)?;
        window.close();
        window.paired = Some(stored.shown());
        tracing::info!(register.id = %stored.id, register.name = stored.name, "paired a register");
        Ok(Paired { id: stored.id, token: Secret(token.to_string()), terminal: self.terminal })
    }

    /// Takes a register's token back.
    pub(crate) fn unpair(&self, register: RegisterId) -> Result<(), Problem> {
        let mut inner = lock(&self.inner);
        let mut registers = inner.file.registers.clone();
        registers.retain(|stored| stored.id != register);
        if registers.len() == inner.file.registers.len() {
            return Err(Problem::new(ProblemCode::NotFound));
        }
        self.replace(&mut inner.file, registers)?;
        tracing::info!(register.id = %register, "unpaired a register");
        Ok(())
    }

    /// What is not in the file does not count: after a restart nobody would know it.
    fn replace(&self, file: &mut File, registers: Vec<Stored>) -> Result<(), Problem> {
        let new = File { registers };
        let json = serde_json::to_vec_pretty(&new).expect("text always serializes");
        write_private(&self.path, &json).map_err(|error| {
            tracing::error!(%error, "the paired registers cannot be written");
            Problem::new(ProblemCode::Unavailable)
                .detail("this terminal cannot write its registers: is its disk full?")
        })?;
        *file = new;
        self.changes.send_replace(());
        Ok(())
    }
}

impl Stored {
    fn shown(&self) -> Register {
        Register { id: self.id, name: self.name.clone(), created_at: self.created_at }
    }
}

impl Window {
    fn close(&mut self) {
        *self = Self::default();
    }

    /// Ends what is too old.
    fn expire(&mut self, now: Timestamp) {
        if self.closes_at.is_some_and(|closes_at| closes_at <= now) {
            self.close();
        }
        if self.asking.as_ref().is_some_and(|asking| asking.expires_at <= now) {
            self.asking = None;
        }
    }

    fn shown(&self, now: Timestamp) -> PairingWindow {
        let asking = self.asking.as_ref().map(|asking| AskingRegister {
            name: asking.name.clone(),
            address: asking.address.clone(),
            code: format!("{} {}", &asking.code[..CODE_DIGITS / 2], &asking.code[CODE_DIGITS / 2..]),
            expires_in_ms: millis(asking.expires_at.since(now)),
            tries_left: asking.tries_left,
        });
        let closes_in_ms = self.closes_at.map_or(0, |closes_at| millis(closes_at.since(now)));
        PairingWindow { closes_in_ms, asking, paired: self.paired.clone() }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Uniform but for one part in 10^11.
fn new_code() -> Zeroizing<String> {
    let number = u64::from_le_bytes(random()) % 10u64.pow(CODE_DIGITS as u32);
    Zeroizing::new(format!("{number:0CODE_DIGITS$}"))
}

/// Hashes are compared, so that the time of it says nothing about the code.
fn is_code(typed: &str, code: &str) -> bool {
    let typed: Zeroizing<String> =
        Zeroizing::new(typed.chars().filter(|character| !matches!(character, ' ' | '-')).collect());
    same_hash(&token_hash(&typed), &token_hash(code))
}

/// Names are shown on a terminal's screen: nothing that moves a cursor or turns the line round.
fn check_name(name: &str) -> Result<String, Problem> {
    let name = name.trim();
    let plain =
        |character: char| character.is_alphanumeric() || character == ' ' || character.is_ascii_punctuation();
    if (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    let detail =
        format!("`name` must be 1 to {NAME_CHARS_MAX} letters, digits, spaces and punctuation marks");
    Err(Problem::new(ProblemCode::InvalidRequest).detail(detail))
}

#[cfg(test)]
mod tests {
    use selfsame_domain::clock::{AdvancingClock, SystemClock};
    use tempfile::TempDir;

    use super::*;

    struct Till {
        folder: TempDir,
        clock: Arc<AdvancingClock<SystemClock>>,
        pairings: Pairings,
    }

    impl Till {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::new(AdvancingClock::new(SystemClock));
            let pairings = Self::open(&folder, clock.clone());
            Self { folder, clock, pairings }
        }

        fn open(folder: &TempDir, clock: Arc<AdvancingClock<SystemClock>>) -> Pairings {
            let terminal = TerminalId::new(Timestamp::from_millis(0), [1; 10]);
            Pairings::open(&folder.path().join("registers.json"), terminal, clock).unwrap()
        }

        fn code(&self) -> Secret {
            Secret(self.pairings.window().asking.expect("somebody asks").code)
        }

        fn pair(&self, name: &str) -> Paired {
            self.pairings.open_window();
            let pairing = self.pairings.ask(name, None).unwrap();
            self.pairings.complete(pairing.id, &self.code()).unwrap()
        }

        fn refused(&self, name: &str) -> ProblemCode {
            self.pairings.ask(name, None).unwrap_err().code
        }
    }

    #[test]
    fn a_register_gets_its_token_by_the_code_on_the_screen_and_keeps_it_over_a_restart() {
        let till = Till::new();
        assert_eq!(till.refused("Till 4"), ProblemCode::PairingClosed);
        let paired = till.pair("Till 4");
        let window = till.pairings.window();
        assert_eq!((window.closes_in_ms, window.asking), (0, None));
        assert_eq!(window.paired.map(|register| register.id), Some(paired.id));
        assert_eq!(till.refused("Till 5"), ProblemCode::PairingClosed, "one register for each window");
        let file = fs::read_to_string(till.folder.path().join("registers.json")).unwrap();
        assert!(file.contains("Till 4") && !file.contains(&paired.token.0[TOKEN_PREFIX.len()..]));
        let again = Till::open(&till.folder, till.clock.clone());
        assert_eq!(again.find(&token_hash(&paired.token.0)), Some(paired.id));
        assert_eq!(again.find(&token_hash("rt_wrong")), None);
        again.unpair(paired.id).unwrap();
        assert_eq!(again.find(&token_hash(&paired.token.0)), None);
        assert_eq!(again.unpair(paired.id).unwrap_err().code, ProblemCode::NotFound);
    }

    #[test]
    fn five_wrong_codes_end_a_pairing_and_three_pairings_a_window() {
        let till = Till::new();
        till.pairings.open_window();
        for _ in 0..PAIRINGS_MAX {
            let pairing = till.pairings.ask("Guesser", None).unwrap();
            let right = till.code();
            let wrong = Secret(if right.0.starts_with('0') { "1" } else { "0" }.repeat(CODE_DIGITS));
            for left in (0..TRIES_MAX).rev() {
                let refused = till.pairings.complete(pairing.id, &wrong).unwrap_err().code;
                let expected =
                    if left == 0 { ProblemCode::TooManyAttempts } else { ProblemCode::PairingRefused };
                assert_eq!(refused, expected);
            }
            assert_eq!(till.pairings.complete(pairing.id, &right).unwrap_err().code, ProblemCode::NotFound);
        }
        assert_eq!(till.refused("Guesser"), ProblemCode::TooManyAttempts);
        assert_eq!(till.refused("Guesser"), ProblemCode::PairingClosed);
    }

    #[test]
    fn codes_and_windows_end_by_themselves() {
        let till = Till::new();
        till.pairings.open_window();
        let pairing = till.pairings.ask("Slow", None).unwrap();
        let code = till.code();
        assert_eq!(till.refused("Other"), ProblemCode::InvalidState, "one at a time");
        till.clock.advance(CODE_LIFETIME);
        assert_eq!(till.pairings.complete(pairing.id, &code).unwrap_err().code, ProblemCode::NotFound);
        till.pairings.ask("Other", None).unwrap();
        till.clock.advance(WINDOW);
        assert_eq!(till.refused("Other"), ProblemCode::PairingClosed);
        assert_eq!(till.pairings.window().asking, None);
        till.pairings.open_window();
        till.pairings.close_window();
        assert_eq!(till.refused("Other"), ProblemCode::PairingClosed);
    }

    #[test]
    fn a_register_that_is_paired_again_replaces_itself_and_there_are_not_too_many() {
        let till = Till::new();
        let first = till.pair("Till 1");
        for number in 1..=REGISTERS_MAX {
            till.pair(&format!("Till {number}"));
        }
        assert_eq!(till.pairings.registers().data.len(), REGISTERS_MAX);
        assert_eq!(till.pairings.find(&token_hash(&first.token.0)), None);
        till.pairings.open_window();
        assert_eq!(till.refused("One more"), ProblemCode::InvalidState);
        assert!(till.pairings.ask("Till 1", None).is_ok());
    }

    #[test]
    fn codes_are_read_as_people_type_them_and_names_are_plain_text() {
        assert!(is_code("4711 0815", "47110815") && is_code("4711-0815 ", "47110815"));
        for wrong in ["", "4711081", "471108155", "4711O815", "４7110815"] {
            assert!(!is_code(wrong, "47110815"), "{wrong}");
        }
        assert_eq!(new_code().len(), CODE_DIGITS);
        for name in ["Till 4", "收银台 2", "Café (left)", &"x".repeat(NAME_CHARS_MAX)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "  ", "a\nb", "\u{1b}[2J", "a\u{202e}b", &"x".repeat(NAME_CHARS_MAX + 1)] {
            assert_eq!(check_name(name).unwrap_err().code, ProblemCode::InvalidRequest, "{name:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_told_and_not_taken_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registers.json");
        fs::write(&path, "{").unwrap();
        let terminal = TerminalId::new(Timestamp::from_millis(0), [1; 10]);
        assert!(Pairings::open(&path, terminal, Arc::new(SystemClock)).is_err());
    }
}
