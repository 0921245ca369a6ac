//! Refusals on the wire: RFC 9457 problem documents with a stable code that is never reused.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media type of a problem document.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

macro_rules! problem_codes {
    // `$text` is a token and not a literal, so that the OpenAPI document sees through it.
    ($($(#[$doc:meta])* $name:ident = $text:tt, $status:literal, $title:literal;)*) => {
        /// Every refusal that our interfaces can answer with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum ProblemCode { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl ProblemCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &[ProblemCode] = &[$(ProblemCode::$name,)*];

            /// The stable code on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(ProblemCode::$name => $text,)* }
            }

            /// HTTP status.
            pub fn status(self) -> u16 {
                match self { $(ProblemCode::$name => $status,)* }
            }

            /// One line for people.
            pub fn title(self) -> &'static str {
                match self { $(ProblemCode::$name => $title,)* }
            }
        }
    };
}

problem_codes! {
    /// The body is no JSON of the documented shape, or a value is out of range.
    InvalidRequest = "invalid_request", 400, "The request does not have the documented shape";
    /// An id of another kind, e.g. a payment where a terminal is wanted.
    WrongIdKind = "wrong_id_kind", 400, "This id names another kind of thing";
    /// `Idempotency-Key` was sent; the client's own reference is the key.
    IdempotencyKeyNotSupported = "idempotency_key_not_supported", 400, "Use the request's own reference field instead of an Idempotency-Key header";
    /// No key, or a key that is not known.
    Unauthenticated = "unauthenticated", 401, "A valid key is needed";
    /// The request signature is missing or wrong.
    SignatureInvalid = "signature_invalid", 401, "The request signature does not fit the request";
    /// The signature is too old or from the future: check the clock. Carries the server's time.
    SignatureExpired = "signature_expired", 401, "The request signature is outside its time window";
    /// This signature's nonce was seen before.
    SignatureReplayed = "signature_replayed", 401, "This signed request was already used";
    /// The money could not be moved; see `decline_code`.
    PaymentDeclined = "payment_declined", 402, "The payment was declined";
    /// Known, but not allowed to do this.
    Forbidden = "forbidden", 403, "This key may not do that";
    /// The terminal was retired or its key replaced.
    TerminalRetired = "terminal_retired", 403, "This terminal is retired";
    /// The operator locked the terminal.
    TerminalLocked = "terminal_locked", 403, "This terminal is locked";
    /// `Host` names another machine: the caller means somebody else, or a page's name was made to lead here.
    ForeignHost = "foreign_host", 403, "This machine does not have that name";
    /// `Origin` is a page that was not let in.
    ForeignOrigin = "foreign_origin", 403, "Pages from there are not let in";
    /// Nobody at the terminal lets cash registers in now.
    PairingClosed = "pairing_closed", 403, "This terminal is not being paired";
    /// Absent, or somebody else's.
    NotFound = "not_found", 404, "There is no such thing";
    /// No such route.
    RouteNotFound = "route_not_found", 404, "There is no such route";
    /// The route exists for other methods.
    MethodNotAllowed = "method_not_allowed", 405, "This route does not take this method";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", 408, "The body did not arrive in time";
    /// The reference was used before with other content; carries the earlier payment.
    ReferenceConflict = "reference_conflict", 409, "This reference was used before with other content";
    /// The order was reversed: it is not paid and never will be.
    OrderReversed = "order_reversed", 409, "This order was reversed";
    /// The order ended unpaid; a new try needs a new reference. Carries the payment.
    OrderClosed = "order_closed", 409, "This order ended unpaid";
    /// The hold or the confirmation is over.
    PaymentExpired = "payment_expired", 409, "The time for that is over";
    /// The same person cannot do both steps.
    SamePerson = "same_person", 403, "A second person must do this";
    /// The payer must have been verified just now.
    VerificationRequired = "verification_required", 403, "A verification of this payer is needed";
    /// The thing is in a state in which that cannot be done.
    InvalidState = "invalid_state", 409, "That cannot be done in the present state";
    /// Another verification is running on this terminal.
    Busy = "busy", 409, "The terminal is busy with another payer";
    /// Somebody with this biometric is enrolled already.
    DuplicateBiometric = "duplicate_biometric", 409, "This biometric is enrolled already";
    /// Somebody has this phone or member number already.
    DuplicateIdentifier = "duplicate_identifier", 409, "This identifier belongs to another account";
    /// The body is larger than allowed.
    PayloadTooLarge = "payload_too_large", 413, "The body is too large";
    /// The body is not JSON by its media type.
    UnsupportedMediaType = "unsupported_media_type", 415, "Send application/json";
    /// Not 18 digits, wrong check digit, or another operator's prefix.
    CodeMalformed = "code_malformed", 422, "This is no payment code of this operator";
    /// Unknown, or another merchant's in whatever state.
    CodeNotFound = "code_not_found", 422, "There is no such payment code";
    /// Has paid another order.
    CodeAlreadyUsed = "code_already_used", 422, "This payment code has paid already";
    /// Replaced by a later code or cancelled.
    CodeRevoked = "code_revoked", 422, "This payment code was replaced or cancelled";
    /// Too late.
    CodeExpired = "code_expired", 422, "This payment code has expired";
    /// Another currency than the wallet's or the site's.
    CurrencyMismatch = "currency_mismatch", 422, "The currency does not fit";
    /// The parts are not the amount, or one of them is negative.
    PartsDoNotAddUp = "parts_do_not_add_up", 422, "The parts do not add up to the amount";
    /// Refunds and other movements cannot be refunded.
    NotRefundable = "not_refundable", 422, "This kind of payment cannot be refunded";
    /// Another business day has begun: refund instead.
    ReversalTooLate = "reversal_too_late", 422, "Only payments of this business day can be reversed";
    /// More than is held.
    CaptureAboveHold = "capture_above_hold", 422, "This is more than is held";
    /// More than is left of what was paid.
    RefundAbovePaid = "refund_above_paid", 422, "This is more than is left of the payment";
    /// A gesture does not confirm here.
    PinRequired = "pin_required", 422, "The payer's PIN is needed";
    /// Another PIN; tries are left.
    PinWrong = "pin_wrong", 422, "The PIN is wrong";
    /// Too many wrong PINs: only a reset helps.
    PinLocked = "pin_locked", 422, "The PIN is locked";
    /// No PIN is set.
    PinMissing = "pin_missing", 422, "No PIN is set";
    /// The first that anybody tries.
    PinWeak = "pin_weak", 422, "This PIN is too easy to guess";
    /// The balance would leave the range of money.
    BalanceOutOfRange = "balance_out_of_range", 422, "The balance would be out of range";
    /// Nothing has happened since the last settlement.
    NothingToSettle = "nothing_to_settle", 422, "There is nothing to settle";
    /// No consent in force: nothing may be captured.
    ConsentMissing = "consent_missing", 422, "There is no consent in force";
    /// Samples of this grade are not taken here, e.g. simulated ones on a live site.
    SensorGradeRefused = "sensor_grade_refused", 422, "Samples of this grade are not accepted here";
    /// A sample cannot be used for enrolment.
    SampleRejected = "sample_rejected", 422, "A sample cannot be used";
    /// The activation code is wrong, used or too old.
    ActivationRefused = "activation_refused", 422, "This activation code is not valid";
    /// This terminal has no such way to the register.
    RegisterNotConfigured = "register_not_configured", 422, "This way to the register is not configured here";
    /// The code is not the one on the terminal's screen.
    PairingRefused = "pairing_refused", 422, "This pairing code is not valid";
    /// The site's certificate authority does not vouch for this name.
    CertificateNameRefused = "certificate_name_refused", 422, "This name cannot be in a certificate of this site";
    /// Too many tries.
    TooManyAttempts = "too_many_attempts", 429, "Too many attempts";
    /// Our own fault.
    Internal = "internal", 500, "Something broke on our side";
    /// The queue is full or the store is away; nothing was done. Try again with the same reference.
    Unavailable = "unavailable", 503, "Try again shortly with the same reference";
    /// The commit's result is not known yet: ask by the reference, do not charge under a new one.
    OutcomeUnknown = "outcome_unknown", 503, "The outcome is not known yet: ask by your reference";
    /// The operator lets this terminal take no requests for a while; the detail says what for.
    TerminalMaintenance = "terminal_maintenance", 503, "This terminal is being looked after";
    /// The matcher is away: nothing was counted against the payer.
    MatcherUnavailable = "matcher_unavailable", 503, "The biometric matcher is not available";
    /// More samples wait for the matcher than it takes: nothing was counted against the payer.
    MatcherBusy = "matcher_busy", 503, "The biometric matcher has too much to do";
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A problem document.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable address of the explanation; ends in the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// One line for people.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code for programs.
    pub code: ProblemCode,
    /// What exactly was wrong here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Why the money could not be moved; with `payment_declined` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "insufficient_funds")]
    pub decline_code: Option<String>,
    /// The earlier payment; with `reference_conflict` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<Box<crate::payment::Payment>>,
    /// When trying again makes sense; with `busy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1000)]
    pub retry_after_ms: Option<u64>,
    /// The server's time, with `signature_expired` only, so that a terminal can correct its clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-24T15:38:15.007Z")]
    pub server_time: Option<String>,
}

impl Problem {
    /// A problem document of a code, without particulars.
    pub fn new(code: ProblemCode) -> Self {
        Self {
            kind: format!("urn:selfsame:problem:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: None,
            decline_code: None,
            payment: None,
            retry_after_ms: None,
            server_time: None,
        }
    }

    /// Adds what exactly was wrong. Must not name secrets or persons.
    pub fn detail(self, detail: impl fmt::Display) -> Self {
        Self { detail: Some(detail.to_string()), ..self }
    }

    /// Whether the same request may succeed later without a change.
    pub fn is_temporary(&self) -> bool {
        matches!(self.status, 429 | 500 | 503)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(decline_code) = &self.decline_code {
            write!(f, " ({decline_code})")?;
        }
        let text = self.detail.as_deref().unwrap_or(&self.title);
        write!(f, ": {text}")
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_as_they_are_written() {
        let mut seen = std::collections::HashSet::new();
        for code in ProblemCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<ProblemCode>(&json).unwrap(), *code);
            assert!((400..600).contains(&code.status()));
        }
    }
}
