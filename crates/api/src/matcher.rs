//! The inner interface between server and matcher, over the site's own Unix socket. The server hands over sealed
//! frames and encrypted templates that it can read neither of; the matcher answers scores.

use std::collections::BTreeMap;

use selfsame_domain::challenge::Challenge;
use selfsame_domain::enrolment::Pose;
use selfsame_domain::id::{AccountId, TemplateId};
use selfsame_domain::sensor::Modality;
use selfsame_domain::timing::Timings;
use selfsame_domain::verification::AttackEvidence;
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::sealing::{FrameContext, SealedFrame};
use crate::terminal::MatcherKey;

/// Most templates in one comparison request: 256 candidates with the most templates that an enrolment makes.
pub const TEMPLATES_MAX: usize = 256 * 5;

/// `GET /v1/matcher`: who answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Matcher {
    /// Frames are sealed to this key.
    pub key: MatcherKey,
    /// What it can compare.
    pub algorithms: Vec<Algorithm>,
}

/// One algorithm of the matcher with its calibration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Algorithm {
    /// What it compares.
    pub modality: Modality,
    /// Name of the algorithm or model. Templates of another one are never compared.
    pub name: String,
    /// Its version.
    pub version: u16,
    /// Thresholds by false match rate, measured.
    pub calibration: Vec<CalibrationPoint>,
}

/// See [`selfsame_domain::verification::CalibrationPoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationPoint {
    /// False match rate of one comparison, parts per billion.
    pub fmr_ppb: u32,
    /// Score from which on it is a match.
    pub threshold: u16,
}

/// A template as stored: encrypted under a key of its account, which is wrapped by the matcher's own key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedTemplate {
    /// The template.
    pub template: TemplateId,
    /// Whose it is; authenticated by the encryption.
    pub account: AccountId,
    /// Which finger or other instance.
    pub instance: u8,
    /// Name of the algorithm that made it.
    pub algorithm: String,
    /// Version of that algorithm.
    pub version: u16,
    /// Nonce and ciphertext.
    pub sealed: Bytes,
}

/// The key of one account's templates, wrapped by the matcher's key-encryption key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedKey {
    /// Whose templates it opens.
    pub account: AccountId,
    /// Nonce and ciphertext.
    pub wrapped: Bytes,
}

/// `POST /v1/extractions`: frames of an enrolment become templates.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractionRequest {
    /// What the frames belong to.
    pub context: FrameContext,
    /// The frames.
    pub frames: Vec<SealedFrame>,
    /// Who is enrolled.
    pub account: AccountId,
    /// Which finger or other instance.
    pub instance: u8,
    /// Ids for the templates, one per frame.
    pub templates: Vec<TemplateId>,
    /// The account's key if it has one already; else the matcher makes one.
    pub key: Option<WrappedKey>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExtractionResponse {
    /// Every frame became a template, and all of them show the same finger or face.
    Extracted {
        /// The templates, in the order of the frames.
        templates: Vec<SealedTemplate>,
        /// Quality of each, 0 to 100.
        qualities: Vec<u8>,
        /// How the head is held in each; empty for modalities that have no head.
        poses: Vec<Pose>,
        /// What attack detection saw; absent for modalities that have none.
        attack: Option<AttackEvidence>,
        /// The key they are encrypted under.
        key: WrappedKey,
    },
    /// A frame cannot be used.
    Rejected {
        /// Which frame, from 0.
        frame: usize,
        /// Guidance, e.g. `press_harder`, `different_finger`.
        reason: String,
    },
    /// The frames could not be opened or decoded.
    Fault {
        /// Why.
        fault: selfsame_domain::verification::Fault,
    },
}

/// What is compared with the candidates.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Probe {
    /// Frames from a terminal.
    Frames {
        /// What they belong to.
        context: FrameContext,
        /// The frames. Of a face the first usable one is compared; of a finger all are. The others show whether a face
        /// is alive.
        frames: Vec<SealedFrame>,
        /// What the payer's face was lit with, if the server asked for that.
        challenge: Option<Challenge>,
    },
    /// Templates just extracted, for the search for duplicates.
    Templates {
        /// The templates.
        templates: Vec<SealedTemplate>,
        /// Their key.
        key: WrappedKey,
    },
}

/// `POST /v1/comparisons`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonRequest {
    /// Faces or fingers.
    pub modality: Modality,
    /// What is compared.
    pub probe: Probe,
    /// With whom; at most [`TEMPLATES_MAX`].
    pub candidates: Vec<SealedTemplate>,
    /// Their keys, one per account.
    pub keys: Vec<WrappedKey>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ComparisonResponse {
    /// Every candidate was compared.
    Compared {
        /// Best score of each account.
        scores: BTreeMap<AccountId, u16>,
        /// Comparisons made: templates times samples.
        comparisons: u32,
        /// Thresholds of the algorithm that compared.
        calibration: Vec<CalibrationPoint>,
        /// What attack detection saw; absent for modalities that have none.
        attack: Option<AttackEvidence>,
        /// Stages in microseconds.
        timings: Timings,
    },
    /// No frame can be used.
    Rejected {
        /// Guidance of the best frame.
        reason: String,
        /// Stages in microseconds.
        timings: Timings,
    },
    /// The frames could not be opened or decoded, or a template not decrypted.
    Fault {
        /// Why.
        fault: selfsame_domain::verification::Fault,
    },
}
