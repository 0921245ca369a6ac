//! Amounts of money: integers in minor units of one currency. No floating point, no conversion.

use std::fmt;

use serde::{Deserialize, Serialize};

/// ISO 4217 currencies that a site may run in, with their number of decimals. Alphabetical; extend as needed.
/// Source: ISO 4217 list one (active codes).
const CURRENCIES: &[(&str, u8)] = &[
    ("AED", 2),
    ("AUD", 2),
    ("BHD", 3),
    ("BRL", 2),
    ("CAD", 2),
    ("CHF", 2),
    ("CLP", 0),
    ("CNY", 2),
    ("CZK", 2),
    ("DKK", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HKD", 2),
    ("HUF", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("INR", 2),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("MOP", 2),
    ("MXN", 2),
    ("MYR", 2),
    ("NOK", 2),
    ("NZD", 2),
    ("OMR", 3),
    ("PHP", 2),
    ("PLN", 2),
    ("QAR", 2),
    ("RON", 2),
    ("SAR", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("THB", 2),
    ("TND", 3),
    ("TRY", 2),
    ("TWD", 2),
    ("UAH", 2),
    ("USD", 2),
    ("VND", 0),
    ("ZAR", 2),
];

/// Largest amount of one money movement, in minor units. Far above any till, far below overflow of sums.
pub const AMOUNT_MINOR_MAX: i64 = 1_000_000_000_000;

/// An ISO 4217 currency of the table above.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u8);

/// Why text is no currency or a number is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a currency of our table.
    #[error("`{0}` is not a supported ISO 4217 currency code")]
    Currency(String),
    /// Zero, negative, or above [`AMOUNT_MINOR_MAX`].
    #[error("amount {0} is outside 1..={AMOUNT_MINOR_MAX} minor units")]
    Range(i64),
    /// Not an amount as people type it.
    #[error("`{text}` is no amount in {currency}: write it like {}", example(*currency))]
    Malformed {
        /// What was typed, its beginning.
        text: String,
        /// In which currency it was meant.
        currency: Currency,
    },
}

fn example(currency: Currency) -> &'static str {
    match currency.decimals() {
        0 => "1250",
        2 => "12.50",
        _ => "12.500",
    }
}

impl Currency {
    /// Three upper-case letters.
    pub fn code(self) -> &'static str {
        CURRENCIES[usize::from(self.0)].0
    }

    /// Number of decimals of the minor unit: 0 for JPY, 2 for EUR, 3 for KWD.
    pub fn decimals(self) -> u8 {
        CURRENCIES[usize::from(self.0)].1
    }
}

impl std::str::FromStr for Currency {
    type Err = MoneyError;
    fn from_str(code: &str) -> Result<Self, MoneyError> {
        let position = CURRENCIES.iter().position(|(known, _)| *known == code);
        let index = position.and_then(|index| u8::try_from(index).ok());
        index.map(Self).ok_or_else(|| MoneyError::Currency(code.chars().take(8).collect()))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

crate::text::serde_as_text!(Currency);

/// A positive amount in minor units of a currency: 1..=[`AMOUNT_MINOR_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "UncheckedAmount")]
pub struct Amount {
    minor: i64,
    currency: Currency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedAmount {
    minor: i64,
    currency: Currency,
}

impl TryFrom<UncheckedAmount> for Amount {
    type Error = MoneyError;
    fn try_from(unchecked: UncheckedAmount) -> Result<Self, MoneyError> {
        Amount::new(unchecked.minor, unchecked.currency)
    }
}

impl Amount {
    /// Checks the range.
    pub fn new(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if (1..=AMOUNT_MINOR_MAX).contains(&minor) {
            Ok(Self { minor, currency })
        } else {
            Err(MoneyError::Range(minor))
        }
    }

    /// Reads an amount as people type it, e.g. `12.50`. Exact: digits are read as digits. The part after the point has at
    /// most the currency's decimals. A comma is refused: `1,250` means different things to different people.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let decimals = usize::from(currency.decimals());
        let malformed = || MoneyError::Malformed { text: text.chars().take(40).collect(), currency };
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(malformed()),
            Some((whole, fraction)) => (whole, fraction),
            None => (text, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > decimals {
            return Err(malformed());
        }
        let minor = format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| malformed())?;
        Self::new(minor, currency)
    }

    /// Minor units, e.g. cents.
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display_minor(self.minor, self.currency))
    }
}

/// Minor units as people read them, e.g. `12.50 EUR`; also for zero and negative sums in reports.
pub fn display_minor(minor: i64, currency: Currency) -> String {
    let decimals = usize::from(currency.decimals());
    let sign = if minor < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let point = if decimals == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction} {currency}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn amounts_show_the_decimals_of_their_currency() {
        for (minor, code, text) in [
            (1250, "EUR", "12.50 EUR"),
            (7, "EUR", "0.07 EUR"),
            (-5, "EUR", "-0.05 EUR"),
            (1250, "JPY", "1250 JPY"),
            (1250, "KWD", "1.250 KWD"),
        ] {
            assert_eq!(display_minor(minor, currency(code)), text);
        }
    }

    #[test]
    fn amounts_outside_the_range_are_refused() {
        for minor in [0, -1, i64::MIN, AMOUNT_MINOR_MAX + 1, i64::MAX] {
            assert_eq!(Amount::new(minor, currency("EUR")), Err(MoneyError::Range(minor)));
        }
        assert!(Amount::new(1, currency("EUR")).is_ok());
        assert!(Amount::new(AMOUNT_MINOR_MAX, currency("EUR")).is_ok());
    }

    #[test]
    fn fractions_and_unknown_currencies_do_not_deserialize() {
        for json in [
            r#"{"minor":1.5,"currency":"EUR"}"#,
            r#"{"minor":"1","currency":"EUR"}"#,
            r#"{"minor":1,"currency":"XXX"}"#,
            r#"{"minor":0,"currency":"EUR"}"#,
        ] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
    }

    fn minor(text: &str, currency: &str) -> Option<i64> {
        Amount::parse(text, currency.parse().unwrap()).ok().map(Amount::minor)
    }

    #[test]
    fn amounts_are_read_exactly_by_the_decimals_of_their_currency() {
        for (text, currency, expected) in [
            ("12.50", "EUR", 1_250),
            ("12.5", "EUR", 1_250),
            ("12", "EUR", 1_200),
            ("0.07", "EUR", 7),
            ("0000.10", "EUR", 10),
            ("1250", "JPY", 1_250),
            ("1.250", "KWD", 1_250),
            ("9999999999.99", "EUR", 999_999_999_999),
        ] {
            assert_eq!(minor(text, currency), Some(expected), "{text} {currency}");
        }
    }

    #[test]
    fn what_is_not_exactly_an_amount_is_refused() {
        for (text, currency) in [
            ("", "EUR"),
            (".", "EUR"),
            (".5", "EUR"),
            ("12.", "EUR"),
            ("12.505", "EUR"),
            ("12.5", "JPY"),
            ("12,50", "EUR"),
            ("1,250", "EUR"),
            ("-1", "EUR"),
            ("+1", "EUR"),
            ("1e3", "EUR"),
            ("0", "EUR"),
            ("0.00", "EUR"),
            ("١٢", "EUR"),
            ("99999999999999999999999999", "EUR"),
        ] {
            assert_eq!(minor(text, currency), None, "{text} {currency}");
        }
    }
}
