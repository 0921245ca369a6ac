//! Enrolment: a desk terminal sends several samples of one finger or face, the matcher makes templates of them, and
//! nobody may be enrolled twice.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use selfsame_api::bytes::Bytes;
use selfsame_api::enrolment::{Enrolment, Enrolments, NewEnrolment, enrolment_samples};
use selfsame_api::matcher::{
    ComparisonRequest, ComparisonResponse, ExtractionRequest, ExtractionResponse, Probe, SealedTemplate,
    WrappedKey,
};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::sealing::FrameContext;
use selfsame_api::serve::{Json, PathId};
use selfsame_api::verification::Samples;
use selfsame_domain::enrolment::{EnrolmentState, TooFewPoses, check_poses};
use selfsame_domain::id::{AccountId, AttemptId, EnrolmentId, TemplateId};
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::terminal::Purpose;
use selfsame_store::{Attempt, Enrolment as Stored, NewTemplate};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::{Operator, Signed};
use crate::matcher::{self, wire_key, wire_keys, wire_templates};
use crate::refusal::{OrProblem, invalid, not_found};
use crate::verification::{SAMPLES_BODY_BYTES_MAX, check_grade, check_samples, submission_problem};
use crate::{App, AppState, random};

/// How long samples are awaited.
const CAPTURE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Enrolments that are answered of one account: ten fingers, a face, and some that were given up.
const ENROLMENTS_MAX: usize = 40;

/// Templates that one step of the search for duplicates compares.
const DUPLICATE_PAGE: usize = 256;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    let samples =
        OpenApiRouter::new().routes(routes!(submit)).layer(DefaultBodyLimit::max(SAMPLES_BODY_BYTES_MAX));
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(show))
        .routes(routes!(list))
        .routes(routes!(approve))
        .merge(samples)
}

fn wire(stored: &Stored, templates: u32) -> Enrolment {
    let capturing = stored.state == EnrolmentState::Capturing;
    Enrolment {
        id: stored.enrolment,
        account: stored.account,
        consent: stored.consent,
        modality: stored.modality,
        instance: stored.instance,
        state: stored.state,
        nonce: stored.nonce.clone().filter(|_| capturing).map(Bytes),
        expires_at: stored.expires_at,
        templates,
    }
}

/// Opens an enrolment that one desk terminal may send samples to. Without a consent in force there is none.
#[utoipa::path(post, path = "/v1/enrolments", operation_id = "enrolment_create", tag = "operator",
    request_body = NewEnrolment,
    responses((status = 201, body = Enrolment), (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<AppState>,
    _: Operator,
    Json(new): Json<NewEnrolment>,
) -> Result<(StatusCode, Json<Enrolment>), Problem> {
    if new.instance > 10 {
        return Err(invalid("`instance` is a finger position from 0 to 10"));
    }
    let terminal = app.store.terminal(new.terminal).await.or_problem()?.ok_or_else(not_found)?;
    if terminal.purpose != Purpose::Desk {
        return Err(invalid(
            "`terminal` does not stand at a desk: people are enrolled at a staffed desk only",
        ));
    }
    let now = app.now();
    let stored = selfsame_store::NewEnrolment {
        enrolment: EnrolmentId::new(now, random()),
        account: new.account,
        consent: new.consent,
        terminal: new.terminal,
        modality: new.modality,
        instance: new.instance,
        nonce: random(),
        expires_at: now + CAPTURE_LIFETIME,
    };
    let enrolment = stored.enrolment;
    if !app.store.create_enrolment(stored, now).await.or_problem()? {
        return Err(Problem::new(ProblemCode::ConsentMissing));
    }
    let found = app.store.enrolment(enrolment).await.or_problem()?.ok_or_else(not_found)?;
    Ok((StatusCode::CREATED, Json(wire(&found, 0))))
}

/// An enrolment.
#[utoipa::path(get, path = "/v1/enrolments/{id}", operation_id = "enrolment_show", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 200, body = Enrolment), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<AppState>,
    _: Operator,
    PathId(enrolment): PathId<EnrolmentId>,
) -> Result<Json<Enrolment>, Problem> {
    let found = app.store.enrolment(enrolment).await.or_problem()?.ok_or_else(not_found)?;
    Ok(Json(wire(&found, 0)))
}

