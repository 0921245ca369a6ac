//! Frames of an enrolment become templates.

use std::num::NonZeroU32;

use selfsame_api::matcher::{ExtractionRequest, ExtractionResponse, SealedTemplate, WrappedKey};
use selfsame_biometrics::finger::{
    ALGORITHM, Extracted, Prepared, Rejection, VERSION, extract as extract_finger,
};
use selfsame_domain::envelope::SubjectKey;
use selfsame_domain::sensor::Modality;
use selfsame_domain::timing::Timings;
use selfsame_domain::verification::{CalibrationPoint, Fault, Policy, Score};

use crate::template::{new_key, seal, unwrap_key};
use crate::{Keys, finger, frame};

/// Extracts every frame; all must be usable and show the same finger.
pub(crate) fn extract(keys: &Keys, request: &ExtractionRequest) -> ExtractionResponse {
    if request.context.modality != Modality::Finger || request.templates.len() != request.frames.len() {
        tracing::error!("an extraction request that this matcher cannot answer");
        return ExtractionResponse::Fault { fault: Fault::MatcherUnavailable };
    }
    let images = match frame::open(&keys.opening, &request.context, &request.frames, &mut Timings::default())
    {
        Ok(images) => images,
        Err(fault) => return ExtractionResponse::Fault { fault },
    };
    let mut extracted: Vec<Extracted> = Vec::with_capacity(images.len());
    for (frame, image) in images.iter().enumerate() {
        match extract_finger(image) {
            Ok(print) => extracted.push(print),
            Err(rejection) => return rejected(frame, rejection),
        }
    }
    if let Some(frame) = foreign_frame(&extracted) {
        return ExtractionResponse::Rejected { frame, reason: "different_finger".to_owned() };
    }
    let (key, wrapped) = match account_key(keys, request) {
        Ok(pair) => pair,
        Err(fault) => return ExtractionResponse::Fault { fault },
    };
    let templates = extracted.iter().zip(&request.templates).map(|(print, id)| {
        let bytes = zeroize::Zeroizing::new(print.template.to_bytes());
        seal(&key, *id, request.account, request.instance, (ALGORITHM, VERSION), &bytes)
    });
    let templates: Vec<SealedTemplate> = templates.collect();
    let qualities = extracted.iter().map(|print| print.quality).collect();
    ExtractionResponse::Extracted { templates, qualities, key: wrapped }
}

fn rejected(frame: usize, rejection: Rejection) -> ExtractionResponse {
    ExtractionResponse::Rejected { frame, reason: rejection.code().to_owned() }
}

fn account_key(keys: &Keys, request: &ExtractionRequest) -> Result<(SubjectKey, WrappedKey), Fault> {
    match &request.key {
        None => Ok(new_key(&keys.template, request.account)),
        Some(key) if key.account == request.account => {
            let opened = unwrap_key(&keys.template, key).map_err(|_| Fault::MatcherUnavailable)?;
            Ok((opened, key.clone()))
        }
        Some(_) => Err(Fault::MatcherUnavailable),
    }
}

/// The first frame that is not the finger of the frame before the rest: a person who changes fingers in the middle
/// would open the account to both. Judged at the threshold of one comparison.
fn foreign_frame(extracted: &[Extracted]) -> Option<usize> {
    let points: Vec<_> = finger::thresholds()
        .iter()
        .map(|point| CalibrationPoint { fmr_ppb: point.fmr_ppb, threshold: Score(point.threshold) })
        .collect();
    let threshold = Policy::DEFAULT.threshold(&points, NonZeroU32::MIN)?;
    let (first, others) = extracted.split_first()?;
    let prepared = Prepared::new(vec![first.template.clone()]);
    let alike = |print: &Extracted| prepared.score(&print.template).0 >= threshold.0;
    others.iter().position(|print| !alike(print)).map(|index| index + 1)
}
