//! The biometric payment verification interface: what a terminal offers to registers and merchant programs on the
//! same machine (Unix socket), step 1 of the method.
//!
//! A request has no amount, on purpose. Every accepted request ends in exactly one final [`Outcome`].

use std::fmt;

use selfsame_domain::id::{PaymentCodeId, SessionId, TerminalId};
use selfsame_domain::reference::Reference;
use selfsame_domain::sensor::Modality;
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::Identifier;
use crate::channel::TerminalPayment;
use crate::configuration::{ConfigurationSource, Maintenance};
use crate::failure::{FailureCode, SessionError};
use crate::fleet::Reason;
use crate::merchant::Secret;
use crate::register::{HandoverState, RegisterOffer};

/// Shortest, usual and longest time that a verification may take, in milliseconds.
pub const DEADLINE_MS_MIN: u64 = 1_000;
/// Usual time.
pub const DEADLINE_MS_DEFAULT: u64 = 60_000;
/// Longest time.
pub const DEADLINE_MS_MAX: u64 = 180_000;
/// Shortest and longest lease, in milliseconds.
pub const LEASE_MS_MIN: u64 = 2_000;
/// Longest lease.
pub const LEASE_MS_MAX: u64 = 30_000;
/// Longest wait of one long poll, in milliseconds.
pub const WAIT_MS_MAX: u64 = 25_000;

/// `POST /v1/verifications`: a payment operation request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The caller's own reference. The same again with the same content answers the same session, for 24 hours.
    #[schema(value_type = String, example = "T4-000123-1")]
    pub request_id: Reference,
    /// What to capture.
    #[schema(value_type = String, example = "finger")]
    pub modality: Modality,
    /// What the payer gave, if the caller took it; else the terminal's own pad asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier>,
    /// How long it may take, 1,000 to 180,000; absent: what the operator has set, 60,000 unless that is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1000, maximum = 180_000)]
    pub deadline_ms: Option<u64>,
    /// Cancel when the caller has neither waited for news nor asked for them for so long, 2,000 to 30,000: for callers
    /// that may go away. Absent: only the deadline ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 2000, maximum = 30_000)]
    pub lease_ms: Option<u64>,
    /// How the code gets to the register.
    #[serde(default)]
    pub handover: HandoverPlan,
}

/// How the code gets to the register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandoverPlan {
    /// Which register; absent: the terminal's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<RegisterKind>,
    /// When; absent: the terminal's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<HandoverMode>,
}

/// A way to the register.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RegisterKind {
    /// Back to the caller of the interface.
    #[default]
    Return,
    /// Shown on the terminal's screen as Code 128 and QR, for the till's scanner.
    Screen,
    /// Typed, as a scanner that is a keyboard.
    Keyboard,
    /// Written to a serial line.
    Serial,
    /// Written to a TCP connection.
    Tcp,
    /// Pushed to a page of a browser.
    Websocket,
}

impl RegisterKind {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            RegisterKind::Return => "return",
            RegisterKind::Screen => "screen",
            RegisterKind::Keyboard => "keyboard",
            RegisterKind::Serial => "serial",
            RegisterKind::Tcp => "tcp",
            RegisterKind::Websocket => "websocket",
        }
    }
}

/// When the code is asked for and handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandoverMode {
    /// As soon as the payer has passed.
    Immediate,
    /// When the till is ready: by `POST /v1/verifications/{id}/handover`, the terminal's button, or the till's trigger.
    #[default]
    OnRequest,
}

/// Where a session stands. `done` is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Accepted; the verification program is being woken.
    Waking,
    /// The payer gives the identifier.
    AwaitingIdentifier,
    /// The payer presents finger or face.
    Capturing,
    /// The payer gives the whole identifier and the PIN, instead of finger or face.
    AwaitingPin,
    /// Server and matcher decide.
    Verifying,
    /// Final: see the outcome.
    Done,
}

impl SessionState {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionState::Waking => "waking",
            SessionState::AwaitingIdentifier => "awaiting_identifier",
            SessionState::Capturing => "capturing",
            SessionState::AwaitingPin => "awaiting_pin",
            SessionState::Verifying => "verifying",
            SessionState::Done => "done",
        }
    }
}

/// How a session ended. Exactly one, never changed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The payer was verified: a code can be handed over until `pass_expires_at`.
    Passed,
    /// Not verified. Unknown, not enrolled, no consent and not recognised read alike.
    Declined,
    /// The till or the payer cancelled.
    Canceled,
    /// The deadline passed.
    TimedOut,
    /// Something of ours broke; nothing was counted against the payer.
    Failed,
    /// The terminal was restarted in the middle. No code of this session can be handed over any more.
    Unknown,
}

