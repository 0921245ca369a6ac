//! Account identifiers: what a payer types to say who they are, before any biometric is captured.

use std::fmt;

use zeroize::Zeroizing;

use crate::text::text_enum;

/// Digits of an international phone number: country code and number, without the plus (ITU-T E.164: 15 at most).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Digits of the short form of a phone number.
pub const PHONE_LAST_DIGITS: usize = 4;

/// Longest member number.
const MEMBER_NUMBER_CHARS_MAX: usize = 20;

/// Longest name of a person, in bytes of UTF-8.
pub const DISPLAY_NAME_BYTES_MAX: usize = 120;

text_enum! {
    /// What kind of identifier a payer gave.
    IdentifierKind {
        /// The whole phone number.
        Phone = "phone",
        /// The last four digits of the phone number: selects several accounts on a large site.
        PhoneLast4 = "phone_last4",
        /// A member, student or staff number.
        MemberNumber = "member_number",
    }
}

/// An account identifier in canonical form. An index, not a secret; still personal data, so never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Identifier {
    kind: IdentifierKind,
    value: Zeroizing<String>,
}

/// The text cannot be an identifier of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Not 7 to 15 digits.
    #[error(
        "a phone number is 7 to 15 digits with the country code; spaces, dashes and a leading plus are ignored"
    )]
    Phone,
    /// Not exactly four digits.
    #[error("the short form of a phone number is its last 4 digits")]
    PhoneLast4,
    /// Not a member number.
    #[error("a member number is 1 to 20 letters, digits or dashes")]
    MemberNumber,
}

impl Identifier {
    /// Reads what a payer or operator typed and brings it into canonical form.
    pub fn parse(kind: IdentifierKind, text: &str) -> Result<Self, IdentifierError> {
        let value = match kind {
            IdentifierKind::Phone => phone_digits(text).ok_or(IdentifierError::Phone)?,
            IdentifierKind::PhoneLast4 => {
                let fits = text.len() == PHONE_LAST_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
                fits.then(|| text.to_owned()).ok_or(IdentifierError::PhoneLast4)?
            }
            IdentifierKind::MemberNumber => {
                let fits = (1..=MEMBER_NUMBER_CHARS_MAX).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                fits.then(|| text.to_ascii_uppercase()).ok_or(IdentifierError::MemberNumber)?
            }
        };
        Ok(Self { kind, value: Zeroizing::new(value) })
    }

    /// Which kind it is.
    pub fn kind(&self) -> IdentifierKind {
        self.kind
    }

    /// The canonical text, for the keyed hash that looks it up and for the sealed profile. Never log it.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// The short form of a phone number, by which it can be found as well.
    pub fn last4(&self) -> Option<Identifier> {
        if self.kind != IdentifierKind::Phone {
            return None;
        }
        let start = self.value.len() - PHONE_LAST_DIGITS;
        Some(Self { kind: IdentifierKind::PhoneLast4, value: Zeroizing::new(self.value[start..].to_owned()) })
    }
}

fn phone_digits(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix('+').unwrap_or(text);
    let separator = |character: char| matches!(character, ' ' | '-' | '(' | ')' | '.' | '/');
    let digits: String = text.chars().filter(|character| !separator(*character)).collect();
    let fits = PHONE_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then_some(digits)
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({}, ***)", self.kind)
    }
}

text_enum! {
    /// Whether an account may pay.
    AccountState {
        /// May pay.
        Active = "active",
        /// Stopped by the operator; keeps its money.
        Frozen = "frozen",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_are_compared_by_their_digits() {
        let typed = Identifier::parse(IdentifierKind::Phone, "+49 (170) 555-0142").unwrap();
        assert!(typed == Identifier::parse(IdentifierKind::Phone, "491705550142").unwrap());
        assert_eq!(typed.last4().unwrap().expose(), "0142");
    }

    #[test]
    fn identifiers_of_the_wrong_shape_are_refused() {
        for (kind, text) in [
            (IdentifierKind::Phone, "12345"),
            (IdentifierKind::Phone, "call me"),
            (IdentifierKind::Phone, "1234567890123456"),
            (IdentifierKind::PhoneLast4, "123"),
            (IdentifierKind::PhoneLast4, "12345"),
            (IdentifierKind::PhoneLast4, "12a4"),
            (IdentifierKind::MemberNumber, ""),
            (IdentifierKind::MemberNumber, "a b"),
            (IdentifierKind::MemberNumber, "'; drop table accounts"),
        ] {
            assert!(Identifier::parse(kind, text).is_err(), "{kind} {text:?}");
        }
    }

    #[test]
    fn debug_output_hides_the_identifier() {
        let identifier = Identifier::parse(IdentifierKind::Phone, "491705550142").unwrap();
        assert!(!format!("{identifier:?}").contains("0142"));
    }
}
