//! Enrolment at a desk: with a consent in force, several samples of one finger or face become templates.

use std::ops::RangeInclusive;

pub use selfsame_domain::enrolment::EnrolmentState;
use selfsame_domain::enrolment::POSES_MIN;
use selfsame_domain::id::{AccountId, ConsentId, EnrolmentId, TerminalId};
use selfsame_domain::sensor::Modality;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bytes::Bytes;

/// Fewest and most samples of an enrolment: two presses make up for one that lies badly; of a face as many poses are
/// wanted as [`selfsame_domain::enrolment::POSES_MIN`] says.
pub fn enrolment_samples(modality: Modality) -> RangeInclusive<usize> {
    match modality {
        Modality::Finger => 2..=5,
        Modality::Face => POSES_MIN..=5,
    }
}

/// `POST /v1/enrolments` (operator): opens an enrolment that one desk terminal may send samples to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnrolment {
    /// Who is enrolled.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// The consent in force that allows it.
    #[schema(value_type = String)]
    pub consent: ConsentId,
    /// The desk terminal that will capture.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
    /// What will be captured.
    #[schema(value_type = String, example = "finger")]
    pub modality: Modality,
    /// Which one of several: finger position 1 (right thumb) to 10 (left little finger) by ISO/IEC 19794-2, 0 if
    /// unknown or if there is only one.
    #[serde(default)]
    pub instance: u8,
}

/// An enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Enrolment {
    /// The enrolment.
    #[schema(value_type = String)]
    pub id: EnrolmentId,
    /// Who is enrolled.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// The consent that allows it.
    #[schema(value_type = String)]
    pub consent: ConsentId,
    /// What is captured.
    #[schema(value_type = String, example = "finger")]
    pub modality: Modality,
    /// Which one of several.
    pub instance: u8,
    /// `capturing`, `review` (somebody enrolled looks much alike: staff decide), `active` or `revoked`.
    #[schema(value_type = String, example = "capturing")]
    pub state: EnrolmentState,
    /// The nonce for the samples; while `capturing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub nonce: Option<Bytes>,
    /// Until when samples are awaited.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Templates stored; when `active`.
    pub templates: u32,
}

/// `GET /v1/accounts/{id}/enrolments` (operator).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Enrolments {
    /// The latest, newest first, without nonces.
    pub data: Vec<Enrolment>,
}
