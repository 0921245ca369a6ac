//! Where a till hears a scanner: keys of an input device, reports of a USB keyboard, a serial line, a TCP connection.

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::till::key::{Decode, Key, Layout, Reports};
use crate::till::scan::{Heard, ScanRules, Scanner};

/// Characters that wait to be looked at: several scans.
const WAITING_MAX: usize = 1024;

/// Bytes of `struct input_event` on 64-bit Linux: two of eight for the time, type, code, value.
const EVENT_BYTES: usize = 24;

/// `EV_KEY`, and the codes of both Shift keys (`input-event-codes.h`).
const EVENT_KEY: u16 = 1;
const LINUX_SHIFT: [u16; 2] = [42, 54];

/// Where codes are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Lines of standard input; without timing, because lines have none.
    Stdin,
    /// A Linux input device: a keyboard, or a scanner that is one.
    Wedge(PathBuf),
    /// Reports of a USB boot keyboard, eight bytes each, as a terminal writes them to its gadget.
    Reports(PathBuf),
    /// A serial port.
    Serial(PathBuf),
    /// A TCP port where the terminal connects to.
    Tcp(SocketAddr),
}

impl FromStr for ReadFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = |path: &str| PathBuf::from(path);
        match text.split_once(':') {
            None if text == "stdin" => Ok(ReadFrom::Stdin),
            Some(("wedge", device)) => Ok(ReadFrom::Wedge(path(device))),
            Some(("reports", device)) => Ok(ReadFrom::Reports(path(device))),
            Some(("serial", device)) => Ok(ReadFrom::Serial(path(device))),
            Some(("tcp", address)) => {
                address.parse().map(ReadFrom::Tcp).map_err(|_| format!("`{address}` is no ADDRESS:PORT"))
            }
            _ => {
                Err("give stdin, wedge:/dev/input/eventN, reports:FILE, serial:/dev/ttyX or tcp:ADDRESS:PORT"
                    .to_owned())
            }
        }
    }
}

/// How keys are read.
#[derive(Clone, Copy, Debug)]
pub struct KeyReading {
    /// By place or by character.
    pub decode: Decode,
    /// The till's layout.
    pub layout: Layout,
}

/// What comes in, with the time.
type Stroke = (Instant, char);

/// A scanner that is listened to.
pub struct Source {
    strokes: Receiver<Stroke>,
    scanner: Scanner,
    started: Instant,
    rules: ScanRules,
    ended: bool,
}

impl Source {
    /// Opens a device, and begins to listen.
    pub fn open(from: &ReadFrom, reading: KeyReading, rules: ScanRules) -> anyhow::Result<Self> {
        let (strokes, received) = sync_channel(WAITING_MAX);
        let listen: Box<dyn FnOnce() + Send> = match from {
            ReadFrom::Stdin => Box::new(move || bytes(std::io::stdin(), &strokes)),
            ReadFrom::Wedge(path) => {
                let device = open(path)?;
                Box::new(move || events(device, reading, &strokes))
            }
            ReadFrom::Reports(path) => {
                let device = open(path)?;
                Box::new(move || reports(device, reading, &strokes))
            }
            ReadFrom::Serial(path) => {
                let device = open(path)?;
                as_it_comes(&device).with_context(|| format!("`{}` is no serial port", path.display()))?;
                Box::new(move || bytes(device, &strokes))
            }
            ReadFrom::Tcp(address) => {
                let listener = TcpListener::bind(address);
                let listener = listener.with_context(|| format!("failed to listen on {address}"))?;
                // One terminal a till; it connects anew for each code.
                Box::new(move || listener.incoming().flatten().for_each(|line| bytes(line, &strokes)))
            }
        };
        let thread = std::thread::Builder::new().name("scanner".to_owned()).spawn(listen);
        thread.context("failed to start the thread that listens to the scanner")?;
        let scanner = Scanner::new(rules.clone());
        Ok(Self { strokes: received, scanner, started: Instant::now(), rules, ended: false })
    }

    /// The next scan, or what was no scan; `None` when nothing more can come.
    pub fn next(&mut self) -> Option<Heard> {
        while !self.ended {
            // A little more than the longest pause, so that the pause is over then.
            let quiet = self.rules.key_gap_max + Duration::from_millis(5);
            let heard = match self.strokes.recv_timeout(quiet) {
                Ok((at, character)) => self.scanner.push(at.duration_since(self.started), character),
                Err(RecvTimeoutError::Timeout) => self.scanner.idle(self.started.elapsed()),
                Err(RecvTimeoutError::Disconnected) => {
                    self.ended = true;
                    self.scanner.idle(self.started.elapsed() + 2 * quiet)
                }
            };
            if heard.is_some() {
                return heard;
            }
        }
        None
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("failed to open `{}`", path.display()))
}

