//! Steps 3 and 4 of the method: the general payment code, 18 digits with no amount in them.
//!
//! Layout: two digits of prefix (the operator's, so that a till with several wallets can route by it), 15 random
//! digits, one Damm check digit. The check digit catches every single wrong digit and every swap of neighbours, and
//! gives no security; that lies in the 10^15 random values, the short life, the single use and the binding to one
//! merchant. Odds and the comparison of check digits: `docs/sources.md`, "payment code".

use std::fmt;
use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use crate::site::Mode;
use crate::text::serde_as_text;

/// Digits of a code.
pub const CODE_DIGITS: usize = 18;

/// Random digits in a code.
const RANDOM_DIGITS: usize = 15;

/// Number of possible random parts.
const RANDOM_SPACE: u64 = 10u64.pow(RANDOM_DIGITS as u32);

/// Largest multiple of [`RANDOM_SPACE`] that fits 64 bits: values from there on are thrown away, so that every code
/// is equally likely.
const RANDOM_LIMIT: u64 = u64::MAX - u64::MAX % RANDOM_SPACE;

/// Shortest and longest life of a code that may be configured on a live site, in seconds. Source: WeChat Pay codes
/// live one minute; below 15 s a slow till misses them.
pub const CODE_LIFETIME_SECONDS_LIVE: RangeInclusive<u32> = 15..=300;

/// The same for test sites, where expiry must be shown quickly.
pub const CODE_LIFETIME_SECONDS_TEST: RangeInclusive<u32> = 2..=300;

/// Life of a code unless configured otherwise, in seconds.
pub const CODE_LIFETIME_SECONDS_DEFAULT: u32 = 60;

const _: () = assert!(2 + RANDOM_DIGITS + 1 == CODE_DIGITS);