/// Enrolments of an account, newest first. Their nonces are told only to whoever asks for one of them.
#[utoipa::path(get, path = "/v1/accounts/{id}/enrolments", operation_id = "enrolment_list", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 200, body = Enrolments), (status = "4XX", body = Problem)))]
async fn list(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
) -> Result<Json<Enrolments>, Problem> {
    let found = app.store.enrolments_of(account, ENROLMENTS_MAX).await.or_problem()?;
    let data = found.iter().map(|stored| Enrolment { nonce: None, ..wire(stored, 0) }).collect();
    Ok(Json(Enrolments { data }))
}

/// Takes an enrolment in `review` into use: staff have looked at the person and know who they are. Can be repeated.
#[utoipa::path(post, path = "/v1/enrolments/{id}/approve", tag = "operator", params(("id" = String, Path)),
    responses((status = 200, body = Enrolment), (status = "4XX", body = Problem)))]
async fn approve(
    State(app): State<AppState>,
    _: Operator,
    PathId(enrolment): PathId<EnrolmentId>,
) -> Result<Json<Enrolment>, Problem> {
    let found = app.store.approve_enrolment(enrolment).await.or_problem()?.ok_or_else(not_found)?;
    if found.state != EnrolmentState::Active {
        return Err(Problem::new(ProblemCode::InvalidState).detail("only an enrolment in review is approved"));
    }
    Ok(Json(wire(&found, 0)))
}

/// Takes the sealed samples and makes the enrolment active, or leaves it to staff's review if somebody enrolled looks
/// much alike. Samples that cannot be used leave it open, with a new
/// nonce, until it expires.
#[utoipa::path(post, path = "/v1/enrolments/{id}/samples", operation_id = "enrolment_submit", tag = "terminal",
    params(("id" = String, Path)),
    request_body = Samples, responses((status = 200, body = Enrolment), (status = "4XX", body = Problem)))]
async fn submit(
    State(app): State<AppState>,
    PathId(enrolment): PathId<EnrolmentId>,
    request: Signed,
) -> Result<Json<Enrolment>, Problem> {
    let samples: Samples = request.json()?;
    check_samples(&samples, &enrolment_samples(samples.modality))?;
    check_grade(&app, samples.modality, samples.sensor_grade)?;
    let terminal = request.terminal.terminal;
    let nonce = samples.nonce.0.clone();
    let taken = app.store.take_enrolment_nonce(enrolment, terminal, nonce, app.now()).await.or_problem()?;
    let stored = taken.map_err(submission_problem)?;
    if stored.modality != samples.modality {
        app.store.renew_enrolment_nonce(enrolment, random()).await.or_problem()?;
        return Err(invalid("`modality` is another one than was agreed"));
    }
    match enrol(&app, &stored, samples).await {
        Ok((state, templates)) => {
            tracing::info!(enrolment.id = %enrolment, %state, templates, "enrolled");
            Ok(Json(wire(&Stored { state, ..stored }, templates)))
        }
        Err(problem) => {
            let now = app.now();
            let attempt = Attempt {
                id: AttemptId::new(now, random()),
                at: now,
                operation: "enrolment",
                reason: problem.code.as_str().to_owned(),
                terminal: Some(terminal),
                merchant: None,
                account: Some(stored.account),
            };
            app.store.record_attempt(attempt).await.or_problem()?;
            app.store.renew_enrolment_nonce(enrolment, random()).await.or_problem()?;
            Err(problem)
        }
    }
}