/// A serial line gives bytes as they come, and no line of text. Its speed is left as it is set.
fn as_it_comes(device: &File) -> rustix::io::Result<()> {
    let mut settings = tcgetattr(device)?;
    settings.make_raw();
    tcsetattr(device, OptionalActions::Now, &settings)
}

/// Sends each byte as a character until there are no more, or nobody listens.
fn bytes(mut device: impl Read, strokes: &SyncSender<Stroke>) {
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) = device.read(&mut buffer) {
        let at = Instant::now();
        for byte in &mut buffer[..count] {
            if strokes.send((at, char::from(std::mem::take(byte)))).is_err() {
                return;
            }
        }
    }
}

fn events(mut device: File, reading: KeyReading, strokes: &SyncSender<Stroke>) {
    let mut shift = false;
    let mut event = [0; EVENT_BYTES];
    while device.read_exact(&mut event).is_ok() {
        let number = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
        let (kind, code, is_down) = (number(16), number(18), event[20..24] != [0; 4]);
        if kind != EVENT_KEY {
            continue;
        }
        if LINUX_SHIFT.contains(&code) {
            shift = is_down;
            continue;
        }
        let is_press = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]) == 1;
        let key = Key::of_linux(code).filter(|_| is_press);
        let character = key.and_then(|key| key.character(shift, reading.decode, reading.layout));
        if character.is_some_and(|character| strokes.send((Instant::now(), character)).is_err()) {
            return;
        }
    }
}

fn reports(mut device: File, reading: KeyReading, strokes: &SyncSender<Stroke>) {
    let mut pressed = Reports::default();
    let mut report = [0; 8];
    while device.read_exact(&mut report).is_ok() {
        for (key, shift) in pressed.take(report) {
            let character = key.character(shift, reading.decode, reading.layout);
            if character.is_some_and(|character| strokes.send((Instant::now(), character)).is_err()) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: KeyReading = KeyReading { decode: Decode::Keys, layout: Layout::Us };

    fn read(from: &ReadFrom) -> Vec<String> {
        let mut source = Source::open(from, READING, ScanRules::default()).unwrap();
        let mut all = Vec::new();
        while let Some(heard) = source.next() {
            all.push(heard.text.map_or_else(|why| format!("{why:?}"), |text| text.to_string()));
        }
        all
    }

    #[test]
    fn places_are_named_as_they_are_typed() {
        assert_eq!("stdin".parse(), Ok(ReadFrom::Stdin));
        assert_eq!("wedge:/dev/input/event3".parse(), Ok(ReadFrom::Wedge("/dev/input/event3".into())));
        assert_eq!("serial:/dev/ttyUSB0".parse(), Ok(ReadFrom::Serial("/dev/ttyUSB0".into())));
        assert!("tcp:9100".parse::<ReadFrom>().is_err() && "usb".parse::<ReadFrom>().is_err());
    }

    #[test]
    fn events_of_an_input_device_are_keys() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let event = |kind: u16, code: u16, value: i32| {
            let mut event = vec![0; 16];
            event.extend(kind.to_ne_bytes());
            event.extend(code.to_ne_bytes());
            event.extend(value.to_ne_bytes());
            event
        };
        // 9, 8, 8 (held so long that it repeats), 0 with Shift, Enter; each followed by a report of its own.
        let keys = [
            (10, 1),
            (10, 0),
            (9, 1),
            (9, 0),
            (9, 1),
            (9, 2),
            (9, 0),
            (42, 1),
            (11, 1),
            (11, 0),
            (42, 0),
            (28, 1),
        ];
        let bytes: Vec<u8> = keys
            .iter()
            .flat_map(|(code, value)| [event(1, *code, *value), event(0, 0, 0)].concat())
            .collect();
        std::fs::write(file.path(), bytes).unwrap();
        assert_eq!(read(&ReadFrom::Wedge(file.path().to_owned())), ["9880"]);
    }

    #[test]
    fn reports_of_a_keyboard_are_keys() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let usages = [0x26, 0, 0x25, 0, 0x25, 0, 0x62, 0, 0x28, 0];
        let bytes: Vec<u8> = usages.iter().flat_map(|usage| [0, 0, *usage, 0, 0, 0, 0, 0]).collect();
        std::fs::write(file.path(), bytes).unwrap();
        assert_eq!(read(&ReadFrom::Reports(file.path().to_owned())), ["9880"]);
    }
}
