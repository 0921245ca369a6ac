//! Samples against the templates of the candidates.

use std::collections::BTreeMap;
use std::time::Instant;

use selfsame_api::matcher::{
    ComparisonRequest, ComparisonResponse, Probe as WireProbe, SealedTemplate, TEMPLATES_MAX, WrappedKey,
};
use selfsame_domain::id::AccountId;
use selfsame_domain::timing::{Stage, Timings};
use selfsame_domain::verification::Fault;
use zeroize::Zeroizing;

use crate::algorithm::{Algorithm, Probe, Samples, Unusable};
use crate::template::Keyring;
use crate::{Matcher, frame};

/// Compares. Never fails as a whole: what goes wrong is an answer of its own kind.
pub(crate) fn compare(matcher: &Matcher, request: &ComparisonRequest) -> ComparisonResponse {
    let unavailable = ComparisonResponse::Fault { fault: Fault::MatcherUnavailable };
    let Some(algorithm) = matcher.algorithms.of(request.modality) else {
        tracing::error!(modality = %request.modality, "no algorithm for this modality: is its model pack missing?");
        return unavailable;
    };
    let mut timings = Timings::default();
    let probe = match prepare(matcher, algorithm, request, &mut timings) {
        Ok(probe) => probe,
        Err(Unusable::Rejected { reason, .. }) => {
            return ComparisonResponse::Rejected { reason: reason.to_owned(), timings };
        }
        Err(Unusable::Fault(fault)) => return ComparisonResponse::Fault { fault },
    };
    if request.candidates.len() > TEMPLATES_MAX {
        tracing::error!(templates = request.candidates.len(), "more candidates than a request may have");
        return unavailable;
    }
    let started = Instant::now();
    let Some((scores, compared)) = score_all(matcher, algorithm, &*probe.samples, request) else {
        return unavailable;
    };
    timings.add(Stage::Comparison, started.elapsed());
    let comparisons = u32::try_from(compared * probe.samples.count()).unwrap_or(u32::MAX);
    let calibration = algorithm.description().calibration.clone();
    ComparisonResponse::Compared { scores, comparisons, calibration, attack: probe.attack, timings }
}

fn prepare(
    matcher: &Matcher,
    algorithm: &dyn Algorithm,
    request: &ComparisonRequest,
    timings: &mut Timings,
) -> Result<Probe, Unusable> {
    match &request.probe {
        WireProbe::Frames { context, frames, challenge } => {
            if context.modality != request.modality {
                return Err(Unusable::Fault(Fault::SealBroken));
            }
            let opened = frame::open(&matcher.opening, context, frames, timings)?;
            algorithm.probe(&opened, challenge.as_ref(), timings)
        }
        WireProbe::Templates { templates, key } => {
            let samples =
                of_templates(matcher, algorithm, templates, key).ok_or(Fault::MatcherUnavailable)?;
            Ok(Probe { samples, attack: None })
        }
    }
}

fn of_templates(
    matcher: &Matcher,
    algorithm: &dyn Algorithm,
    templates: &[SealedTemplate],
    key: &WrappedKey,
) -> Option<Box<dyn Samples>> {
    let keyring = Keyring::open(&matcher.template, std::slice::from_ref(key)).ok()?;
    let decrypted: Vec<Zeroizing<Vec<u8>>> =
        templates.iter().map(|template| keyring.decrypt(template).ok()).collect::<Option<_>>()?;
    algorithm.probe_of_templates(&decrypted)
}

/// Best score of each account, and the number of templates compared. `None` if a template does not open: its key or
/// its content is wrong, and then no answer about anybody can be trusted.
fn score_all(
    matcher: &Matcher,
    algorithm: &dyn Algorithm,
    samples: &dyn Samples,
    request: &ComparisonRequest,
) -> Option<(BTreeMap<AccountId, u16>, usize)> {
    let keyring = Keyring::open(&matcher.template, &request.keys);
    let keyring =
        keyring.inspect_err(|error| tracing::error!(%error, "a template key does not open")).ok()?;
    let description = algorithm.description();
    let mut scores = BTreeMap::new();
    let mut compared = 0;
    for sealed in &request.candidates {
        if sealed.algorithm != description.name || sealed.version != description.version {
            continue;
        }
        let score = keyring.decrypt(sealed).ok().and_then(|template| samples.score(&template));
        let Some(score) = score else {
            tracing::error!(template.id = %sealed.template, "a template does not open");
            return None;
        };
        let best = scores.entry(sealed.account).or_default();
        *best = score.max(*best);
        compared += 1;
    }
    Some((scores, compared))
}
