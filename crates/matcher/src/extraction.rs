//! Frames of an enrolment become templates.

use selfsame_api::matcher::{ExtractionRequest, ExtractionResponse, SealedTemplate, WrappedKey};
use selfsame_domain::envelope::SubjectKey;
use selfsame_domain::timing::Timings;
use selfsame_domain::verification::Fault;

use crate::algorithm::{Enrolled, Unusable};
use crate::template::{new_key, seal, unwrap_key};
use crate::{Matcher, frame};

/// Extracts every frame; all must be usable and show the same finger or face.
pub(crate) fn extract(matcher: &Matcher, request: &ExtractionRequest) -> ExtractionResponse {
    match try_extract(matcher, request) {
        Ok(response) => response,
        Err(Unusable::Rejected { frame, reason }) => {
            ExtractionResponse::Rejected { frame, reason: reason.to_owned() }
        }
        Err(Unusable::Fault(fault)) => ExtractionResponse::Fault { fault },
    }
}

fn try_extract(matcher: &Matcher, request: &ExtractionRequest) -> Result<ExtractionResponse, Unusable> {
    let modality = request.context.modality;
    let algorithm =
        matcher.algorithms.of(modality).filter(|_| request.templates.len() == request.frames.len());
    let algorithm = algorithm.ok_or_else(|| {
        tracing::error!(%modality, "an extraction request that this matcher cannot answer");
        Fault::MatcherUnavailable
    })?;
    let opened = frame::open(&matcher.opening, &request.context, &request.frames, &mut Timings::default())?;
    let Enrolled { templates, qualities, poses, attack } =
        algorithm.enrol(&opened, request.context.sensor_grade)?;
    let (key, wrapped) = account_key(matcher, request)?;
    let description = algorithm.description();
    let named = (description.name.as_str(), description.version);
    let templates: Vec<SealedTemplate> = templates
        .iter()
        .zip(&request.templates)
        .map(|(bytes, id)| seal(&key, *id, request.account, request.instance, named, bytes))
        .collect();
    Ok(ExtractionResponse::Extracted { templates, qualities, poses, attack, key: wrapped })
}

fn account_key(matcher: &Matcher, request: &ExtractionRequest) -> Result<(SubjectKey, WrappedKey), Fault> {
    match &request.key {
        None => Ok(new_key(&matcher.template, request.account)),
        Some(key) if key.account == request.account => {
            let opened = unwrap_key(&matcher.template, key).map_err(|_| Fault::MatcherUnavailable)?;
            Ok((opened, key.clone()))
        }
        Some(_) => Err(Fault::MatcherUnavailable),
    }
}