impl Outcome {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Declined => "declined",
            Outcome::Canceled => "canceled",
            Outcome::TimedOut => "timed_out",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verification as the register sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The session.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// The caller's own reference.
    #[schema(value_type = String)]
    pub request_id: Reference,
    /// Where it stands.
    pub state: SessionState,
    /// Raised by every change; for long polls.
    pub sequence: u64,
    /// What the payer should do, e.g. `press_harder`; while it is known. docs/interface.md lists all codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<String>,
    /// The same in words, in the language that the operator has set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_text: Option<String>,
    /// How it ended; when `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why; when `failed`, when nobody came, or when a code that was to be handed over at once could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<SessionError>,
    /// First character of the payer's name and stars; when `passed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer_display: Option<String>,
    /// Until when codes can be handed over; when `passed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub pass_expires_at: Option<Timestamp>,
    /// The last hand-over, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handover: Option<Handover>,
    /// What became of it at the till, as soon as the server says so; may still change after `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<TerminalPayment>,
    /// What came of a cancel after the payer had passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelResult>,
    /// When the terminal gives up.
    #[schema(value_type = String, format = DateTime)]
    pub deadline_at: Timestamp,
    /// Stages in microseconds.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub timings: Timings,
}

/// A code that was handed over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Handover {
    /// Names the code without its digits.
    #[schema(value_type = String)]
    pub code_id: PaymentCodeId,
    /// Where it went.
    pub register: RegisterKind,
    /// Whether it went out.
    pub state: HandoverState,
    /// Why not, or why that is not known; when `failed` or `uncertain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureCode>,
    /// The same for people who look after the terminal, in English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The 18 digits, for as long as the code lives and is not replaced; with a hand-over to `return` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digits: Option<String>,
    /// Until when the code lives.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handover({}, {}, {})", self.code_id, self.register.as_str(), self.state.as_str())
    }
}

/// `POST /v1/verifications/{id}/handover`: asks the server for the code now and hands it over. Again: a new code,
/// the earlier one is revoked.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandoverRequest {
    /// Another register than the request named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<RegisterKind>,
    /// Shorter life than configured, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u32>,
    /// The same code once more, while it lives: no new one is asked for.
    #[serde(default)]
    pub resend: bool,
}

/// `POST /v1/handover`, the terminal's button: hands over the code of the payer who has passed; the same code again while it
/// lives.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CurrentHandover {
    /// Another register than the request named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<RegisterKind>,
}

/// `POST /v1/verifications/{id}/confirmation`: the payer agrees to merchant and exact amount of the session's
/// `payment`. For the terminal's own screen; a cash register never sees a PIN.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// The PIN as typed; absent: a gesture on the screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Secret>,
}

/// `POST /v1/verifications/{id}/cancel`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Who cancelled.
    pub reason: CancelReason,
}

/// Who cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The cashier.
    Cashier,
    /// The payer.
    Payer,
    /// The register's software is being ended.
    PosShutdown,
}

/// What came of a cancel after the payer had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelResult {
    /// Nothing was paid, and nothing will be: its code, if there was one, is revoked.
    InTime,
    /// A payment had come of it already. Take it back by a reversal.
    TooLate,
}

/// `GET /v1/events`: the whole terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Board {
    /// The terminal.
    pub terminal: TerminalStatus,
    /// The session that began last; without a code's digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

/// `POST /v1/prepare`: the till expects a payer soon, for example because the first item was scanned.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Prepare {}

/// `GET /v1/terminal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalStatus {
    /// The terminal.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
    /// Whether a request would be taken now.
    pub state: TerminalState,
    /// The session whose payment waits for the payer here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to_confirm: Option<SessionId>,
    /// What it can capture.
    #[schema(value_type = Vec<String>)]
    pub modalities: Vec<Modality>,
    /// Ways to the register that are configured.
    pub registers: Vec<RegisterOffer>,
    /// Software version.
    pub version: String,
    /// What keeps it from its work: stable codes, those that weigh most first.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// Whether the payment server is there: the channel to it is open.
    #[serde(default)]
    pub server_reachable: bool,
    /// How far this machine's clock is ahead of the server's, in milliseconds, as measured last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_ms: Option<i64>,
    /// While `maintenance`, or locked in the middle of one: what the operator says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// Whence it has its configuration.
    #[serde(default)]
    pub configuration_source: ConfigurationSource,
}

/// Whether a terminal would take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TerminalState {
    /// Yes.
    Ready,
    /// A payer is being verified.
    Busy,
    /// Something here must be seen to, see `reasons`.
    Degraded,
    /// The payment server does not answer.
    Offline,
    /// The operator lets it take no requests for a while, see `maintenance`.
    Maintenance,
    /// The operator locked or retired this terminal.
    Locked,
}

impl TerminalState {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            TerminalState::Ready => "ready",
            TerminalState::Busy => "busy",
            TerminalState::Degraded => "degraded",
            TerminalState::Offline => "offline",
            TerminalState::Maintenance => "maintenance",
            TerminalState::Locked => "locked",
        }
    }
}