/// Quasigroup of order 10 without fixed points of its own (H. M. Damm, "Total anti-symmetrische Quasigruppen",
/// dissertation, Marburg 2004).
const DAMM: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
    [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
    [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
    [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
    [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
    [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
    [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
    [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

/// Check digit over decimal digits (values 0 to 9, not characters).
pub(crate) fn damm(digits: impl IntoIterator<Item = u8>) -> u8 {
    digits.into_iter().fold(0, |interim, digit| DAMM[usize::from(interim)][usize::from(digit)])
}

/// The operator's two digits at the head of every code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(u8);

/// The text is not two digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a code prefix is two digits, for example 99")]
pub struct PrefixError;

impl Prefix {
    /// 99 for live sites, 98 for test sites: an ISO/IEC 7812 first digit 9 is for national use, so no till takes the
    /// code for a payment card, and both stay clear of the ranges of other wallets (10 to 15, 25 to 30).
    pub fn default_for(mode: Mode) -> Self {
        match mode {
            Mode::Live => Prefix(99),
            Mode::Test => Prefix(98),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

impl std::str::FromStr for Prefix {
    type Err = PrefixError;
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if !two_digits {
            return Err(PrefixError);
        }
        text.parse().map(Prefix).map_err(|_| PrefixError)
    }
}

serde_as_text!(Prefix);

/// The 18 digits. Whoever holds them can charge until they expire, so they print as `98***1234` and are wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentCode(Zeroizing<String>);

/// Why digits are no code of this site. Found before the store is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaymentCodeError {
    /// Not 18 characters.
    #[error("a payment code has 18 digits, this has {0} characters")]
    Length(usize),
    /// Something else than the digits 0 to 9.
    #[error("a payment code has digits only")]
    Digits,
    /// The last digit does not fit the others: a misread or mistyped code.
    #[error("the check digit does not fit: a digit was misread or mistyped")]
    CheckDigit,
    /// A code of another operator or of another mode.
    #[error("this code begins with another operator's prefix")]
    Prefix,
}

impl PaymentCode {
    /// Makes a code from random 64-bit values of the operating system's generator. Takes the first value below the
    /// rejection limit; the chance that a value is rejected is below 1 in 18,000.
    ///
    /// Answers `None` if all values were above the limit: ask the generator again.
    pub fn from_random(prefix: Prefix, values: &[u64]) -> Option<Self> {
        let value = values.iter().find(|value| **value < RANDOM_LIMIT)? % RANDOM_SPACE;
        let mut digits = Zeroizing::new(format!("{prefix}{value:0width$}", width = RANDOM_DIGITS));
        let check = damm(digits.bytes().map(|character| character - b'0'));
        digits.push(char::from(b'0' + check));
        Some(Self(digits))
    }

    /// Checks length, digits, check digit and prefix, in this order.
    pub fn parse(text: &str, prefix: Prefix) -> Result<Self, PaymentCodeError> {
        if text.len() != CODE_DIGITS {
            return Err(PaymentCodeError::Length(text.chars().count()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PaymentCodeError::Digits);
        }
        if damm(text.bytes().map(|character| character - b'0')) != 0 {
            return Err(PaymentCodeError::CheckDigit);
        }
        if text[..2] != prefix.to_string() {
            return Err(PaymentCodeError::Prefix);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The digits, for the register and for the keyed hash. Never log them.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last four digits, which logs and receipts may show.
    pub fn last4(&self) -> &str {
        &self.0[CODE_DIGITS - 4..]
    }
}

impl fmt::Debug for PaymentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}***{}", &self.0[..2], self.last4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> Prefix {
        Prefix::default_for(Mode::Test)
    }

    #[test]
    fn damm_agrees_with_the_published_example() {
        assert_eq!(damm([5, 7, 2]), 4);
        assert_eq!(damm([5, 7, 2, 4]), 0);
    }

    #[test]
    fn values_at_the_rejection_limit_are_thrown_away() {
        assert_eq!(PaymentCode::from_random(prefix(), &[RANDOM_LIMIT, u64::MAX]), None);
        let code = PaymentCode::from_random(prefix(), &[u64::MAX, RANDOM_LIMIT - 1]).unwrap();
        assert!(code.expose().starts_with("98999999999999999"));
    }

    #[test]
    fn codes_of_another_shape_are_refused_by_name() {
        let code = PaymentCode::from_random(prefix(), &[42]).unwrap();
        let digits = code.expose();
        assert_eq!(PaymentCode::parse(&digits[..17], prefix()), Err(PaymentCodeError::Length(17)));
        assert_eq!(PaymentCode::parse(&format!("{digits}0"), prefix()), Err(PaymentCodeError::Length(19)));
        assert_eq!(PaymentCode::parse("98000000000000004x", prefix()), Err(PaymentCodeError::Digits));
        assert_eq!(
            PaymentCode::parse(digits, Prefix::default_for(Mode::Live)),
            Err(PaymentCodeError::Prefix)
        );
    }

    #[test]
    fn debug_output_hides_the_digits() {
        let code = PaymentCode::from_random(prefix(), &[123_456_789_012_345]).unwrap();
        assert_eq!(format!("{code:?}"), format!("98***{}", code.last4()));
    }

    proptest! {
        #[test]
        fn every_issued_code_parses(value in 0..RANDOM_LIMIT) {
            let code = PaymentCode::from_random(prefix(), &[value]).unwrap();
            prop_assert_eq!(PaymentCode::parse(code.expose(), prefix()), Ok(code.clone()));
        }

        #[test]
        fn one_wrong_digit_is_always_caught(value in 0..RANDOM_LIMIT, place in 0..CODE_DIGITS, change in 1u8..10) {
            let code = PaymentCode::from_random(prefix(), &[value]).unwrap();
            let mut digits = code.expose().as_bytes().to_vec();
            digits[place] = b'0' + (digits[place] - b'0' + change) % 10;
            let text = String::from_utf8(digits).unwrap();
            prop_assert_eq!(PaymentCode::parse(&text, prefix()), Err(PaymentCodeError::CheckDigit));
        }

        #[test]
        fn swapped_neighbours_are_always_caught(value in 0..RANDOM_LIMIT, place in 0..CODE_DIGITS - 1) {
            let code = PaymentCode::from_random(prefix(), &[value]).unwrap();
            let mut digits = code.expose().as_bytes().to_vec();
            prop_assume!(digits[place] != digits[place + 1]);
            digits.swap(place, place + 1);
            let text = String::from_utf8(digits).unwrap();
            prop_assert_eq!(PaymentCode::parse(&text, prefix()), Err(PaymentCodeError::CheckDigit));
        }

        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,40}") {
            let _ = PaymentCode::parse(&text, prefix());
        }
    }
}
