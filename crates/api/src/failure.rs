//! Why a verification at a terminal failed, or was not concluded: stable codes, whom to look at, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! failure_codes {
    // `$text` is a token and not a literal, so that the OpenAPI document sees through it.
    ($($name:ident = $text:tt, $class:ident, $retryable:literal, $meaning:literal;)*) => {
        /// Everything that keeps a verification from its conclusion.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum FailureCode { $(#[doc = $meaning] #[serde(rename = $text)] $name,)* }

        impl FailureCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &[FailureCode] = &[$(FailureCode::$name,)*];

            /// The stable code on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(FailureCode::$name => $text,)* }
            }

            /// Whom to look at.
            pub fn class(self) -> ErrorClass {
                match self { $(FailureCode::$name => ErrorClass::$class,)* }
            }

            /// Whether the same request may go through if it is made again under a new `request_id`.
            pub fn is_retryable(self) -> bool {
                match self { $(FailureCode::$name => $retryable,)* }
            }

            /// What happened and what to do.
            pub fn meaning(self) -> &'static str {
                match self { $(FailureCode::$name => $meaning,)* }
            }
        }
    };
}

failure_codes! {
    PayerAbsent = "payer_absent", Payer, true, "Nobody typed an identifier or came before the reader in time.";
    CallerGone = "caller_gone", Integration, true, "The caller asked for a lease and then no longer asked how it goes.";
    VerifierUnavailable = "verifier_unavailable", Device, true, "The verification program could not be woken; it is being started again.";
    VerifierLost = "verifier_lost", Device, true, "The verification program ended in the middle; it is being started again.";
    CaptureUnavailable = "capture_unavailable", Device, true, "Camera or reader gave nothing: is it plugged in, and its driver or page running?";
    ImageInvalid = "image_invalid", Device, true, "What camera or reader gave is no picture.";
    SealBroken = "seal_broken", Device, false, "The samples could not be sealed or opened: activate the terminal again.";
    ClockSkew = "clock_skew", Device, false, "This machine's clock is too far from the server's: set it.";
    TerminalNotActive = "terminal_not_active", Device, false, "The terminal is locked, retired, or its key was replaced: ask the operator.";
    SignerUnavailable = "signer_unavailable", Device, true, "The device key could not sign: is the security module there, with the right PIN? See the log.";
    JournalUnwritable = "journal_unwritable", Device, true, "The terminal could not write its outcome down: is its disk full?";
    Internal = "internal", Device, true, "A defect of the terminal; see its log.";
    ServerUnreachable = "server_unreachable", Network, true, "The payment server does not answer.";
    ServerUnavailable = "server_unavailable", Server, true, "The payment server cannot work now.";
    MatcherUnavailable = "matcher_unavailable", Server, true, "The matcher is away; it is being started again.";
    MatcherBusy = "matcher_busy", Server, true, "More samples wait for the matcher than it takes.";
    CodeIssueFailed = "code_issue_failed", Server, true, "The payer has passed, but the code could not be had at once: ask for the hand-over.";
    RegisterMissing = "register_missing", Device, true, "Nothing of the code went out: the register's device, port or page is not there. Plug it in, then send the code again.";
    NumLockOff = "num_lock_off", Device, true, "Nothing of the code went out: NumLock is off at the till, where keypad digits would move the cursor. Switch it on, then send the code again.";
    HandoverFailed = "handover_failed", Device, true, "Nothing of the code went out: the way to the register does not take it. See `detail`, then send the code again.";
    HandoverUncertain = "handover_uncertain", Device, true, "A part of the code may have reached the till, or all of it. Look there, clear its field, then send the code again.";
    RefusedByServer = "refused_by_server", Server, false, "The payment server does not take such a request from this terminal.";
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The caller of the interface.
    Integration,
    /// The payer.
    Payer,
    /// This terminal.
    Device,
    /// The way to the server.
    Network,
    /// The payment server.
    Server,
}

impl ErrorClass {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorClass::Integration => "integration",
            ErrorClass::Payer => "payer",
            ErrorClass::Device => "device",
            ErrorClass::Network => "network",
            ErrorClass::Server => "server",
        }
    }
}

/// Why a session was not concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionError {
    /// Stable code.
    pub code: FailureCode,
    /// Whom to look at.
    pub class: ErrorClass,
    /// Whether the same request may go through if it is made again under a new `request_id`.
    pub retryable: bool,
}

impl From<FailureCode> for SessionError {
    fn from(code: FailureCode) -> Self {
        Self { code, class: code.class(), retryable: code.is_retryable() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_as_they_are_written() {
        let mut seen = std::collections::HashSet::new();
        for code in FailureCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{code}\""));
        }
    }
}
