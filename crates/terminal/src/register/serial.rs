//! A serial line: a port of this machine, a USB adapter, or a gadget's `/dev/ttyGS0`. The port is kept open, so that a
//! till's trigger byte is heard, and opened again after its cable was out.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serialport::{ClearBuffer, DataBits, Parity, SerialPort, StopBits, TTYPort};

use super::settings::{LineParity, SerialSettings};
use super::{OpenError, OutputProfile, Register, STALL_MAX, Undelivered, UnusableSetting, left, pause};
use crate::lock;

/// Slowest and fastest line, in bits per second.
const BAUD: std::ops::RangeInclusive<u32> = 300..=921_600;

/// Pause before a port that is away is looked for again.
const REOPEN: Duration = Duration::from_millis(500);

/// How long one wait for a byte takes before the line looks whether it is to end.
const LISTEN: Duration = Duration::from_millis(250);

/// Pause between two looks at what the port has not sent yet.
const DRAIN: Duration = Duration::from_millis(2);

/// Called when the till or a button asks for the code.
pub type Trigger = Arc<dyn Fn() + Send + Sync>;

/// How a port is set.
#[derive(Clone, Copy, Debug)]
struct LineParameters {
    baud: u32,
    data_bits: DataBits,
    parity: Parity,
    stop_bits: StopBits,
}

impl LineParameters {
    fn new(settings: &SerialSettings) -> Result<Self, UnusableSetting> {
        let SerialSettings { baud, data_bits, parity, stop_bits, .. } = *settings;
        let wrong = |text: &str| Err(UnusableSetting(text.to_owned()));
        if !BAUD.contains(&baud) {
            return wrong(&format!("`baud` must be within {BAUD:?}"));
        }
        let data_bits = match data_bits {
            7 => DataBits::Seven,
            8 => DataBits::Eight,
            _ => return wrong("`data_bits` must be 7 or 8"),
        };
        let stop_bits = match stop_bits {
            1 => StopBits::One,
            2 => StopBits::Two,
            _ => return wrong("`stop_bits` must be 1 or 2"),
        };
        let parity = match parity {
            LineParity::None => Parity::None,
            LineParity::Even => Parity::Even,
            LineParity::Odd => Parity::Odd,
        };
        Ok(Self { baud, data_bits, parity, stop_bits })
    }
}

/// Writes codes to a serial port, and hears its trigger byte.
pub struct SerialLine(Arc<Line>);

struct Line {
    device: PathBuf,
    parameters: LineParameters,
    profile: OutputProfile,
    trigger: Option<(u8, Trigger)>,
    /// Open, or away. Locked while a code is written.
    port: Mutex<Option<TTYPort>>,
    ended: (Mutex<bool>, Condvar),
}

impl SerialLine {
    /// Opens the port, or begins to look for it, and listens for the trigger byte.
    pub fn open(settings: &SerialSettings, trigger: Trigger) -> Result<Self, OpenError> {
        let section = "serial";
        let wrong = |source| OpenError::Setting { section, source };
        let SerialSettings { device, prefix, suffix, delay_ms, trigger_byte, .. } = settings;
        let profile = OutputProfile::line(prefix, *suffix, *delay_ms).map_err(wrong)?;
        let parameters = LineParameters::new(settings).map_err(wrong)?;
        let trigger = trigger_byte.map(|byte| (byte, trigger));
        let device = device.clone();
        let ended = (Mutex::new(false), Condvar::new());
        let line = Arc::new(Line { device, parameters, profile, trigger, port: Mutex::new(None), ended });
        if let Err(error) = line.reader() {
            tracing::warn!(device = %line.device.display(), %error, "the serial port to the register is not there");
        }
        let listening = line.clone();
        let thread = std::thread::Builder::new().name("serial-line".to_owned());
        let listening = thread.spawn(move || listening.listen());
        listening.map_err(|source| OpenError::Start { section, source })?;
        Ok(Self(line))
    }
}

impl Drop for SerialLine {
    fn drop(&mut self) {
        *lock(&self.0.ended.0) = true;
        self.0.ended.1.notify_all();
    }
}

impl Line {
    fn way(&self) -> String {
        format!("serial port `{}`", self.device.display())
    }

