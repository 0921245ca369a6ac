//! A USB keyboard that this machine is to the till: reports of eight bytes into the file of a HID gadget, `/dev/hidg0`.
//! For a till it is a scanner like any other.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::keys::{DigitKeys, KeyState, strokes};
use super::{OutputProfile, Register, STALL_MAX, Undelivered, left, pause};
use crate::lock;

/// The NumLock bit of the report by which a till switches a keyboard's lights.
const NUM_LOCK: u8 = 1;

/// Types into the file of a HID gadget. The file is opened for each code, because after a re-plug it is another one.
pub struct GadgetKeyboard {
    device: PathBuf,
    profile: OutputProfile,
    digits: DigitKeys,
    /// The lights as the till set them last, once it did. Locked while a code is typed.
    lights: Mutex<Option<u8>>,
}

impl GadgetKeyboard {
    /// A keyboard whose reports go into a file; nothing is opened yet.
    pub fn new(device: &Path, profile: OutputProfile, digits: DigitKeys) -> Self {
        Self { device: device.to_owned(), profile, digits, lights: Mutex::new(None) }
    }

    fn way(&self) -> String {
        format!("keyboard `{}`", self.device.display())
    }

    /// Reads what the till did to the lights since. Only a device says anything; a file would give back our own reports.
    fn look_at_lights(&self, lights: &mut Option<u8>) {
        if !std::fs::metadata(&self.device).is_ok_and(|found| found.file_type().is_char_device()) {
            return;
        }
        let Ok(mut device) = options().read(true).open(&self.device) else { return };
        let mut reports = [0; 8];
        while let Ok(count @ 1..) = device.read(&mut reports) {
            *lights = Some(reports[count - 1]);
        }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(i32::try_from(flags.bits()).expect("open flags fit"));
    options
}

impl Register for GadgetKeyboard {
    fn deliver(&self, digits: &str, within: Duration) -> Result<(), Undelivered> {
        let give_up = Instant::now() + within;
        let mut lights = lock(&self.lights);
        let text = self.profile.text(digits);
        let failed = |sent, source| Undelivered::after(&self.way(), sent, text.len(), source);
        let device = options().write(true).open(&self.device).map_err(|source| failed(0, source))?;
        if self.digits == DigitKeys::Keypad {
            self.look_at_lights(&mut lights);
            if lights.is_some_and(|lights| lights & NUM_LOCK == 0) {
                return Err(Undelivered::NumLockOff);
            }
        }
        let mut went_out = 0;
        for (index, character) in text.bytes().enumerate() {
            for state in strokes(character, self.digits).iter() {
                if let Err(source) = report(&device, *state, give_up) {
                    // A key that stays down would repeat itself until somebody pulls the cable.
                    let _ = (&device).write(KeyState::RELEASED.report().as_slice());
                    // Half a report is none to the till, as far as we know.
                    let half = source.kind() == io::ErrorKind::WriteZero;
                    return Err(failed(if half { index + 1 } else { went_out }, source));
                }
                went_out = index + 1;
            }
            pause(self.profile.delay());
        }
        Ok(())
    }

    fn is_there(&self) -> bool {
        // Read whenever somebody looks: what nobody reads for long is lost. Whoever has locked it types.
        if let Ok(mut lights) = self.lights.try_lock() {
            self.look_at_lights(&mut lights);
        }
        self.device.exists()
    }
}

/// Writes one report as soon as the device takes it.
fn report(mut device: &File, state: KeyState, give_up: Instant) -> io::Result<()> {
    let report = state.report();
    let stalled = Instant::now() + STALL_MAX;
    loop {
        match device.write(report.as_slice()) {
            Ok(count) if count == report.len() => return Ok(()),
            Ok(_) => return Err(io::Error::new(io::ErrorKind::WriteZero, "the device took half a report")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_until_writable(device, left(give_up.min(stalled)).map_err(|_| unread())?)?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn unread() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the till does not read: is it on, and the cable in?")
}

fn wait_until_writable(device: &File, longest: Duration) -> io::Result<()> {
    let longest = Timespec::try_from(longest).expect("at most a second");
    let mut waiting = [PollFd::new(device, PollFlags::OUT)];
    match poll(&mut waiting, Some(&longest)) {
        Ok(0) => Err(unread()),
        // Whatever is wrong with it, the next write says so.
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
