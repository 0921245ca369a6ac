//! Characters as key presses: what a USB boot keyboard reports (HID Usage Tables, page 0x07), and what Linux calls the
//! same keys.

use zeroize::{Zeroize, Zeroizing};

/// Modifier bits of a boot keyboard's report.
const LEFT_SHIFT: u8 = 1 << 1;
const LEFT_ALT: u8 = 1 << 2;

const ENTER: u8 = 0x28;
const TAB: u8 = 0x2b;

/// Keys of the main block with what they type without and with Shift on a US keyboard, from usage 0x04 on.
const US_LAYOUT: &[u8; 106] =
    b"aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUvVwWxXyYzZ1!2@3#4$5%6^7&8*9(0)\r\r\x1b\x1b\x08\x08\t\t  -_=+[{]}\\|\0\0;:'\"`~,<.>/?";

/// Linux key codes of the same keys, from usage 0x04 on (`drivers/hid/hid-input.c` and `input-event-codes.h`).
const LINUX_MAIN: &[u16; 53] = &[
    30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44,
    2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 28, 1, 14, 15, 57, 12, 13, 26, 27, 43, 43, 39, 40, 41, 51, 52, 53,
];

/// Linux key codes of the keypad's digits 1 to 9 and 0, from usage 0x59 on.
const LINUX_KEYPAD: &[u16; 10] = &[79, 80, 81, 75, 76, 77, 71, 72, 73, 82];

const FIRST_MAIN: u8 = 0x04;
const KEYPAD_1: u8 = 0x59;
const KEYPAD_0: u8 = 0x62;

/// Linux key codes of the modifiers that are used here.
const LINUX_LEFT_SHIFT: u16 = 42;
const LINUX_LEFT_ALT: u16 = 56;

/// Which keys digits are typed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigitKeys {
    /// The row above the letters. Right where digits need no Shift: US, UK, German, Chinese, Japanese and most others.
    #[default]
    Row,
    /// The keypad. Right on every layout, while NumLock is on.
    Keypad,
    /// The row with Shift: for layouts whose digits need it, as the French ones.
    RowShift,
    /// Alt with the character's number on the keypad: right on every layout of Windows, and nowhere else.
    AltDecimal,
}

/// Which keys are down, as a boot keyboard reports it. One ordinary key at most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyState {
    modifiers: u8,
    usage: u8,
}

impl KeyState {
    /// No key is down.
    pub(super) const RELEASED: KeyState = KeyState { modifiers: 0, usage: 0 };

    /// The report of eight bytes (HID 1.11, appendix B.1).
    pub(super) fn report(self) -> Zeroizing<[u8; 8]> {
        Zeroizing::new([self.modifiers, 0, self.usage, 0, 0, 0, 0, 0])
    }

    /// Linux codes of the keys that are down, modifiers first.
    pub(super) fn linux_keys(self) -> impl Iterator<Item = u16> {
        let modifiers = [(LEFT_SHIFT, LINUX_LEFT_SHIFT), (LEFT_ALT, LINUX_LEFT_ALT)];
        let down = modifiers.into_iter().filter(move |(bit, _)| self.modifiers & bit != 0);
        down.map(|(_, key)| key).chain(linux_key(self.usage))
    }
}

impl Zeroize for KeyState {
    fn zeroize(&mut self) {
        self.modifiers.zeroize();
        self.usage.zeroize();
    }
}

fn linux_key(usage: u8) -> Option<u16> {
    let main = usage.checked_sub(FIRST_MAIN).and_then(|index| LINUX_MAIN.get(usize::from(index)));
    let keypad = || usage.checked_sub(KEYPAD_1).and_then(|index| LINUX_KEYPAD.get(usize::from(index)));
    main.or_else(keypad).copied()
}

/// Linux codes of all keys that can be pressed.
pub(super) fn all_linux_keys() -> impl Iterator<Item = u16> {
    let modifiers = [LINUX_LEFT_SHIFT, LINUX_LEFT_ALT];
    LINUX_MAIN.iter().chain(LINUX_KEYPAD).copied().chain(modifiers)
}

fn keypad(digit: u8) -> u8 {
    if digit == b'0' { KEYPAD_0 } else { KEYPAD_1 + (digit - b'1') }
}

/// Where a character is on a US keyboard.
fn us_key(character: u8) -> Option<KeyState> {
    let at = US_LAYOUT.iter().position(|typed| *typed == character && character != 0)?;
    let usage = FIRST_MAIN + u8::try_from(at / 2).ok()?;
    Some(KeyState { modifiers: if at % 2 == 1 { LEFT_SHIFT } else { 0 }, usage })
}

/// Whether a character can be typed: printable ASCII, Enter and Tab.
pub(super) fn can_type(character: u8) -> bool {
    matches!(character, b' '..=b'~' | b'\r' | b'\t')
}

