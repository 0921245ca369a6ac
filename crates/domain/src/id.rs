//! Identifiers: a prefix that tells the kind at sight, then 26 characters of base 32 over a UUID version 7
//! (RFC 9562: 48 bits of milliseconds, then random bits), so that they sort by time of creation.

use std::fmt;

use crate::time::Timestamp;

/// Crockford's base 32 in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters that 128 bits take in base 32.
const TEXT_CHARS: usize = 26;

/// Random bytes that a new identifier needs.
pub type Randomness = [u8; 10];

/// Why text is no identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Another prefix than the wanted one.
    #[error("expected an id that begins with `{expected}_`")]
    WrongKind {
        /// The prefix that was wanted, without the underscore.
        expected: &'static str,
    },
    /// The right prefix, but not 26 characters of base 32 behind it.
    #[error("an id is `{expected}_` and 26 characters of base 32")]
    Malformed {
        /// The prefix of the wanted kind.
        expected: &'static str,
    },
}

fn uuid_v7(now: Timestamp, random: Randomness) -> u128 {
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    u128::from_be_bytes(bytes)
}

fn write_text(f: &mut fmt::Formatter<'_>, prefix: &str, value: u128) -> fmt::Result {
    let mut text = [0u8; TEXT_CHARS];
    for (place, character) in text.iter_mut().rev().enumerate() {
        *character = ALPHABET[((value >> (place * 5)) & 31) as usize];
    }
    f.write_str(prefix)?;
    f.write_str("_")?;
    f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

/// What a byte stands for that is no character of the alphabet.
const NO_DIGIT: u8 = 0xff;

/// Digits by their character. A ledger row has a dozen ids, and each is read and written with every payment.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < ALPHABET.len() {
        digits[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

fn parse_text(prefix: &'static str, text: &str) -> Result<u128, IdError> {
    let rest = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    let rest = rest.ok_or(IdError::WrongKind { expected: prefix })?;
    let malformed = || IdError::Malformed { expected: prefix };
    // 26 characters hold 130 bits: the first may only be 0 to 7.
    if rest.len() != TEXT_CHARS || rest.as_bytes()[0] > b'7' {
        return Err(malformed());
    }
    rest.bytes().try_fold(0u128, |value, character| {
        let digit = DIGITS[usize::from(character)];
        if digit == NO_DIGIT { Err(malformed()) } else { Ok((value << 5) | u128::from(digit)) }
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The prefix, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier; `random` comes from the operating system's generator.
            pub fn new(now: Timestamp, random: Randomness) -> Self {
                Self(uuid_v7(now, random))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_text(f, $prefix, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_text($prefix, text).map(Self)
            }
        }

        crate::text::serde_as_text!($name);
    )*};
}

ids! {
    /// A payer's account.
    AccountId = "acct";
    /// A wallet: money of one account in one currency.
    WalletId = "wal";
    /// A recorded consent.
    ConsentId = "cns";
    /// An enrolment: from consent to active templates.
    EnrolmentId = "enr";
    /// A stored biometric template.
    TemplateId = "tmpl";
    /// A merchant.
    MerchantId = "mch";
    /// A store of a merchant.
    StoreId = "sto";
    /// A terminal in a store.
    TerminalId = "trm";
    /// An API key or a device key.
    KeyId = "key";
    /// A verification at the payment server.
    VerificationId = "ver";
    /// A verification session at a terminal's own interface.
    SessionId = "ses";
    /// A cash register (POS) that was paired with a terminal.
    RegisterId = "reg";
    /// A pairing that is going on.
    PairingId = "pair";
    /// A general payment code (never its digits).
    PaymentCodeId = "code";
    /// A payment: a charge, or another movement of money.
    PaymentId = "pay";
    /// A settlement of one merchant.
    SettlementId = "set";
    /// One request, for logs and answers.
    RequestId = "req";
    /// A refused attempt.
    AttemptId = "att";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_sort_by_time_and_tell_their_kind() {
        let early = PaymentId::new(Timestamp::from_millis(1_000), [0xff; 10]);
        let late = PaymentId::new(Timestamp::from_millis(1_001), [0; 10]);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().len(), "pay_".len() + TEXT_CHARS);
        assert_eq!(early.to_string().parse::<AccountId>(), Err(IdError::WrongKind { expected: "acct" }));
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in [
            "pay_",
            "pay_0",
            "pay_zzzzzzzzzzzzzzzzzzzzzzzzzz",
            "pay_0000000000000000000000000i",
            "pay_é0000000000000000000000000",
        ] {
            assert_eq!(text.parse::<PaymentId>(), Err(IdError::Malformed { expected: "pay" }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_id_reads_as_it_was_written(millis in 0i64..=Timestamp::MAX.as_millis(), random: [u8; 10]) {
            let id = AccountId::new(Timestamp::from_millis(millis), random);
            prop_assert_eq!(id.to_string().parse::<AccountId>(), Ok(id));
        }
    }
}
