//! The till's side of the wires, as the kernel shows it to any program: key events and bytes of a serial port.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Longest wait for something that only a defect can delay. The guest is emulated, its host is loaded.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long nothing must come before we believe that nothing comes any more.
pub const SILENCE: Duration = Duration::from_millis(1_500);

/// `struct input_event` on 64-bit kernels: two words of time, type, code, value.
const EVENT_BYTES: usize = 24;

/// Types, codes and values of events (linux/input-event-codes.h).
const EV_KEY: u16 = 1;
const EV_LED: u16 = 0x11;
const EV_SYN: u16 = 0;
const SYN_REPORT: u16 = 0;
const LED_NUM_LOCK: u16 = 0;
const RELEASED: i32 = 0;
const PRESSED: i32 = 1;

/// What a person would see on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Row(u8),
    Keypad(u8),
    Enter,
    Tab,
    Escape,
    Other(u16),
}

impl Key {
    /// From the codes of linux/input-event-codes.h.
    fn from_code(code: u16) -> Self {
        match code {
            1 => Key::Escape,
            2..=10 => Key::Row(code as u8 - 1),
            11 => Key::Row(0),
            15 => Key::Tab,
            28 => Key::Enter,
            71..=73 => Key::Keypad(code as u8 - 64),
            75..=77 => Key::Keypad(code as u8 - 71),
            79..=81 => Key::Keypad(code as u8 - 78),
            82 => Key::Keypad(0),
            _ => Key::Other(code),
        }
    }
}

/// Waits until `found` finds something; there are no events for nodes that come and go.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = found() {
            return Ok(found);
        }
        ensure!(started.elapsed() < PATIENCE, "{what} did not come within {} s", PATIENCE.as_secs());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The event node of the input device of this name, if there is one.
fn event_node(name: &str) -> Option<PathBuf> {
    let has_name = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("device/name")).is_ok_and(|found| found.trim() == name)
    };
    let entries = fs::read_dir("/sys/class/input").ok()?.filter_map(Result::ok);
    let mut events = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("event"));
    let node = Path::new("/dev/input").join(events.find(has_name)?.file_name());
    node.exists().then_some(node)
}

/// Waits until an input device is gone.
pub fn wait_until_gone(name: &str) -> Result<()> {
    wait_for("the end of the input device", || event_node(name).is_none().then_some(()))
}

/// A keyboard as the till sees it.
pub struct Keyboard {
    node: PathBuf,
    keys: Receiver<Result<(Key, Instant)>>,
}

impl Keyboard {
    /// Waits for the input device of this name and begins to listen.
    pub fn open(name: &str) -> Result<Self> {
        let node = wait_for(name, || event_node(name))?;
        let mut file = File::open(&node).with_context(|| format!("failed to open {}", node.display()))?;
        let (sender, keys) = mpsc::channel();
        std::thread::spawn(move || {
            let mut down: Option<u16> = None;
            let mut event = [0; EVENT_BYTES];
            // Ends when the device is gone.
            while file.read_exact(&mut event).is_ok() {
                let word = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
                let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
                let (kind, code) = (word(16), word(18));
                let told = match (kind, value) {
                    (EV_KEY, PRESSED) if down.is_some() => Err(anyhow::anyhow!("two keys are down at once")),
                    (EV_KEY, PRESSED) => {
                        down = Some(code);
                        Ok((Key::from_code(code), Instant::now()))
                    }
                    (EV_KEY, RELEASED) => {
                        down = None;
                        continue;
                    }
                    _ => continue,
                };
                if sender.send(told).is_err() {
                    return;
                }
            }
        });
        Ok(Self { node, keys })
    }

    /// Switches the light, as a till does when somebody presses the key on another keyboard of it.
    pub fn set_num_lock(&self, on: bool) -> Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.node).context("the till has no keyboard")?;
        let event = |kind: u16, code: u16, value: i32| {
            let mut event = [0; EVENT_BYTES];
            event[16..18].copy_from_slice(&kind.to_ne_bytes());
            event[18..20].copy_from_slice(&code.to_ne_bytes());
            event[20..24].copy_from_slice(&value.to_ne_bytes());
            event
        };
        // There and back, so that it is a change whatever the light was.
        for on in [!on, on] {
            let events = [event(EV_LED, LED_NUM_LOCK, i32::from(on)), event(EV_SYN, SYN_REPORT, 0)].concat();
            file.write_all(&events).context("the light is not switched")?;
        }
        Ok(())
    }

    /// The next key; none if the device is gone.
    pub fn next(&self) -> Result<Option<(Key, Instant)>> {
        match self.keys.recv_timeout(PATIENCE) {
            Ok(key) => key.map(Some),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("no key came within {} s", PATIENCE.as_secs()),
        }
    }

    /// So many keys and then silence; also how long they took.
    pub fn exactly(&self, count: usize) -> Result<(Vec<Key>, Duration)> {
        let mut keys = Vec::new();
        let mut times = Vec::new();
        while keys.len() < count {
            let (key, at) = self.next()?.with_context(|| format!("the keyboard went after {keys:?}"))?;
            keys.push(key);
            times.push(at);
        }
        let more = self.rest()?;
        ensure!(more.is_empty(), "keys that nobody sent: {more:?}");
        let took = times.last().zip(times.first()).map(|(last, first)| *last - *first);
        Ok((keys, took.unwrap_or_default()))
    }

    /// What comes until nothing comes any more.
    pub fn rest(&self) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        while let Ok(key) = self.keys.recv_timeout(SILENCE) {
            keys.push(key?.0);
        }
        Ok(keys)
    }
}

/// A serial port as the till sees it.
pub struct SerialPort(Receiver<u8>);

impl SerialPort {
    /// Waits for the port, makes it raw, and begins to listen.
    pub fn open(node: &str) -> Result<Self> {
        wait_for(node, || Path::new(node).exists().then_some(()))?;
        let raw = Command::new("stty").args(["-F", node, "raw", "-echo"]).status();
        ensure!(raw.context("failed to start stty")?.success(), "stty does not make {node} raw");
        let mut file = OpenOptions::new().read(true).write(true).open(node);
        let file = file.as_mut().map_err(|error| anyhow::anyhow!("failed to open {node}: {error}"))?;
        let mut file = file.try_clone().context("failed to copy a handle")?;
        let (sender, bytes) = mpsc::channel();
        std::thread::spawn(move || {
            let mut byte = [0];
            while file.read_exact(&mut byte).is_ok() && sender.send(byte[0]).is_ok() {}
        });
        Ok(Self(bytes))
    }

    /// So many bytes and then silence.
    pub fn exactly(&self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.push(self.0.recv_timeout(PATIENCE).with_context(|| format!("only {bytes:?} came"))?);
        }
        bytes.extend(self.rest());
        Ok(bytes)
    }

    /// What comes until nothing comes any more.
    pub fn rest(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Ok(byte) = self.0.recv_timeout(SILENCE) {
            bytes.push(byte);
        }
        bytes
    }
}
