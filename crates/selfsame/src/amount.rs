//! Amounts as people type them. Exact: digits are read as digits, never as floating point.

use selfsame_domain::money::{Amount, Currency};

/// Reads `12.50` in a currency; the part after the point has at most the currency's decimals. A comma is refused:
/// `1,250` means different things to different people.
pub fn parse_amount(text: &str, currency: Currency) -> Result<Amount, String> {
    let decimals = usize::from(currency.decimals());
    let example = match decimals {
        0 => "1250".to_owned(),
        _ => format!("12.{:0<decimals$}", 5),
    };
    let malformed = || format!("`{text}` is no amount in {currency}: write it like {example}");
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(malformed()),
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > decimals {
        return Err(malformed());
    }
    let minor: i64 = format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| malformed())?;
    Amount::new(minor, currency).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minor(text: &str, currency: &str) -> Option<i64> {
        parse_amount(text, currency.parse().unwrap()).ok().map(Amount::minor)
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
