//! What a desk's capture program offers to the staff's page in a browser on the same machine: samples for an enrolment
//! that the page has opened at the payment server.
//!
//! Nobody gains anything here without the enrolment, whose nonce the server tells the operator only.

use std::fmt;

use selfsame_domain::id::TerminalId;
use selfsame_domain::sensor::Modality;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::enrolment::Enrolment;
use crate::merchant::Secret;
use crate::problem::Problem;

/// `GET /v1/desk`: which desk this is and what it can capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeskStatus {
    /// The terminal, to open enrolments for.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
    /// What it can capture: `finger`, `face`.
    #[schema(value_type = Vec<String>)]
    pub modalities: Vec<Modality>,
    /// Where from, in the same order: `external`, `synthetic`, `browser`, `posted` or `file`. Of `browser` and `posted`
    /// the page brings the frames.
    pub sources: Vec<String>,
}

/// `POST /v1/captures`: take samples and send them. A capture that is going on ends.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCapture {
    /// The enrolment as the server answered it, with its nonce.
    pub enrolment: Enrolment,
}

/// A capture that was begun.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenedCapture {
    /// Sent as `Authorization: Bearer KEY` with all that belongs to this capture: frames, looks, cancel.
    #[schema(value_type = String)]
    pub key: Secret,
    /// Where it stands.
    pub capture: Capture,
}

/// Where a capture stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaptureState {
    /// The person is before camera or reader.
    Capturing,
    /// The samples are on their way to the matcher.
    Sending,
    /// Enrolled: see the enrolment, which may wait for review.
    Enrolled,
    /// The server did not take the samples: see the problem. After `sample_rejected` the same enrolment goes on.
    Refused,
    /// Nobody touched the reader or could be seen in time.
    TimedOut,
    /// Given up by the page, or by a later capture.
    Canceled,
    /// Something of this machine's broke: see the detail of the problem.
    Failed,
}

impl CaptureState {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        !matches!(self, CaptureState::Capturing | CaptureState::Sending)
    }
}

/// `GET /v1/captures/current?after=..&wait_ms=..` (long poll).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Capture {
    /// Raised by every change.
    pub sequence: u64,
    /// Where it stands.
    pub state: CaptureState,
    /// Which sample is being taken, from 1.
    pub number: usize,
    /// How many there will be.
    pub of: usize,
    /// What the person should do: a code of docs/interface.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<String>,
    /// The enrolment, when `enrolled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<Enrolment>,
    /// Why not, when `refused` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capture({:?}, {} of {}, {:?})", self.state, self.number, self.of, self.guidance)
    }
}
