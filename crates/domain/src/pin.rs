//! A payer's PIN: its form, and how often it may be wrong. Hashing is the server's work, on threads of its own.

use std::fmt;

use zeroize::Zeroizing;

use crate::text::text_enum;

/// Digits of a PIN.
pub const PIN_DIGITS: std::ops::RangeInclusive<usize> = 4..=12;

/// Wrong tries in a row, over all terminals, after which the PIN is locked. Source: practice of payment cards.
pub const PIN_TRIES: u32 = 3;

/// A PIN as typed. Wiped after use, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(Zeroizing<String>);

/// Why text is no PIN that may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Not 4 to 12 digits.
    #[error("a PIN has 4 to 12 digits")]
    Form,
    /// One digit over and over, or digits in a row: the first that anybody tries.
    #[error("this PIN is too easy to guess")]
    Weak,
}

impl Pin {
    /// Reads a PIN as typed, of whatever strength.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let fits = PIN_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(PinError::Form) }
    }

    /// Reads a PIN that is to be set.
    pub fn parse_new(text: &str) -> Result<Self, PinError> {
        let pin = Self::parse(text)?;
        let steps: Vec<i8> = pin.0.as_bytes().windows(2).map(|pair| pair[1] as i8 - pair[0] as i8).collect();
        let weak = [-1, 0, 1].iter().any(|step| steps.iter().all(|found| found == step));
        if weak { Err(PinError::Weak) } else { Ok(pin) }
    }

    /// The digits, for hashing. Never log them.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(***)")
    }
}

text_enum! {
    /// What came of trying a PIN.
    PinOutcome {
        /// The right one; the tries begin anew.
        Right = "right",
        /// A wrong one; tries are left.
        Wrong = "pin_wrong",
        /// A wrong one, or a right one too late: only a reset helps.
        Locked = "pin_locked",
        /// None is set.
        Missing = "pin_missing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn easy_pins_cannot_be_set_but_are_tried_like_any_other() {
        for text in ["0000", "1234", "9876", "777777", "12345678"] {
            assert_eq!(Pin::parse_new(text), Err(PinError::Weak), "{text}");
            assert!(Pin::parse(text).is_ok());
        }
        for text in ["", "123", "12a4", "1234567890123", "１２３４"] {
            assert_eq!(Pin::parse_new(text), Err(PinError::Form), "{text}");
        }
        assert!(Pin::parse_new("2580").is_ok());
        assert_eq!(format!("{:?}", Pin::parse("2580").unwrap()), "Pin(***)");
    }
}
