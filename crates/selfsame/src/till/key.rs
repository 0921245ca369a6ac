//! From keys to characters. By their place on the keyboard the keys of a scanner mean the same under every layout; by the
//! characters that the operating system makes of them they do not, which is how naive tills read them.

use clap::ValueEnum;

/// How keys are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Decode {
    /// By their place on the keyboard.
    #[default]
    Keys,
    /// By the characters of the layout.
    Characters,
}

/// The layout that the till's operating system is set to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// United States.
    #[default]
    Us,
    /// French: digits need Shift.
    Fr,
    /// German.
    De,
}

impl Layout {
    /// The rows of the main block under this layout, without and with Shift, each from left to right. The first key of a
    /// row is the one right of the left edge: the key of `1`, of `Q`, of `A`, of `Z` on a US keyboard.
    fn rows(self) -> [(&'static str, &'static str); 4] {
        match self {
            Layout::Us => [
                ("1234567890-=", "!@#$%^&*()_+"),
                ("qwertyuiop[]", "QWERTYUIOP{}"),
                ("asdfghjkl;'", "ASDFGHJKL:\""),
                ("zxcvbnm,./", "ZXCVBNM<>?"),
            ],
            Layout::Fr => [
                ("&é\"'(-è_çà)=", "1234567890°+"),
                ("azertyuiop^$", "AZERTYUIOP¨£"),
                ("qsdfghjklmù", "QSDFGHJKLM%"),
                ("wxcvbn,;:!", "WXCVBN?./§"),
            ],
            Layout::De => [
                ("1234567890ß´", "!\"§$%&/()=?`"),
                ("qwertzuiopü+", "QWERTZUIOPÜ*"),
                ("asdfghjklöä", "ASDFGHJKLÖÄ"),
                ("yxcvbnm,.-", "YXCVBNM;:_"),
            ],
        }
    }
}

/// HID usages of the keys in [`Layout::rows`] (HID Usage Tables 1.5, keyboard page).
const USAGES: [&[u8]; 4] = [
    &[0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2d, 0x2e],
    &[0x14, 0x1a, 0x08, 0x15, 0x17, 0x1c, 0x18, 0x0c, 0x12, 0x13, 0x2f, 0x30],
    &[0x04, 0x16, 0x07, 0x09, 0x0a, 0x0b, 0x0d, 0x0e, 0x0f, 0x33, 0x34],
    &[0x1d, 0x1b, 0x06, 0x19, 0x05, 0x11, 0x10, 0x36, 0x37, 0x38],
];

/// Linux codes of the first keys of the rows; the others follow (`KEY_1`, `KEY_Q`, `KEY_A`, `KEY_Z`).
const LINUX_FIRST: [u16; 4] = [2, 16, 30, 44];

/// Linux codes of the keypad's digits 0 to 9 (`KEY_KP0` ...).
const LINUX_KEYPAD: [u16; 10] = [82, 79, 80, 81, 75, 76, 77, 71, 72, 73];

/// A key that writes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// One of the main block, by row and place.
    Main(usize, usize),
    /// A digit of the keypad.
    Keypad(u8),
    /// Enter, also that of the keypad.
    Enter,
    /// Tab.
    Tab,
    /// The space bar.
    Space,
}

impl Key {
    /// By its usage in a report of a USB keyboard.
    pub fn of_usage(usage: u8) -> Option<Self> {
        match usage {
            0x28 | 0x58 => return Some(Key::Enter),
            0x2b => return Some(Key::Tab),
            0x2c => return Some(Key::Space),
            0x59..=0x61 => return Some(Key::Keypad(usage - 0x58)),
            0x62 => return Some(Key::Keypad(0)),
            _ => {}
        }
        let in_row = |row: usize| USAGES[row].iter().position(|found| *found == usage);
        (0..USAGES.len()).find_map(|row| Some(Key::Main(row, in_row(row)?)))
    }

    /// By its code in an event of a Linux input device.
    pub fn of_linux(code: u16) -> Option<Self> {
        match code {
            28 | 96 => return Some(Key::Enter),
            15 => return Some(Key::Tab),
            57 => return Some(Key::Space),
            _ => {}
        }
        if let Some(digit) = LINUX_KEYPAD.iter().position(|found| *found == code) {
            return Some(Key::Keypad(u8::try_from(digit).expect("a digit")));
        }
        let in_row = |row: usize| {
            let place = usize::from(code.checked_sub(LINUX_FIRST[row])?);
            (place < USAGES[row].len()).then_some(Key::Main(row, place))
        };
        (0..USAGES.len()).find_map(in_row)
    }

