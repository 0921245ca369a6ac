//! Enrolment at a desk: samples of one finger, sealed and signed like those of a till.

use std::time::Duration;

use selfsame_api::client::ClientError;
use selfsame_api::enrolment::Enrolment;
use selfsame_api::sealing::{FrameContext, SealError, SealedFrame, seal};
use selfsame_api::terminal::MatcherKey;
use selfsame_api::verification::Samples;
use selfsame_domain::enrolment::{Pose, Turn, next_turn};
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::timing::Timings;

use crate::capture::{CaptureError, CaptureSource, SampleFrame};
use crate::device::{DeviceIdentity, ServerLink};

/// Longest wait for extraction and the search for duplicates.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a person may take for one sample.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why there are no samples.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Nobody came.
    #[error("nobody touched the reader or looked into the camera within a minute")]
    TimedOut,
    /// Reader or camera failed.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

/// Takes so many samples of one person. `tell` hears the number of the sample, from 1, and what the person should do.
pub async fn take_samples(
    source: &CaptureSource,
    wanted: usize,
    tell: impl Fn(usize, &'static str) + Send + Sync,
) -> Result<Vec<SampleFrame>, TakeError> {
    tokio::select! {
        samples = take_each(source, wanted, tell) => samples,
        () = source.keep_on() => Err(CaptureError::GivenUp.into()),
    }
}

async fn take_each(
    source: &CaptureSource,
    wanted: usize,
    tell: impl Fn(usize, &'static str) + Send + Sync,
) -> Result<Vec<SampleFrame>, TakeError> {
    let mut samples = Vec::with_capacity(wanted);
    let mut taken: Vec<Pose> = Vec::new();
    for number in 1..=wanted {
        tell(
            number,
            match source.modality() {
                Modality::Finger => "no_finger",
                Modality::Face => next_turn(&taken).map_or("no_face", Turn::as_str),
            },
        );
        let guide = |guidance: Option<&'static str>| {
            if let Some(guidance) = guidance {
                tell(number, guidance);
            }
        };
        let capture = source.capture_for_enrolment(&taken, guide);
        let captured =
            tokio::time::timeout(SAMPLE_TIMEOUT, capture).await.map_err(|_| TakeError::TimedOut)??;
        // Of a face one frame is enrolled per pose: the best, which comes first.
        let best = captured.into_iter().next();
        taken.extend(best.as_ref().and_then(|frame| frame.pose));
        samples.extend(best);
    }
    Ok(samples)
}

/// Why nobody was enrolled.
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