/// Extraction, search for duplicates and lookalikes, storing. Answers the new state and the number of templates.
async fn enrol(app: &App, stored: &Stored, samples: Samples) -> Result<(EnrolmentState, u32), Problem> {
    let _one_at_a_time = app.enrolling.lock().await;
    let now = app.now();
    let grade = samples.sensor_grade;
    let key = app.store.template_key(stored.account).await.or_problem()?;
    let request = ExtractionRequest {
        context: FrameContext {
            terminal: stored.terminal,
            session: stored.enrolment.to_string(),
            nonce: samples.nonce,
            modality: stored.modality,
            sensor_grade: grade,
        },
        account: stored.account,
        instance: stored.instance,
        templates: samples.frames.iter().map(|_| TemplateId::new(now, random())).collect(),
        frames: samples.frames,
        key: key.map(wire_key),
    };
    let (templates, qualities, key) = match app.matcher.extract(&request).await? {
        ExtractionResponse::Extracted { attack: Some(evidence), .. }
            if grade != SensorGrade::Simulated && app.config.policy.attack.is_attack(&evidence, grade) =>
        {
            return Err(Problem::new(ProblemCode::SampleRejected).detail("the samples do not look alive"));
        }
        ExtractionResponse::Extracted { templates, qualities, poses, key, .. } => {
            if stored.modality == Modality::Face {
                check_poses(&poses).map_err(|few| {
                    let detail = format!("{}: {few}", TooFewPoses::CODE);
                    Problem::new(ProblemCode::SampleRejected).detail(detail)
                })?;
            }
            (templates, qualities, key)
        }
        ExtractionResponse::Rejected { frame, reason } => {
            let detail = format!("sample {}: {reason}", frame + 1);
            return Err(Problem::new(ProblemCode::SampleRejected).detail(detail));
        }
        ExtractionResponse::Fault { fault } => {
            return Err(Problem::new(ProblemCode::SampleRejected).detail(fault));
        }
    };
    let lookalikes = search(app, stored, &templates, &key).await?;
    let count = u32::try_from(templates.len()).unwrap_or(u32::MAX);
    let new = |(template, quality): (SealedTemplate, u8)| NewTemplate {
        template: template.template,
        algorithm: template.algorithm,
        version: template.version,
        quality,
        sealed: template.sealed.0,
    };
    let templates = templates.into_iter().zip(qualities).map(new).collect();
    let completed =
        app.store.complete_enrolment(stored.clone(), templates, lookalikes, key.wrapped.0, now).await;
    let state = completed.or_problem()?.ok_or_else(|| Problem::new(ProblemCode::ConsentMissing))?;
    Ok((state, count))
}

/// Searches everybody for the same finger or face: a duplicate is refused, by the threshold for as many comparisons as
/// a page makes or the strictest one that was ever measured. Answers who looks so much alike that a verification of one
/// alone might take one for the other.
async fn search(
    app: &App,
    stored: &Stored,
    templates: &[SealedTemplate],
    key: &WrappedKey,
) -> Result<BTreeSet<AccountId>, Problem> {
    let policy = &app.config.policy;
    let mut lookalikes = BTreeSet::new();
    let mut after = None;
    loop {
        let page = app.store.template_page(stored.modality, after, DUPLICATE_PAGE).await.or_problem()?;
        let (mut page, keys) = page;
        let Some(last) = page.last() else { return Ok(lookalikes) };
        after = Some(last.template);
        // Enrolling the same finger of the same person again is a renewal.
        page.retain(|template| template.account != stored.account);
        if page.is_empty() {
            continue;
        }
        let request = ComparisonRequest {
            modality: stored.modality,
            probe: Probe::Templates { templates: templates.to_vec(), key: key.clone() },
            candidates: wire_templates(page),
            keys: wire_keys(keys),
        };
        let ComparisonResponse::Compared { scores, calibration, comparisons, .. } =
            app.matcher.compare(&request).await?
        else {
            return Err(Problem::new(ProblemCode::MatcherUnavailable));
        };
        let calibration = matcher::calibration(&calibration);
        // A page that could not be compared at all (another algorithm) holds no duplicate that we could see.
        let Some(comparisons) = NonZeroU32::new(comparisons) else { continue };
        let strictest = calibration.iter().map(|point| point.threshold).max();
        let duplicate = policy.threshold(&calibration, comparisons).or(strictest);
        if duplicate.is_some_and(|threshold| scores.values().any(|score| *score >= threshold.0)) {
            return Err(Problem::new(ProblemCode::DuplicateBiometric));
        }
        let alike = policy.threshold(&calibration, NonZeroU32::MIN);
        let is_alike = |score: u16| alike.is_some_and(|threshold| score >= threshold.0);
        lookalikes
            .extend(scores.into_iter().filter(|(_, score)| is_alike(*score)).map(|(account, _)| account));
    }
}
