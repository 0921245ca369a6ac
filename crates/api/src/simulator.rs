//! The simulator of a terminal (`selfsame terminal --simulate`, test sites only): what happens next is chosen by name,
//! and what the register got can be looked up.

use std::fmt;
use std::str::FromStr;

use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::failure::FailureCode;
use crate::interface::Outcome;

/// Longest time that a simulated payer may take for a step, in milliseconds.
pub const PAYER_MS_MAX: u64 = 60_000;
/// Longest time that each answer of a slow server may take, in milliseconds: below the 2,000 after which a terminal gives
/// a code up, so that `server_slow` always ends as it says.
pub const SERVER_MS_MAX: u64 = 1_800;
/// Longest time that the payer of `busy` may stay, in milliseconds.
pub const BUSY_MS_MAX: u64 = 60_000;
/// Most verifications that one choice can be for.
pub const REPEAT_MAX: u32 = 1_000_000;

/// What a register must see of the hand-over of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedHandover {
    /// There is no pass, so there is no code.
    None,
    /// The first hand-over brings a code.
    Code,
    /// The first hand-over fails: `code_issue_failed` in a session that was to bring the code at once, 503 `unavailable`
    /// where it was asked for. Asking again brings a code.
    CodeOnSecondTry,
    /// The first hand-over takes two seconds and ends `uncertain` with `handover_uncertain`: nobody knows whether the
    /// register got the code. Asking again brings one.
    UncertainThenCode,
}

impl ExpectedHandover {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ExpectedHandover::None => "none",
            ExpectedHandover::Code => "code",
            ExpectedHandover::CodeOnSecondTry => "code_on_second_try",
            ExpectedHandover::UncertainThenCode => "uncertain_then_code",
        }
    }
}

macro_rules! scenarios {
    ($($name:ident = $text:tt, $outcome:ident, $error:expr, $handover:ident, $happens:literal, $register:literal;)*) => {
        /// What happens to a verification at a simulated terminal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum Scenario { $(#[doc = $happens] #[serde(rename = $text)] $name,)* }

        impl Scenario {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Scenario] = &[$(Scenario::$name,)*];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Scenario::$name => $text,)* }
            }

            /// What happens, and what a register must see of it.
            pub fn describe(self) -> ScenarioDescription {
                match self {
                    $(Scenario::$name => ScenarioDescription {
                        scenario: self,
                        happens: $happens.to_owned(),
                        outcome: Outcome::$outcome,
                        error: $error,
                        handover: ExpectedHandover::$handover,
                        register: $register.to_owned(),
                    },)*
                }
            }
        }
    };
}

use FailureCode as Code;

scenarios! {
    Pass = "pass", Passed, None, Code,
        "The payer types the digits, presents finger or face, and is recognised.",
        "Charges the code.";
    PassAfterHint = "pass_after_hint", Passed, None, Code,
        "The first digits do not tell two people apart; the payer types more and is recognised.",
        "Goes on waiting through `awaiting_identifier` with guidance `more_digits`, then charges the code.";
    NotRecognised = "not_recognised", Declined, None, None,
        "The payer is not recognised until no tries are left.",
        "Offers other payment, or a new verification. Learns nothing about who is enrolled.";
    Ambiguous = "ambiguous", Declined, None, None,
        "However many digits the payer types, two people stay alike.",
        "The same as `not_recognised`.";
    LivenessFail = "liveness_fail", Declined, None, None,
        "Attack detection refuses what was presented.",
        "The same as `not_recognised`.";
    PayerWalksAway = "payer_walks_away", TimedOut, Some(Code::PayerAbsent), None,
        "The payer types the digits and goes away.",
        "Waits no longer than the deadline that it asked for; asks for other payment.";
    PayerCancels = "payer_cancels", Canceled, None, None,
        "The payer presses cancel on the terminal's screen.",
        "Returns to the order; nothing was decided about anybody.";
    CameraUnplugged = "camera_unplugged", Failed, Some(Code::CaptureUnavailable), None,
        "Camera or reader is gone when it is needed.",
        "Tells the cashier to look at the terminal; offers other payment.";
    ServerDown = "server_down", Failed, Some(Code::ServerUnreachable), None,
        "The payment server does not answer.",
        "Offers other payment, or the same again under a new `request_id`.";
    ServerSlow = "server_slow", Passed, None, Code,
        "Every answer of the payment server takes long.",
        "Waits, and charges the code. Starts nothing twice.";
    AnswerLostAfterIssue = "answer_lost_after_issue", Passed, None, CodeOnSecondTry,
        "The server issues the code, and its answer is lost on the way.",
        "Asks for the hand-over again. The lost code is dead from then on.";
    HandoverStuck = "handover_stuck", Passed, None, UncertainThenCode,
        "The way to the register is stuck in the middle of the code until the terminal gives it up.",
        "Clears its field, and asks for the hand-over again. Never completes a half code.";
    Busy = "busy", Passed, None, Code,
        "Another payer is at the terminal when the register asks.",
        "Is refused with 409 `busy`, and asks again a moment later under the same `request_id`; then as `pass`.";
    ClockSkew = "clock_skew", Failed, Some(Code::ClockSkew), None,
        "The terminal's clock is off by more than may be corrected.",
        "Tells the cashier that somebody must look at the terminal; does not try again by itself.";
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no scenario's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario of this name; there are: {}", names())]
pub struct UnknownScenario;

fn names() -> String {
    let names: Vec<&str> = Scenario::ALL.iter().map(|scenario| scenario.as_str()).collect();
    names.join(", ")
}

impl FromStr for Scenario {
    type Err = UnknownScenario;
    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        Self::ALL.iter().copied().find(|scenario| scenario.as_str() == text).ok_or(UnknownScenario)
    }
}

