//! The payer's page, which the terminal serves on a loopback port of its own: what it shows, and what the payer does
//! there. Only the one page that was opened with a key of this terminal may call this.

use selfsame_domain::challenge::Challenge;
use selfsame_domain::id::{SessionId, TerminalId};
use selfsame_domain::money::Amount;
use selfsame_domain::sensor::Modality;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::Identifier;
use crate::channel::Place;
use crate::configuration::Language;
use crate::failure::FailureCode;
use crate::interface::{CancelResult, Outcome, RegisterKind, SessionState, TerminalState};
use crate::merchant::Secret;
use crate::payment::{Money, PaymentStatus};
use crate::register::HandoverState;
use crate::verification::FlashChallenge;
use crate::verifier::{PageAddress, Way};

/// How long a key for opening the page is good, in milliseconds: as long as a browser takes to start on a slow machine.
pub const KIOSK_KEY_MS: u64 = 60_000;

/// How much more time a payer gets who asks for it, in milliseconds.
pub const MORE_TIME_MS: u64 = 30_000;

/// `POST /v1/kiosk-keys` on the terminal's socket: a key with which one browser can be made this terminal's page.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KioskKey {
    /// What the browser opens. The key is behind the `#`: it is never sent when the page is loaded.
    pub url: Secret,
    /// How long the key is good, in milliseconds; it opens once.
    pub expires_in_ms: u64,
}

/// `POST /v1/kiosk/open`: makes the browser that asks this terminal's page; the one before is none any more. Answered
/// with a cookie that scripts cannot read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KioskOpening {
    /// The key.
    pub key: Secret,
}

/// `GET /v1/kiosk/events`: everything that the page shows, now and after every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KioskView {
    /// The terminal.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
    /// Whether it would take a request now.
    pub state: TerminalState,
    /// While it is in maintenance, what the operator says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// The language that the operator has set; the payer may change it.
    pub language: Language,
    /// Whose terminal this is; unknown until the server has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What can be captured here.
    #[schema(value_type = Vec<String>)]
    pub modalities: Vec<Modality>,
    /// The camera is the terminal's own: the page has no picture of it to show.
    pub has_own_camera: bool,
    /// Where the camera's frames go, and when it has to be on: to the verification program, and through nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<PageAddress>,
    /// The payer who is there, or was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<KioskSession>,
}

/// What the page shows of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KioskSession {
    /// The session.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// What is captured.
    #[schema(value_type = String, example = "face")]
    pub modality: Modality,
    /// Where it stands.
    pub state: SessionState,
    /// What the payer should do; a code of docs/interface.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<String>,
    /// What to light the face with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FlashChallenge>)]
    pub challenge: Option<Challenge>,
    /// Until when the payer is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waits_until: Option<Timestamp>,
    /// Whether the payer may have more time.
    pub may_have_more_time: bool,
    /// How it ended; when `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why; when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureCode>,
    /// First character of the payer's name and stars; when passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_display: Option<String>,
    /// Until when a code can be handed over; when passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub pass_expires_at: Option<Timestamp>,
    /// Whether the code is handed over when somebody presses the button here.
    pub hand_over_here: bool,
    /// The last hand-over, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<KioskHandover>,
    /// What became of it at the till.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<KioskPayment>,
    /// What came of a cancel after the payer had passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelResult>,
}

/// A code that was handed over; never its digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KioskHandover {
    /// Where it went. `screen`: the page shows its picture, `GET /v1/kiosk/code.png`.
    pub register: RegisterKind,
    /// Whether it went out.
    pub state: HandoverState,
    /// Until when the code lives.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// What became of a code at the till.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KioskPayment {
    /// Where it stands. `requires_action`: the payer must agree.
    pub status: PaymentStatus,
    /// Who charged.
    pub merchant_name: String,
    /// How much.
    #[schema(value_type = Money)]
    pub amount: Amount,
    /// Until when the payer may agree; while `requires_action`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether a gesture is enough to agree; else only the PIN is.
    pub gesture_confirms: bool,
    /// All of it went back to the payer.
    pub returned: bool,
    /// Until when the payer may take it back here, if that is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub undo_until: Option<Timestamp>,
    /// Whether the payer may ask for it back here, for the merchant or the operator to decide.
    pub may_ask_back: bool,
    /// The payer has asked for it back, and nobody has decided yet.
    pub asked_back: bool,
}

/// Names the session that the page showed when the payer acted, so that nobody acts for the next payer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfSession {
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
}

/// `POST /v1/kiosk/identifier`: what the payer typed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KioskIdentifier {
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// What was typed.
    pub identifier: Identifier,
}

/// `POST /v1/kiosk/way`: the payer would rather be verified in another way, or in the first one after all.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KioskWay {
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// Which.
    pub way: Way,
}

/// `POST /v1/kiosk/confirmation`: the payer agrees to merchant and exact amount of the payment that waits.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KioskConfirmation {
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// The PIN as typed; absent: a gesture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Secret>,
}
