//! How codes look to the till: what scanners call prefix, suffix, inter-character delay and keyboard country.

use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::keys::{DigitKeys, can_type, strokes};
use super::{CODE_CHARACTERS, HANDOVER_DEADLINE, UnusableSetting};

/// Pause between two characters of a keyboard, in milliseconds. Faster loses characters on slow tills, slower than 100 ms
/// is taken for a person's typing by tills that tell the two apart.
const KEY_DELAY_MS: std::ops::RangeInclusive<u16> = 2..=60;

/// Pause between two characters of a serial line, in milliseconds. The line itself has a speed.
const LINE_DELAY_MS: std::ops::RangeInclusive<u16> = 0..=60;

/// Longest prefix in characters. An AIM symbology identifier has 3.
const PREFIX_CHARACTERS_MAX: usize = 8;

/// Time that one report of a keyboard may take: full-speed USB asks every 10 ms at worst.
const REPORT: Duration = Duration::from_millis(10);

/// What comes after the code. Without any, tills wait until nothing more comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suffix {
    /// Nothing.
    None,
    /// Carriage return; on a keyboard the Enter key.
    #[default]
    Cr,
    /// Line feed; not on a keyboard, where no key types it.
    Lf,
    /// Both; not on a keyboard, where the second would be another key press.
    Crlf,
    /// Tabulator.
    Tab,
}

impl Suffix {
    fn text(self) -> &'static str {
        match self {
            Suffix::None => "",
            Suffix::Cr => "\r",
            Suffix::Lf => "\n",
            Suffix::Crlf => "\r\n",
            Suffix::Tab => "\t",
        }
    }
}

/// How a code is written.
#[derive(Clone, Debug)]
pub struct OutputProfile {
    prefix: String,
    suffix: Suffix,
    delay: Duration,
}

impl OutputProfile {
    /// For a keyboard. Refuses what cannot be typed, or not within the time of a hand-over.
    pub fn keyboard(
        prefix: &str,
        suffix: Suffix,
        delay_ms: u16,
        digits: DigitKeys,
    ) -> Result<Self, UnusableSetting> {
        let profile = Self::checked(prefix, suffix, delay_ms, KEY_DELAY_MS)?;
        if matches!(suffix, Suffix::Lf | Suffix::Crlf) {
            return Err(UnusableSetting(
                "a keyboard has no key for a line feed: `suffix` must be none, cr or tab".to_owned(),
            ));
        }
        let (characters, reports) = profile.longest(digits);
        let whole = profile.delay * characters + REPORT * reports;
        if whole > HANDOVER_DEADLINE {
            return Err(UnusableSetting(format!(
                "with `delay_ms = {delay_ms}`, this `prefix` and these `digits` typing takes up to {} ms; a hand-over \
                 may take {} ms",
                whole.as_millis(),
                HANDOVER_DEADLINE.as_millis()
            )));
        }
        Ok(profile)
    }

    /// For a line of bytes.
    pub fn line(prefix: &str, suffix: Suffix, delay_ms: u16) -> Result<Self, UnusableSetting> {
        Self::checked(prefix, suffix, delay_ms, LINE_DELAY_MS)
    }

    fn checked(
        prefix: &str,
        suffix: Suffix,
        delay_ms: u16,
        delays: std::ops::RangeInclusive<u16>,
    ) -> Result<Self, UnusableSetting> {
        if !delays.contains(&delay_ms) {
            return Err(UnusableSetting(format!("`delay_ms` must be within {delays:?}")));
        }
        if prefix.len() > PREFIX_CHARACTERS_MAX || !prefix.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(UnusableSetting(format!(
                "`prefix` must be at most {PREFIX_CHARACTERS_MAX} characters of printable ASCII"
            )));
        }
        let delay = Duration::from_millis(delay_ms.into());
        Ok(Self { prefix: prefix.to_owned(), suffix, delay })
    }

    /// Characters of a whole code, and reports of a keyboard for the most laborious one.
    fn longest(&self, digits: DigitKeys) -> (u32, u32) {
        let written = self.text(&"9".repeat(CODE_CHARACTERS));
        let reports: usize = written.bytes().map(|character| strokes(character, digits).len()).sum();
        let count = |length| u32::try_from(length).expect("a few hundred");
        (count(written.len()), count(reports))
    }

    /// The code as it is written.
    pub(super) fn text(&self, digits: &str) -> Zeroizing<String> {
        let capacity = self.prefix.len() + digits.len() + self.suffix.text().len();
        // Room for all of it at once, so that no half of it stays behind in memory.
        let mut text = Zeroizing::new(String::with_capacity(capacity));
        text.push_str(&self.prefix);
        text.push_str(digits);
        text.push_str(self.suffix.text());
        debug_assert!(text.bytes().all(|byte| can_type(byte) || byte == b'\n'));
        text
    }

    /// Pause after each character.
    pub(super) fn delay(&self) -> Duration {
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stands_between_prefix_and_suffix() {
        let code = "980123456789012345";
        let written = |prefix, suffix| OutputProfile::line(prefix, suffix, 0).unwrap().text(code).to_string();
        assert_eq!(written("", Suffix::None), code);
        assert_eq!(written("]C0", Suffix::Cr), format!("]C0{code}\r"));
        assert_eq!(written("]Q1", Suffix::Crlf), format!("]Q1{code}\r\n"));
        assert_eq!(written("~", Suffix::Lf), format!("~{code}\n"));
        assert_eq!(written("", Suffix::Tab), format!("{code}\t"));
    }

    #[test]
    fn what_cannot_be_typed_in_time_is_refused_by_name() {
        let refused = |prefix: &str, suffix, delay_ms, digits| {
            OutputProfile::keyboard(prefix, suffix, delay_ms, digits).err().map(|error| error.0)
        };
        for delay_ms in [2, 8, 60] {
            for digits in [DigitKeys::Row, DigitKeys::Keypad, DigitKeys::RowShift] {
                assert_eq!(refused("]C0", Suffix::Cr, delay_ms, digits), None);
            }
        }
        assert_eq!(refused("]C0", Suffix::Tab, 8, DigitKeys::AltDecimal), None);
        let slow = refused("", Suffix::Cr, 60, DigitKeys::AltDecimal).unwrap();
        assert!(slow.contains("typing takes up to 2"), "{slow}");
        for (delay_ms, word) in [(1, "delay_ms"), (61, "delay_ms")] {
            assert!(refused("", Suffix::Cr, delay_ms, DigitKeys::Row).unwrap().contains(word));
        }
        for suffix in [Suffix::Lf, Suffix::Crlf] {
            assert!(refused("", suffix, 8, DigitKeys::Row).unwrap().contains("suffix"));
        }
        for prefix in ["123456789", "€", "a\r"] {
            assert!(refused(prefix, Suffix::Cr, 8, DigitKeys::Row).unwrap().contains("prefix"), "{prefix}");
        }
    }
}
