//! Step 2 of the method at the payment server: open a verification with the identifier, send sealed samples, get
//! the verdict.

use selfsame_domain::challenge::Challenge;
use selfsame_domain::id::{TerminalId, VerificationId};
use selfsame_domain::reference::Reference;
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;
use selfsame_domain::verification::{Fault, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::Identifier;
use crate::bytes::Bytes;
use crate::merchant::Secret;
use crate::sealing::SealedFrame;

/// Most frames in one submission: a challenge of six colours with a frame before and after.
pub const FRAMES_MAX: usize = 8;

/// Fewest frames of a face from a camera: one is compared, and attack detection looks at three.
pub const FACE_FRAMES_MIN: usize = 3;

/// `POST /v1/verifications` (signed by the terminal): selects the candidates of the identifier. Ends the pass of
/// the payer before, if there is one. No frame may be sent unless the state is `capturing`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVerification {
    /// The terminal's own reference: the same again answers the same verification.
    #[schema(value_type = String)]
    pub request_ref: Reference,
    /// What will be captured.
    #[schema(value_type = String, example = "finger")]
    pub modality: Modality,
    /// How it will be captured.
    #[schema(value_type = String, example = "finger")]
    pub sensor_grade: SensorGrade,
    /// What the payer typed.
    pub identifier: Identifier,
}

/// `POST /v1/pin-verifications` (signed by the terminal): the payer gives the whole identifier and the PIN instead of a
/// sample. Passes at once or fails; a pass is one like any other. Ends what this terminal had open before.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPinVerification {
    /// The terminal's own reference: the same again answers the same verification, and costs no further try.
    #[schema(value_type = String)]
    pub request_ref: Reference,
    /// What the payer was asked for and did not want to give, or could not.
    #[schema(value_type = String, example = "face")]
    pub instead_of: Modality,
    /// `phone` or `member_number`, whole.
    pub identifier: Identifier,
    /// The PIN as typed.
    pub pin: Secret,
}

/// `POST /v1/verifications/{id}/samples` and `POST /v1/enrolments/{id}/samples` (signed by the terminal): frames
/// sealed to the matcher. The nonce is good for one submission.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// The server's nonce of this verification or enrolment.
    #[schema(value_type = String)]
    pub nonce: Bytes,
    /// What was captured.
    #[schema(value_type = String, example = "finger")]
    pub modality: Modality,
    /// How it was captured; authenticated together with the frames.
    #[schema(value_type = String, example = "finger")]
    pub sensor_grade: SensorGrade,
    /// The sealed frames, in the order of capture.
    pub frames: Vec<SealedFrame>,
    /// The terminal's stages so far, in microseconds.
    #[schema(value_type = BTreeMap<String, u64>)]
    #[serde(default)]
    pub timings: Timings,
}

/// A verification as its terminal sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// The verification.
    #[schema(value_type = String)]
    pub id: VerificationId,
    /// The terminal.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
    /// How the sample has to be taken; above what the terminal offered if the server set a challenge.
    #[schema(value_type = String, example = "rgb")]
    pub sensor_grade: SensorGrade,
    /// What to light the payer's face with while the frames are taken; while `capturing`, if the server asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FlashChallenge>)]
    pub challenge: Option<Challenge>,
    /// `capturing`, `passed`, `failed` or `ended`.
    #[schema(value_type = String, example = "capturing")]
    pub state: State,
    /// How the last sample ended, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// The nonce for the next samples; while `capturing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub nonce: Option<Bytes>,
    /// Usable samples that may still be sent; while `capturing`.
    pub attempts_left: u32,
    /// First character of the payer's name and stars; when `passed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "A***")]
    pub payer_display: Option<String>,
    /// A payment came of one of its codes; told when it is ended.
    #[serde(default)]
    pub paid: bool,
    /// Until when this state lasts: frames are awaited, or codes may be asked for.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Stages in microseconds, the terminal's and the matcher's.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub timings: Timings,
}

/// Colours that the screen shows one after the other, each for `step_ms` milliseconds.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `domain::challenge::Challenge` in the OpenAPI document")]
pub struct FlashChallenge {
    /// `red`, `green` or `blue`.
    #[schema(example = json!(["green", "red", "blue", "blue", "red", "green"]))]
    colours: Vec<String>,
    /// How long each stands, in milliseconds.
    #[schema(example = 420)]
    step_ms: u32,
}

/// How a sample ended. The three kinds are never mixed: a retry costs nothing but time, a decision counts, a fault
/// is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ending {
    /// The sample cannot be used; guidance for the payer.
    Retry {
        /// For example `press_harder`.
        reason: String,
    },
    /// The comparison decided.
    Decision {
        /// `match`, `no_match`, `ambiguous` or `attack`. An unknown identifier reads `no_match`.
        decision: Decision,
    },
    /// Something of ours broke.
    Fault {
        /// For example `matcher_unavailable`.
        #[schema(value_type = String, example = "matcher_unavailable")]
        fault: Fault,
    },
}

/// What the comparison said, without saying about whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Recognised.
    Match,
    /// Not recognised.
    NoMatch,
    /// More digits are needed.
    Ambiguous,
    /// Attack detection refused the sample.
    Attack,
}

impl From<selfsame_domain::verification::Decision> for Decision {
    fn from(decision: selfsame_domain::verification::Decision) -> Self {
        use selfsame_domain::verification::Decision as Domain;
        match decision {
            Domain::Match(_) => Decision::Match,
            Domain::NoMatch => Decision::NoMatch,
            Domain::Ambiguous => Decision::Ambiguous,
            Domain::Attack => Decision::Attack,
        }
    }
}
