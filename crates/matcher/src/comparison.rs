//! Samples against the templates of the candidates.

use std::collections::BTreeMap;
use std::time::Instant;

use selfsame_api::matcher::{
    ComparisonRequest, ComparisonResponse, Probe, SealedTemplate, TEMPLATES_MAX, WrappedKey,
};
use selfsame_api::sealing::{FrameContext, SealedFrame};
use selfsame_biometrics::finger::{Prepared, Rejection, Template, extract};
use selfsame_domain::id::AccountId;
use selfsame_domain::sensor::Modality;
use selfsame_domain::timing::{Stage, Timings};
use selfsame_domain::verification::Fault;

use crate::template::Keyring;
use crate::{Keys, finger, frame};

/// Why samples could not be prepared.
enum Unprepared {
    Rejected(Rejection),
    Fault(Fault),
}

/// Compares. Never fails as a whole: what goes wrong is an answer of its own kind.
pub(crate) fn compare(keys: &Keys, request: &ComparisonRequest) -> ComparisonResponse {
    let mut timings = Timings::default();
    let prepared = match &request.probe {
        Probe::Frames { context, frames } => from_frames(keys, context, frames, &mut timings),
        Probe::Templates { templates, key } => {
            from_templates(keys, templates, key).map_err(Unprepared::Fault)
        }
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(Unprepared::Rejected(rejection)) => {
            return ComparisonResponse::Rejected { reason: rejection.code().to_owned(), timings };
        }
        Err(Unprepared::Fault(fault)) => return ComparisonResponse::Fault { fault },
    };
    if request.candidates.len() > TEMPLATES_MAX {
        tracing::error!(templates = request.candidates.len(), "more candidates than a request may have");
        return ComparisonResponse::Fault { fault: Fault::MatcherUnavailable };
    }
    let started = Instant::now();
    let Some((scores, compared)) = score_all(keys, &prepared, request) else {
        return ComparisonResponse::Fault { fault: Fault::MatcherUnavailable };
    };
    timings.add(Stage::Comparison, started.elapsed());
    let comparisons = u32::try_from(compared * prepared.samples()).unwrap_or(u32::MAX);
    ComparisonResponse::Compared { scores, comparisons, calibration: finger::thresholds(), timings }
}

fn from_frames(
    keys: &Keys,
    context: &FrameContext,
    frames: &[SealedFrame],
    timings: &mut Timings,
) -> Result<Prepared, Unprepared> {
    if context.modality != Modality::Finger {
        tracing::error!(modality = %context.modality, "no algorithm for this modality");
        return Err(Unprepared::Fault(Fault::MatcherUnavailable));
    }
    let images = frame::open(&keys.opening, context, frames, timings).map_err(Unprepared::Fault)?;
    let started = Instant::now();
    let mut templates = Vec::new();
    let mut rejection = Rejection::NoFinger;
    for image in &images {
        match extract(image) {
            Ok(extracted) => templates.push(extracted.template),
            Err(reason) => rejection = reason,
        }
    }
    timings.add(Stage::Extraction, started.elapsed());
    // One usable sample is enough; the last reason stands for all if there is none.
    if templates.is_empty() { Err(Unprepared::Rejected(rejection)) } else { Ok(Prepared::new(templates)) }
}

fn from_templates(keys: &Keys, templates: &[SealedTemplate], key: &WrappedKey) -> Result<Prepared, Fault> {
    let open = || {
        let keyring = Keyring::open(&keys.template, std::slice::from_ref(key)).ok()?;
        let templates = templates.iter().map(|template| open_template(&keyring, template));
        templates.collect::<Option<Vec<_>>>()
    };
    open().map(Prepared::new).ok_or(Fault::MatcherUnavailable)
}

fn open_template(keyring: &Keyring, sealed: &SealedTemplate) -> Option<Template> {
    let bytes = keyring.decrypt(sealed).ok()?;
    Template::from_bytes(&bytes).ok()
}

/// Best score of each account, and the number of templates compared. `None` if a template does not open: its key or
/// its content is wrong, and then no answer about anybody can be trusted.
fn score_all(
    keys: &Keys,
    prepared: &Prepared,
    request: &ComparisonRequest,
) -> Option<(BTreeMap<AccountId, u16>, usize)> {
    let keyring = Keyring::open(&keys.template, &request.keys);
    let keyring =
        keyring.inspect_err(|error| tracing::error!(%error, "a template key does not open")).ok()?;
    let mut scores = BTreeMap::new();
    let mut compared = 0;
    for sealed in &request.candidates {
        if !finger::compares(&sealed.algorithm, sealed.version) {
            continue;
        }
        let Some(template) = open_template(&keyring, sealed) else {
            tracing::error!(template.id = %sealed.template, "a template does not open");
            return None;
        };
        let score = prepared.score(&template).0;
        let best = scores.entry(sealed.account).or_default();
        *best = score.max(*best);
        compared += 1;
    }
    Some((scores, compared))
}