/// A scenario, and what a register must see of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScenarioDescription {
    /// Which one.
    pub scenario: Scenario,
    /// What happens at the terminal.
    pub happens: String,
    /// How the session ends; always in this way.
    pub outcome: Outcome,
    /// The session's error. `payer_absent` is missing when the caller's own deadline comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureCode>,
    /// What comes of the hand-over.
    pub handover: ExpectedHandover,
    /// What a good register does.
    pub register: String,
}

/// How long things take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delays {
    /// The payer, for each step: typing, presenting finger or face, cancelling. 0 to 60,000.
    pub payer_ms: u64,
    /// Each answer of the server in `server_slow`. 0 to 1,800.
    pub server_ms: u64,
    /// How long the other payer of `busy` stays. 0 to 60,000.
    pub busy_ms: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Self { payer_ms: 700, server_ms: 1_200, busy_ms: 3_000 }
    }
}

/// `POST /v1/simulator`: what happens to the verifications that begin from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewScenario {
    /// Which scenario.
    pub scenario: Scenario,
    /// How long things take; absent: as usual.
    #[serde(default)]
    pub delays: Delays,
    /// For how many verifications, 1 to 1,000,000; then `pass` again. Absent: until another one is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub repeat: Option<u32>,
}

/// `GET /v1/simulator`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SimulatorState {
    /// What happens to the next verification.
    pub next: NewScenario,
    /// All that can be chosen.
    pub scenarios: Vec<ScenarioDescription>,
}

/// A request of the register and what it got. Without secrets: of a code's digits only the last four, of identifiers and
/// PINs nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordedCall {
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The body; absent if there was none or it was no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
    /// The HTTP status.
    pub status: u16,
    /// The answer; absent if it was no JSON, for example a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// How long the answer took, in milliseconds.
    pub duration_ms: u64,
}

/// `GET /v1/simulator/record`: the latest calls, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// The calls.
    pub data: Vec<RecordedCall>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_read_as_they_are_written_and_have_one_expected_end() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.as_str().parse(), Ok(*scenario));
            assert_eq!(serde_json::to_string(scenario).unwrap(), format!("\"{scenario}\""));
            let described = scenario.describe();
            let passes = described.outcome == Outcome::Passed;
            assert_eq!(passes, described.handover != ExpectedHandover::None, "{scenario}");
            assert!(!passes || described.error.is_none(), "{scenario}");
        }
        assert_eq!(Scenario::ALL.len(), 14);
        assert!("passed".parse::<Scenario>().unwrap_err().to_string().contains("pass, pass_after_hint"));
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        let new: NewScenario =
            serde_json::from_str(r#"{"scenario": "server_slow", "delays": {"server_ms": 5}}"#).unwrap();
        assert_eq!(new.delays, Delays { server_ms: 5, ..Delays::default() });
        assert_eq!(new.repeat, None);
        assert!(serde_json::from_str::<NewScenario>(r#"{"scenario": "pass", "delay": 1}"#).is_err());
    }
}
