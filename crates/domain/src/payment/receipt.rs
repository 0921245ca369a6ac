//! The number on a receipt: short enough to type, with a check digit, and enough to start a refund.

use std::fmt;

use crate::payment_code::damm;
use crate::text::serde_as_text;

/// Names leg 0 of a payment by its place in the ledger: slot, sequence and a check digit, for example `0-1234-5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptNumber {
    slot: u32,
    sequence: u64,
}

/// The text is no receipt number, or a digit was misread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a receipt number is two numbers and a check digit, for example 0-1234-5")]
pub struct ReceiptNumberError;

impl ReceiptNumber {
    /// The number of the row at this place.
    pub fn new(slot: u32, sequence: u64) -> Self {
        Self { slot, sequence }
    }

    /// The slot.
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// The place in the slot.
    pub fn sequence(self) -> u64 {
        self.sequence
    }

    fn check_digit(self) -> u8 {
        let digits = format!("{}{:019}", self.slot, self.sequence);
        damm(digits.bytes().map(|character| character - b'0'))
    }
}

impl fmt::Display for ReceiptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.slot, self.sequence, self.check_digit())
    }
}

impl std::str::FromStr for ReceiptNumber {
    type Err = ReceiptNumberError;
    fn from_str(text: &str) -> Result<Self, ReceiptNumberError> {
        let mut fields = text.split('-');
        let (Some(slot), Some(sequence), Some(check), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(ReceiptNumberError);
        };
        let slot = slot.parse().map_err(|_| ReceiptNumberError)?;
        let sequence: u64 = sequence.parse().map_err(|_| ReceiptNumberError)?;
        let number = Self { slot, sequence };
        // One way to write each number only, and sequences stay below 2^63.
        let same = number.to_string() == text && i64::try_from(sequence).is_ok();
        if same && check.len() == 1 { Ok(number) } else { Err(ReceiptNumberError) }
    }
}

serde_as_text!(ReceiptNumber);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_that_is_no_receipt_number_is_refused() {
        for text in ["", "0-1", "0-1-", "-1-0-1", "00-1-0", "0-01-7", "0-99999999999999999999-1", "a-b-c"] {
            assert!(text.parse::<ReceiptNumber>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_misread_digit_is_caught(slot in 0u32..4, sequence in 1u64..1_000_000_000, place in 0usize..12, change in 1u8..10) {
            let number = ReceiptNumber::new(slot, sequence);
            prop_assert_eq!(number.to_string().parse(), Ok(number));
            let mut text = number.to_string().into_bytes();
            if place < text.len() && text[place].is_ascii_digit() {
                text[place] = b'0' + (text[place] - b'0' + change) % 10;
                prop_assert!(String::from_utf8(text).unwrap().parse::<ReceiptNumber>().is_err());
            }
        }
    }
}
