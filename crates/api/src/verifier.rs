//! The inner interface between terminal and verification program, over the site's own Unix socket. The terminal
//! wakes the program; pad and reader bring what the payer gives.

use std::collections::BTreeMap;
use std::fmt;

use selfsame_domain::challenge::Challenge;
use selfsame_domain::id::{SessionId, VerificationId};
use selfsame_domain::sensor::Modality;
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::Identifier;
use crate::failure::SessionError;
use crate::interface::{Outcome, SessionState};
use crate::merchant::Secret;

/// `POST /v1/wake`: verify a payer. Answered at once with the first [`Progress`]; a second wake replaces the first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wake {
    /// The terminal's session.
    pub session: SessionId,
    /// What to capture.
    pub modality: Modality,
    /// What the payer gave, if the register took it.
    pub identifier: Option<Identifier>,
    /// When to give up, in milliseconds from now.
    pub deadline_ms: u64,
    /// A page is open here on which a payer can type number and PIN: whoever is not recognised is asked for them.
    #[serde(default)]
    pub takes_pin: bool,
}

/// `GET /v1/progress?session=..&after=..&wait_ms=..` (long poll): where the program stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The terminal's session.
    pub session: SessionId,
    /// Raised by every change.
    pub sequence: u64,
    /// Where it stands.
    pub state: SessionState,
    /// What the payer should do.
    pub guidance: Option<String>,
    /// What the screen has to show while a face is captured.
    pub challenge: Option<Challenge>,
    /// Until when the payer is waited for, if nothing else happens.
    #[serde(default)]
    pub waits_until: Option<Timestamp>,
    /// How it ended; when `done`.
    pub verdict: Option<Verdict>,
    /// Stages in microseconds.
    pub timings: Timings,
}

/// How the program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Passed, declined, canceled, timed out or failed.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<SessionError>,
    /// The server's verification, if one was opened.
    pub verification: Option<VerificationId>,
    /// First character of the payer's name and stars.
    pub payer_display: Option<String>,
    /// Until when codes can be asked for.
    pub pass_expires_at: Option<Timestamp>,
}

/// `POST /v1/cancel`: stop; the capture device is free when this is answered.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelWake {
    /// The terminal's session.
    pub session: SessionId,
}

/// `POST /v1/identifier`: the pad's digits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PadInput {
    /// What was typed.
    pub identifier: Identifier,
}

/// How a payer is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By what the request asked for.
    Sample,
    /// By the whole identifier and the PIN.
    Pin,
}

/// `POST /v1/way`: the payer would rather be verified in another way.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeWay {
    /// The terminal's session.
    pub session: SessionId,
    /// Which.
    pub way: Way,
}

/// `POST /v1/pin`: number and PIN instead of a sample.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PinInput {
    /// The terminal's session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// `phone` or `member_number`, whole.
    pub identifier: Identifier,
    /// As typed.
    pub pin: Secret,
}

/// `POST /v1/more-time`: what is waited for begins anew.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoreTime {
    /// The terminal's session.
    pub session: SessionId,
    /// How much was granted on top of the deadline so far, in milliseconds.
    pub granted_ms: u64,
}

/// Where a page reaches the verification program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PageAddress {
    /// For example `http://127.0.0.1:8703`.
    pub url: String,
    /// What it shows as `Authorization: Bearer TOKEN`; another one after each start.
    pub token: Secret,
}

/// `POST /v1/presses`: a synthetic finger touches the synthetic reader. Test sites only.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticPress {
    /// Names the finger for ever.
    pub finger: u64,
    /// Names the press for ever.
    pub press: u64,
}

/// `GET /v1/camera?after=..&wait_ms=..` (long poll): whether the page has to have its camera on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CameraWish {
    /// Raised by every change.
    pub sequence: u64,
    /// On, or off with its light out.
    pub on: bool,
}

/// `GET /v1/verifier`: whether the program answers and what it can capture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifierStatus {
    /// What it can capture.
    pub modalities: Vec<Modality>,
    /// Kinds of sources, in the order of the modalities: `external`, `synthetic`, `browser`, `posted`, `v4l2` or `file`.
    pub sources: Vec<String>,
    /// Counters since it started: samples taken, sessions ended by outcome.
    pub counters: BTreeMap<String, u64>,
    /// The camera that the program opens itself, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraStatus>,
    /// Where a page reaches it, if one may.
    #[serde(default)]
    pub page: Option<PageAddress>,
}

macro_rules! camera_states {
    // `$text` is a token and not a literal, so that the OpenAPI document sees through it.
    ($($name:ident = $text:tt, $fault:literal, $meaning:literal;)*) => {
        /// Where a camera stands that the verification program opens itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum CameraState { $(#[doc = $meaning] #[serde(rename = $text)] $name,)* }

        impl CameraState {
            /// All of them, in the order of the documentation.
            pub const ALL: &[CameraState] = &[$(CameraState::$name,)*];

            /// The stable code on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(CameraState::$name => $text,)* }
            }

            /// Whether nobody can be looked at with it, and somebody must see to it.
            pub fn is_fault(self) -> bool {
                match self { $(CameraState::$name => $fault,)* }
            }

            /// What it means and what to do.
            pub fn meaning(self) -> &'static str {
                match self { $(CameraState::$name => $meaning,)* }
            }
        }
    };
}

camera_states! {
    Off = "off", false, "Closed, its light is out: nobody is to be looked at.";
    Opening = "opening", false, "Being opened.";
    On = "on", false, "Open, and frames come.";
    Missing = "missing", true, "There is no such device: plug it in, or set `device` in section [camera].";
    Busy = "busy", true, "Another program uses it: close that one.";
    Denied = "denied", true, "This program's user may not open it: put the user into the device's group, often `video`.";
    Unsuitable = "unsuitable", true, "It is no camera, or gives no pictures of a kind and size that can be used.";
    Silent = "silent", true, "It is open and gives no frames: plug it in again.";
    Failed = "failed", true, "Its driver reports something else, see `detail`.";
}

impl fmt::Display for CameraState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the camera fares that the verification program opens itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CameraStatus {
    /// Where it stands.
    pub state: CameraState,
    /// What the operating system says, with a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it gave when it was open last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "MJPG 1280x720")]
    pub format: Option<String>,
    /// Frames since the program started.
    pub frames: u64,
}

/// `POST /v1/frames?at_ms=..` with a JPEG body (`image/jpeg`): the camera's page offers a frame. `at_ms` counts from the
/// page's first frame, with a challenge from the moment that its first colour came up. Answered with this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FrameAnswer {
    /// The frame was good enough to be kept.
    pub kept: bool,
    /// Enough is there: send no more.
    pub enough: bool,
    /// What the payer should do, e.g. `too_far`.
    pub guidance: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_a_camera_are_distinct_and_read_as_they_are_written() {
        let mut seen = std::collections::HashSet::new();
        for state in CameraState::ALL {
            assert!(seen.insert(state.as_str()), "{state} twice");
            assert_eq!(serde_json::to_string(state).unwrap(), format!("\"{state}\""));
        }
    }
}
