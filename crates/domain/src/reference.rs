//! The client's own reference, which is the idempotency key of every money-moving request.

use std::fmt;

use crate::text::serde_as_text;

/// Longest client reference, in characters. Fits the order numbers of every POS we know and a UUID with a prefix.
pub const REFERENCE_CHARS_MAX: usize = 64;

/// A client's own name for an order, refund, top-up or request: 1 to [`REFERENCE_CHARS_MAX`] visible ASCII
/// characters. Unique per (caller, operation) for ever.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reference(String);

/// The text cannot be a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a reference is 1 to {REFERENCE_CHARS_MAX} visible ASCII characters without spaces")]
pub struct ReferenceError;

impl Reference {
    /// The text as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let fits = (1..=REFERENCE_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(ReferenceError) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Reference);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_short_visible_ascii() {
        assert!("T4-2026-11-24-000123".parse::<Reference>().is_ok());
        for text in ["", "two words", "ä", "tab\t", &"x".repeat(REFERENCE_CHARS_MAX + 1)] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }
}
