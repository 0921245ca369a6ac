//! What a terminal tells about itself to whoever looks after it. No person, identifier, sample or code is in it.

use std::collections::BTreeMap;

use selfsame_domain::id::{SessionId, TerminalId};
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::failure::FailureCode;
use crate::interface::Outcome;
use crate::verifier::CameraStatus;

/// Sessions that are told of one by one.
pub const LATEST_SESSIONS: usize = 20;

/// `GET /v1/diagnostics`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Diagnostics {
    /// The terminal.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
    /// Software version.
    pub version: String,
    /// How long this process runs, in seconds.
    pub uptime_seconds: u64,
    /// The payment server's address.
    pub server: String,
    /// What the payment server said last over the channel: `active`, `locked`, `retired`; absent while it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
    /// By how much this machine's clock is corrected, in milliseconds.
    pub clock_correction_ms: i64,
    /// The verification program, if it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier: Option<VerifierDiagnostics>,
    /// Sessions of the last 24 hours by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// The latest sessions, newest first.
    pub latest: Vec<SessionDiagnostics>,
    /// Times within which things must happen, in milliseconds.
    pub budgets_ms: BTreeMap<String, u64>,
}

/// The verification program.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerifierDiagnostics {
    /// Kinds of sources.
    pub sources: Vec<String>,
    /// What it counts since it started.
    pub counters: BTreeMap<String, u64>,
    /// The camera that it opens itself, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraStatus>,
    /// How long it took to answer, in microseconds.
    pub answered_us: u64,
}

/// How a session went.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionDiagnostics {
    /// The session; its id carries the time of its beginning.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// When the terminal would have given up.
    #[schema(value_type = String, format = DateTime)]
    pub deadline_at: Timestamp,
    /// How it ended; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it was not concluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureCode>,
    /// Stages in microseconds.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub timings: Timings,
}