/// What the keyboard reports to type one character. Ends with no key down, so that the same digit twice is two digits.
pub(super) fn strokes(character: u8, digits: DigitKeys) -> Zeroizing<Vec<KeyState>> {
    assert!(can_type(character), "what is typed was checked when the settings were read");
    let key = |modifiers, usage| KeyState { modifiers, usage };
    let pressed = match (character, digits) {
        (b'\r', _) => key(0, ENTER),
        (b'\t', _) => key(0, TAB),
        (_, DigitKeys::AltDecimal) => return alt_decimal(character),
        (b'0'..=b'9', DigitKeys::Keypad) => key(0, keypad(character)),
        (b'0'..=b'9', DigitKeys::RowShift) => {
            KeyState { modifiers: LEFT_SHIFT, ..us_key(character).expect("a digit is on the keyboard") }
        }
        _ => us_key(character).expect("printable ASCII is on a US keyboard"),
    };
    Zeroizing::new(vec![pressed, KeyState::RELEASED])
}

/// Alt goes down, the keypad types the character's decimal number, Alt comes up: then Windows types the character.
fn alt_decimal(character: u8) -> Zeroizing<Vec<KeyState>> {
    let alt = |usage| KeyState { modifiers: LEFT_ALT, usage };
    let mut states = Zeroizing::new(vec![alt(0)]);
    let place = |divisor: u8| b'0' + character / divisor % 10;
    let number = [place(100), place(10), place(1)];
    for digit in number.iter().skip_while(|digit| **digit == b'0') {
        states.extend([alt(keypad(*digit)), alt(0)]);
    }
    states.push(KeyState::RELEASED);
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(character: u8, digits: DigitKeys) -> Vec<[u8; 3]> {
        strokes(character, digits).iter().map(|state| state.report()).map(|r| [r[0], r[1], r[2]]).collect()
    }

    #[test]
    fn digits_and_letters_have_the_usages_of_the_standard() {
        // HID Usage Tables 1.5, page 0x07: 1 is 0x1E, 0 is 0x27, A is 0x04, Z is 0x1D, `]` is 0x30, `/` is 0x38.
        for (character, expected) in [(b'1', 0x1e), (b'9', 0x26), (b'0', 0x27), (b'a', 0x04), (b'z', 0x1d)] {
            assert_eq!(reports(character, DigitKeys::Row), [[0, 0, expected], [0, 0, 0]]);
        }
        assert_eq!(reports(b']', DigitKeys::Row)[0], [0, 0, 0x30]);
        assert_eq!(reports(b'/', DigitKeys::Row)[0], [0, 0, 0x38]);
        assert_eq!(reports(b'C', DigitKeys::Keypad)[0], [LEFT_SHIFT, 0, 0x06]);
        assert_eq!(reports(b'?', DigitKeys::Row)[0], [LEFT_SHIFT, 0, 0x38]);
        assert_eq!(reports(b'7', DigitKeys::RowShift), [[LEFT_SHIFT, 0, 0x24], [0, 0, 0]]);
        assert_eq!(reports(b'0', DigitKeys::Keypad), [[0, 0, 0x62], [0, 0, 0]]);
        assert_eq!(reports(b'9', DigitKeys::Keypad), [[0, 0, 0x61], [0, 0, 0]]);
        for digits in [DigitKeys::Row, DigitKeys::Keypad, DigitKeys::RowShift, DigitKeys::AltDecimal] {
            assert_eq!(reports(b'\r', digits), [[0, 0, 0x28], [0, 0, 0]]);
            assert_eq!(reports(b'\t', digits), [[0, 0, 0x2b], [0, 0, 0]]);
        }
    }

    #[test]
    fn alt_holds_while_the_number_of_the_character_is_typed() {
        // `1` is 49: Alt, 4, 9.
        let expected = [
            [LEFT_ALT, 0, 0],
            [LEFT_ALT, 0, 0x5c],
            [LEFT_ALT, 0, 0],
            [LEFT_ALT, 0, 0x61],
            [LEFT_ALT, 0, 0],
            [0, 0, 0],
        ];
        assert_eq!(reports(b'1', DigitKeys::AltDecimal), expected);
        // `}` is 125, with three digits.
        assert_eq!(reports(b'}', DigitKeys::AltDecimal).len(), 8);
    }

    #[test]
    fn every_character_that_can_be_typed_presses_keys_that_linux_knows_and_lets_all_go() {
        for character in (0..=255).filter(|character| can_type(*character)) {
            for digits in [DigitKeys::Row, DigitKeys::Keypad, DigitKeys::RowShift, DigitKeys::AltDecimal] {
                let states = strokes(character, digits);
                assert!(states.last() == Some(&KeyState::RELEASED));
                for state in states.iter() {
                    let pressed = usize::from(state.usage != 0) + state.modifiers.count_ones() as usize;
                    assert_eq!(state.linux_keys().count(), pressed, "{character}");
                    assert!(state.linux_keys().all(|key| all_linux_keys().any(|known| known == key)));
                }
            }
        }
        // evdev's names: KEY_1 2, KEY_0 11, KEY_A 30, KEY_KP1 79, KEY_KP0 82.
        let first = |character, digits| strokes(character, digits)[0].linux_keys().next();
        assert_eq!(first(b'1', DigitKeys::Row), Some(2));
        assert_eq!(first(b'0', DigitKeys::Row), Some(11));
        assert_eq!(first(b'a', DigitKeys::Row), Some(30));
        assert_eq!(first(b']', DigitKeys::Row), Some(27));
        assert_eq!(first(b'1', DigitKeys::Keypad), Some(79));
        assert_eq!(first(b'0', DigitKeys::Keypad), Some(82));
    }
}
