//! Enrolment at a desk: samples of one finger, sealed and signed like those of a till.

use std::time::Duration;

use selfsame_api::client::ClientError;
use selfsame_api::enrolment::Enrolment;
use selfsame_api::sealing::{FrameContext, SealError, SealedFrame, seal};
use selfsame_api::terminal::MatcherKey;
use selfsame_api::verification::Samples;
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::timing::Timings;

use crate::capture::SampleFrame;
use crate::device::{DeviceIdentity, ServerLink};

/// Longest wait for extraction and the search for duplicates.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why the samples were not taken.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The server refused, or does not answer.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// The frames could not be sealed: this machine's activation is damaged.
    #[error("the samples could not be sealed")]
    Seal(#[from] SealError),
    /// The enrolment does not wait for samples.
    #[error("this enrolment does not wait for samples")]
    NotOpen,
}

/// Seals frames in the order of capture.
pub(crate) fn seal_all(
    key: &MatcherKey,
    context: &FrameContext,
    frames: &[SampleFrame],
) -> Result<Vec<SealedFrame>, SealError> {
    frames.iter().enumerate().map(|(index, frame)| seal(key, context, index, frame.wire())).collect()
}

/// Sends the samples of an enrolment that the operator opened for this desk. Answers it with its new state.
pub async fn submit_enrolment(
    identity: &DeviceIdentity,
    link: &ServerLink,
    enrolment: &Enrolment,
    sensor_grade: SensorGrade,
    frames: &[SampleFrame],
) -> Result<Enrolment, EnrolError> {
    let nonce = enrolment.nonce.clone().ok_or(EnrolError::NotOpen)?;
    let context = FrameContext {
        terminal: identity.terminal.terminal,
        session: enrolment.id.to_string(),
        nonce: nonce.clone(),
        modality: enrolment.modality,
        sensor_grade,
    };
    let frames = seal_all(&identity.terminal.matcher_key, &context, frames)?;
    let body =
        Samples { nonce, modality: enrolment.modality, sensor_grade, frames, timings: Timings::default() };
    Ok(link.post(&format!("/v1/enrolments/{}/samples", enrolment.id), &body, TIMEOUT).await?)
}