    /// What it writes.
    pub fn character(self, shift: bool, decode: Decode, layout: Layout) -> Option<char> {
        let (row, place) = match self {
            Key::Enter => return Some('\r'),
            Key::Tab => return Some('\t'),
            Key::Space => return Some(' '),
            Key::Keypad(digit) => return Some(char::from(b'0' + digit)),
            Key::Main(row, place) => (row, place),
        };
        let (plain, shifted) = match decode {
            // The row above the letters is digits, whether a layout needs Shift for them or not.
            Decode::Keys if row == 0 && place < 10 => return Layout::Us.rows()[0].0.chars().nth(place),
            Decode::Keys => Layout::Us.rows()[row],
            Decode::Characters => layout.rows()[row],
        };
        (if shift { shifted } else { plain }).chars().nth(place)
    }
}

/// Reports of a USB boot keyboard, eight bytes each: bits of the modifiers, nothing, and the keys that are down.
#[derive(Default)]
pub struct Reports {
    down: [u8; 6],
}

/// Both Shift keys in a report's first byte.
const SHIFT: u8 = 0x22;

impl Reports {
    /// The keys that are down now and were not before, and whether Shift is.
    pub fn take(&mut self, report: [u8; 8]) -> Vec<(Key, bool)> {
        let [modifiers, _, down @ ..] = report;
        let before = std::mem::replace(&mut self.down, down);
        let pressed = down.into_iter().filter(|usage| *usage != 0 && !before.contains(usage));
        pressed.filter_map(Key::of_usage).map(|key| (key, modifiers & SHIFT != 0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_has_a_character_for_every_key() {
        for layout in [Layout::Us, Layout::Fr, Layout::De] {
            for ((plain, shifted), usages) in layout.rows().into_iter().zip(USAGES) {
                assert_eq!((plain.chars().count(), shifted.chars().count()), (usages.len(), usages.len()));
            }
        }
    }

    #[test]
    fn usages_and_linux_codes_name_the_same_keys() {
        // HID 0x1e is `1`, Linux 2; 0x27 `0`, 11; 0x30 `]`, 27; 0x06 `C`, 46; 0x14 `Q`, 16; keypad 0 0x62, 82.
        for (usage, code, character) in [
            (0x1e, 2, '1'),
            (0x27, 11, '0'),
            (0x30, 27, ']'),
            (0x06, 46, 'c'),
            (0x14, 16, 'q'),
            (0x62, 82, '0'),
        ] {
            let key = Key::of_usage(usage).unwrap();
            assert_eq!(Some(key), Key::of_linux(code));
            assert_eq!(key.character(false, Decode::Keys, Layout::Fr), Some(character));
        }
        assert_eq!((Key::of_usage(0x3a), Key::of_linux(59)), (None, None), "F1 writes nothing");
    }

    #[test]
    fn by_characters_a_french_till_reads_something_else() {
        let read = |usage, shift, layout| {
            Key::of_usage(usage).unwrap().character(shift, Decode::Characters, layout).unwrap()
        };
        let digits: String = (0x1e..=0x27).map(|usage| read(usage, false, Layout::Fr)).collect();
        assert_eq!(digits, "&é\"'(-è_çà");
        assert_eq!(read(0x1e, true, Layout::Fr), '1', "with Shift, as `row_shift` types it");
        assert_eq!(read(0x59, false, Layout::Fr), '1', "on the keypad");
        assert_eq!(read(0x30, false, Layout::De), '+', "the `]` of a symbology identifier");
    }

    #[test]
    fn a_key_counts_once_while_it_is_down_and_again_after_it_was_up() {
        let mut reports = Reports::default();
        let mut take = |usage| reports.take([0, 0, usage, 0, 0, 0, 0, 0]).len();
        assert_eq!([take(0x1e), take(0x1e), take(0), take(0x1e), take(0x1f)], [1, 0, 0, 1, 1]);
    }
}
