//! A keyboard of this machine itself, for tills whose program runs here: keys of the kernel's `uinput`.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use evdev::uinput::VirtualDevice;
use evdev::{AttributeSet, EventType, InputEvent, KeyCode};

use super::keys::{DigitKeys, KeyState, all_linux_keys, strokes};
use super::{OutputProfile, Register, Undelivered, left, pause};
use crate::lock;

/// What the keyboard is called in this machine's lists of devices.
pub const NAME: &str = "Selfsame Scanner";

/// What the desktop takes to notice a new keyboard. Keys before that are lost.
const SETTLE: Duration = Duration::from_millis(500);

/// Types on this machine. Needs write access to `/dev/uinput`.
pub struct VirtualKeyboard {
    profile: OutputProfile,
    digits: DigitKeys,
    /// Made once, so that the desktop knows it when a code comes. Locked while a code is typed.
    device: Mutex<Option<VirtualDevice>>,
}

impl VirtualKeyboard {
    /// A keyboard. If it cannot be made yet, that is tried again with each code.
    pub fn new(profile: OutputProfile, digits: DigitKeys) -> Self {
        Self { profile, digits, device: Mutex::new(make().ok()) }
    }

    /// What the keyboard is called in this machine's lists of devices.
    pub fn name() -> &'static str {
        NAME
    }
}

fn make() -> io::Result<VirtualDevice> {
    let keys: AttributeSet<KeyCode> = all_linux_keys().map(KeyCode::new).collect();
    VirtualDevice::builder()?.name(NAME).with_keys(&keys)?.build()
}

/// The keys that go up or down between two states, ups first.
fn changes(before: KeyState, after: KeyState) -> Vec<InputEvent> {
    let event = |key, value| InputEvent::new(EventType::KEY.0, key, value);
    let ups = before.linux_keys().filter(|key| !after.linux_keys().any(|down| down == *key));
    let downs = after.linux_keys().filter(|key| !before.linux_keys().any(|down| down == *key));
    ups.map(|key| event(key, 0)).chain(downs.map(|key| event(key, 1))).collect()
}

impl Register for VirtualKeyboard {
    fn deliver(&self, digits: &str, within: Duration) -> Result<(), Undelivered> {
        let give_up = Instant::now() + within;
        let text = self.profile.text(digits);
        let failed = |sent, source| Undelivered::after("keyboard `/dev/uinput`", sent, text.len(), source);
        let mut held = lock(&self.device);
        if held.is_none() {
            *held = Some(make().map_err(|source| failed(0, source))?);
            pause(SETTLE.min(within));
        }
        let device = held.as_mut().expect("it was just made");
        let (mut before, mut went_out) = (KeyState::RELEASED, 0);
        for (index, character) in text.bytes().enumerate() {
            for state in strokes(character, self.digits).iter() {
                let typed = left(give_up).and_then(|_| device.emit(&changes(before, *state)));
                if let Err(source) = typed {
                    let _ = device.emit(&changes(before, KeyState::RELEASED));
                    *held = None;
                    return Err(failed(went_out, source));
                }
                (before, went_out) = (*state, index + 1);
            }
            pause(self.profile.delay());
        }
        Ok(())
    }

    fn is_there(&self) -> bool {
        // Whoever has locked it types.
        self.device.try_lock().map_or(true, |device| device.is_some())
            || std::path::Path::new("/dev/uinput").exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_up_comes_before_what_goes_down() {
        let states = strokes(b'C', DigitKeys::Row);
        let codes =
            |events: Vec<InputEvent>| events.iter().map(|e| (e.code(), e.value())).collect::<Vec<_>>();
        assert_eq!(codes(changes(KeyState::RELEASED, states[0])), [(42, 1), (46, 1)]);
        assert_eq!(codes(changes(states[0], states[1])), [(42, 0), (46, 0)]);
        assert_eq!(codes(changes(states[0], states[0])), []);
    }
}