    /// Opens the port, for us alone.
    fn open(&self) -> io::Result<TTYPort> {
        let LineParameters { baud, data_bits, parity, stop_bits } = self.parameters;
        let settings = serialport::new(self.device.to_string_lossy(), baud)
            .data_bits(data_bits)
            .parity(parity)
            .stop_bits(stop_bits)
            .timeout(LISTEN);
        let mut port = TTYPort::open(&settings)?;
        // Tills look at these lines to know that a device is there. Not every port has them, and then nobody looks.
        for raised in [port.write_data_terminal_ready(true), port.write_request_to_send(true)] {
            if let Err(error) = raised {
                tracing::debug!(device = %self.device.display(), %error, "this port has no modem lines");
            }
        }
        Ok(port)
    }

    /// Another handle of the port for the one who listens; opens it if it is away.
    fn reader(&self) -> io::Result<TTYPort> {
        let mut port = lock(&self.port);
        if port.is_none() {
            *port = Some(self.open()?);
            tracing::info!(device = %self.device.display(), "the serial port to the register is open");
        }
        Ok(port.as_ref().expect("it is open").try_clone_native()?)
    }

    fn has_ended(&self) -> bool {
        *lock(&self.ended.0)
    }

    /// Waits before the next look for a port that is away.
    fn rest(&self) {
        let waiting = self.ended.1.wait_timeout_while(lock(&self.ended.0), REOPEN, |ended| !*ended);
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }

    fn listen(&self) {
        let mut reader: Option<TTYPort> = None;
        while !self.has_ended() {
            // Whoever writes has given the port up. As long as we hold our end of it nobody can open it again.
            if reader.is_some() && lock(&self.port).is_none() {
                reader = None;
            }
            let Some(port) = reader.as_mut() else {
                match self.reader() {
                    Ok(port) => reader = Some(port),
                    Err(_) => self.rest(),
                }
                continue;
            };
            let mut bytes = [0; 16];
            match port.read(&mut bytes) {
                Ok(count @ 1..) => {
                    let asked = self.trigger.as_ref().filter(|(byte, _)| bytes[..count].contains(byte));
                    if let Some((_, trigger)) = asked {
                        trigger();
                    }
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {}
                Ok(_) | Err(_) => {
                    tracing::warn!(device = %self.device.display(), "the serial port to the register has gone");
                    reader = None;
                    // Whoever writes may have opened it again by now; then it is opened once more.
                    lock(&self.port).take().inspect(discard);
                }
            }
        }
        lock(&self.port).take().inspect(discard);
    }

    /// Writes character by character, so that it is known how far it got, and waits until the port has sent them.
    fn write(&self, port: &mut TTYPort, text: &str, give_up: Instant) -> Result<(), (usize, io::Error)> {
        for (index, byte) in text.bytes().enumerate() {
            let written = left(give_up).and_then(|left| {
                port.set_timeout(left.min(STALL_MAX))?;
                port.write_all(&[byte])
            });
            written.map_err(|error| (index, error))?;
            pause(self.profile.delay());
        }
        let unsent = |port: &TTYPort| port.bytes_to_write().map_err(io::Error::from);
        let whole = |error| (text.len(), error);
        while unsent(port).map_err(whole)? > 0 {
            left(give_up).map_err(whole)?;
            pause(DRAIN);
        }
        Ok(())
    }
}

/// Throws away what a port has not sent yet: digits must not come out when the cable is back, and closing must not wait.
fn discard(port: &TTYPort) {
    let _ = port.clear(ClearBuffer::Output);
}

impl Register for SerialLine {
    fn deliver(&self, digits: &str, within: Duration) -> Result<(), Undelivered> {
        let give_up = Instant::now() + within;
        let line = &self.0;
        let text = line.profile.text(digits);
        let failed = |sent, source| Undelivered::after(&line.way(), sent, text.len(), source);
        let mut held = lock(&line.port);
        let mut port = match held.take() {
            Some(port) => port,
            None => line.open().map_err(|source| failed(0, source))?,
        };
        match line.write(&mut port, &text, give_up) {
            Ok(()) => {
                *held = Some(port);
                Ok(())
            }
            Err((sent, source)) => {
                discard(&port);
                Err(failed(sent, source))
            }
        }
    }

    fn is_there(&self) -> bool {
        // Whoever holds it writes to it.
        self.0.port.try_lock().map_or(true, |port| port.is_some())
    }
}
