//! Step 2 of the method at the server: the identifier selects the candidates, the matcher compares, `domain` decides.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use selfsame_api::bytes::Bytes;
use selfsame_api::matcher::{ComparisonRequest, ComparisonResponse, Probe};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::sealing::{FRAME_BYTES_MAX, FrameContext};
use selfsame_api::serve::{Json, PathId};
use selfsame_api::verification::{
    Decision as WireDecision, Ending, FACE_FRAMES_MIN, FRAMES_MAX, NewVerification, Samples, Verification,
};
use selfsame_domain::account::Identifier;
use selfsame_domain::challenge::Challenge;
use selfsame_domain::id::{AccountId, AttemptId, VerificationId};
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::terminal::Purpose;
use selfsame_domain::timing::Timings;
use selfsame_domain::verification::{
    Compared, Decision, Fault, Policy, Retry, Score, ScoredCandidate, State as Stage, decide,
};
use selfsame_store::{Attempt, CandidateTemplates, SubmissionRefusal, Terminal, Verification as Stored};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Signed;
use crate::magic::MagicPayer;
use crate::matcher::{self, wire_keys, wire_templates};
use crate::profile::{self, Profile};
use crate::refusal::{OrProblem, invalid, not_found};
use crate::replay::answer;
use crate::{App, AppState, random};

/// How long samples are awaited after the identifier.
const CAPTURE_LIFETIME: Duration = Duration::from_secs(60);

/// Largest body with samples: frames in base64 with their facts.
pub(crate) const SAMPLES_BODY_BYTES_MAX: usize = FRAMES_MAX * (FRAME_BYTES_MAX / 3 * 4 + 1024) + 4096;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    let samples =
        OpenApiRouter::new().routes(routes!(submit)).layer(DefaultBodyLimit::max(SAMPLES_BODY_BYTES_MAX));
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(show)).routes(routes!(end)).merge(samples)
}

/// Whether samples of this grade are taken here at all.
pub(crate) fn check_grade(app: &App, modality: Modality, grade: SensorGrade) -> Result<(), Problem> {
    if grade.accepted_in(app.site.mode) && grade.fits(modality) {
        return Ok(());
    }
    let detail =
        format!("`{grade}` samples of a {modality} are not accepted on a {} site", app.site.mode.as_str());
    Err(Problem::new(ProblemCode::SensorGradeRefused).detail(detail))
}

/// Why nothing may be captured for this identifier; the terminal sees less.
fn refused_candidates(found: &CandidateTemplates, policy: &Policy) -> Option<&'static str> {
    if found.accounts == 0 {
        return Some("unknown_identifier");
    }
    if found.accounts_with_consent == 0 {
        return Some("consent_missing");
    }
    if found.templates.is_empty() {
        return Some(if found.pinned_accounts > 0 { "lookalikes" } else { "not_enrolled" });
    }
    (found.accounts_with_consent > policy.candidates_max).then_some("too_many_candidates")
}

/// Whether a score could decide among so many templates: thresholds reach as far as they were measured, for faces less
/// far than for fingers. Asked before the payer is looked at, and only where several people share an identifier. A
/// matcher that is away is not told apart here: the samples end as its fault.
async fn is_decidable(app: &App, found: &CandidateTemplates, modality: Modality) -> bool {
    if found.accounts_with_consent < 2 {
        return true;
    }
    let Ok(described) = app.matcher.describe().await else { return true };
    let Some(algorithm) = described.algorithms.iter().find(|algorithm| algorithm.modality == modality) else {
        return true;
    };
    let compared = found
        .templates
        .iter()
        .filter(|template| template.algorithm == algorithm.name && template.version == algorithm.version);
    let comparisons = u32::try_from(compared.count()).ok().and_then(NonZeroU32::new);
    let calibration = matcher::calibration(&algorithm.calibration);
    comparisons.is_none_or(|comparisons| app.config.policy.threshold(&calibration, comparisons).is_some())
}

/// Whether, and with what, the payer's face is to be lit. Only a camera in front of a person can answer.
fn challenge_for(app: &App, grade: SensorGrade) -> Option<Challenge> {
    let asked = app.config.colour_flash && matches!(grade, SensorGrade::Rgb | SensorGrade::RgbChallenge);
    asked.then(|| Challenge::draw(random()))
}

/// Opens a verification: the identifier selects the candidates.
#[utoipa::path(post, path = "/v1/verifications", operation_id = "verification_create", tag = "terminal",
    request_body = NewVerification,
    responses((status = 201, body = Verification),
        (status = 200, body = Verification, description = "Answered before"), (status = "4XX", body = Problem)))]
async fn create(State(app): State<AppState>, request: Signed) -> Result<Response, Problem> {
    let new: NewVerification = request.json()?;
    if request.terminal.purpose != Purpose::Till {
        return Err(Problem::new(ProblemCode::Forbidden).detail("only terminals at a till verify payers"));
    }
    check_grade(&app, new.modality, new.sensor_grade)?;
    let identifier = Identifier::parse(new.identifier.kind, &new.identifier.value).map_err(invalid)?;
    let lookup = profile::lookup(&app.config.secrets, &identifier);
    let found = app.store.candidates(lookup, new.modality).await.or_problem()?;
    let mut refused = refused_candidates(&found, &app.config.policy);
    if refused.is_none() && !is_decidable(&app, &found, new.modality).await {
        refused = Some("too_many_candidates");
    }
    let challenge = challenge_for(&app, new.sensor_grade);
    let sensor_grade = if challenge.is_some() { SensorGrade::RgbChallenge } else { new.sensor_grade };
    let now = app.now();
    let verification = VerificationId::new(now, random());
    let stored = selfsame_store::NewVerification {
        verification,
        terminal: request.terminal,
        request_ref: new.request_ref,
        modality: new.modality,
        sensor_grade,
        lookup,
        refused,
        known: None,
        nonce: random(),
        attempts: app.config.policy.attempts_max,
        challenge,
        expires_at: now + CAPTURE_LIFETIME,
    };
    let stored = app.store.create_verification(stored, now).await.or_problem()?;
    let replayed = stored.verification != verification;
    let content = (stored.lookup, stored.modality, stored.sensor_grade);
    if replayed && content != (lookup, new.modality, new.sensor_grade) {
        return Err(Problem::new(ProblemCode::ReferenceConflict));
    }
    if let (false, Some(reason)) = (replayed, refused) {
        record(&app, &request.terminal, reason, None).await?;
    }
    let ending = failed_ending(&stored);
    Ok(answer(wire(&app, stored, ending).await?, replayed))
}

/// How a failed verification reads to its terminal: whatever the reason, like an ordinary non-match.
pub(crate) fn failed_ending(stored: &Stored) -> Option<Ending> {
    let reason = stored.reason.as_deref().filter(|_| stored.state == Stage::Failed)?;
    let decision = match reason {
        "ambiguous" | "too_many_candidates" | "lookalikes" => WireDecision::Ambiguous,
        "attack" => WireDecision::Attack,
        _ => WireDecision::NoMatch,
    };
    Some(Ending::Decision { decision })
}

async fn record(
    app: &App,
    terminal: &Terminal,
    reason: &str,
    account: Option<AccountId>,
) -> Result<(), Problem> {
    let now = app.now();
    let attempt = Attempt {
        id: AttemptId::new(now, random()),
        at: now,
        operation: "verification",
        reason: reason.to_owned(),
        terminal: Some(terminal.terminal),
        merchant: Some(terminal.merchant),
        account,
    };
    app.store.record_attempt(attempt).await.or_problem()
}

pub(crate) async fn wire(app: &App, stored: Stored, ending: Option<Ending>) -> Result<Verification, Problem> {
    let payer_display = match stored.account.filter(|_| stored.state == Stage::Passed) {
        Some(account) => {
            let found = app.store.account(account).await.or_problem()?.ok_or_else(not_found)?;
            Profile::open(&app.config.secrets, &found)?.map(|profile| profile.masked_name())
        }
        None => None,
    };
    let capturing = stored.state == Stage::Capturing;
    Ok(Verification {
        id: stored.verification,
        terminal: stored.terminal,
        sensor_grade: stored.sensor_grade,
        challenge: stored.challenge.filter(|_| capturing),
        state: stored.state,
        ending,
        nonce: stored.nonce.filter(|_| capturing).map(Bytes),
        attempts_left: if capturing { stored.attempts_left } else { 0 },
        payer_display,
        paid: false,
        expires_at: stored.expires_at,
        timings: stored.timings,
    })
}

/// A verification of the calling terminal.
#[utoipa::path(get, path = "/v1/verifications/{id}", operation_id = "verification_show", tag = "terminal",
    params(("id" = String, Path)),
    responses((status = 200, body = Verification), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<AppState>,
    PathId(verification): PathId<VerificationId>,
    request: Signed,
) -> Result<Json<Verification>, Problem> {
    let found = app.store.verification(verification).await.or_problem()?;
    let found = found.filter(|found| found.terminal == request.terminal.terminal).ok_or_else(not_found)?;
    let ending = failed_ending(&found);
    wire(&app, found, ending).await.map(Json)
}

/// Ends a verification: no further codes, and the one that was issued is revoked. Can be repeated.
#[utoipa::path(post, path = "/v1/verifications/{id}/end", operation_id = "verification_end", tag = "terminal",
    params(("id" = String, Path)),
    responses((status = 200, body = Verification), (status = "4XX", body = Problem)))]
async fn end(
    State(app): State<AppState>,
    PathId(verification): PathId<VerificationId>,
    request: Signed,
) -> Result<Json<Verification>, Problem> {
    if !app.store.end_verification(verification, request.terminal.terminal).await.or_problem()? {
        return Err(not_found());
    }
    let found = app.store.verification(verification).await.or_problem()?.ok_or_else(not_found)?;
    let ending = failed_ending(&found);
    let paid = app.store.verification_has_paid(verification).await.or_problem()?;
    let ended = wire(&app, found, ending).await?;
    Ok(Json(Verification { paid, ..ended }))
}

/// Checks the number of frames.
pub(crate) fn check_samples(samples: &Samples, frames: &RangeInclusive<usize>) -> Result<(), Problem> {
    if frames.contains(&samples.frames.len()) {
        return Ok(());
    }
    Err(invalid(format_args!("`frames` must have {} to {} entries", frames.start(), frames.end())))
}

/// How many frames a sample has: of a camera enough for attack detection, of files what there is.
fn frames_of(modality: Modality, grade: SensorGrade) -> RangeInclusive<usize> {
    let camera = modality == Modality::Face && grade != SensorGrade::Simulated;
    if camera { FACE_FRAMES_MIN..=FRAMES_MAX } else { 1..=FRAMES_MAX }
}

/// The problem document for samples that are not taken.
pub(crate) fn submission_problem(refusal: SubmissionRefusal) -> Problem {
    match refusal {
        SubmissionRefusal::NotFound => not_found(),
        SubmissionRefusal::NotCapturing => {
            Problem::new(ProblemCode::InvalidState).detail("no samples are awaited")
        }
        SubmissionRefusal::NonceUsed => {
            Problem::new(ProblemCode::InvalidState).detail("this nonce is not the one that is due")
        }
    }
}

/// How a submission ended. Three kinds that share no type.
enum Concluded {
    Retry(Retry),
    Decision(Decision),
    Fault(Fault),
}

/// Takes sealed samples, has them compared, and decides.
#[utoipa::path(post, path = "/v1/verifications/{id}/samples", operation_id = "verification_submit", tag = "terminal",
    params(("id" = String, Path)),
    request_body = Samples, responses((status = 200, body = Verification), (status = "4XX", body = Problem)))]
async fn submit(
    State(app): State<AppState>,
    PathId(verification): PathId<VerificationId>,
    request: Signed,
) -> Result<Json<Verification>, Problem> {
    let samples: Samples = request.json()?;
    let terminal = request.terminal;
    check_samples(&samples, &frames_of(samples.modality, samples.sensor_grade))?;
    // Checked before the nonce is taken: a mistake of the terminal must not cost the payer a try.
    let opened = app.store.verification(verification).await.or_problem()?;
    let opened = opened.filter(|opened| opened.terminal == terminal.terminal).ok_or_else(not_found)?;
    if samples.modality != opened.modality || samples.sensor_grade != opened.sensor_grade {
        return Err(invalid("`modality` or `sensor_grade` is another one than was agreed"));
    }
    if let Some(challenge) = &opened.challenge {
        let offsets: Vec<u32> = samples.frames.iter().map(|frame| frame.offset_ms).collect();
        challenge.check_timing(&offsets, app.now().since(opened.created_at)).map_err(invalid)?;
    }
    let nonce = samples.nonce.0.clone();
    let taken = app.store.take_verification_nonce(verification, terminal.terminal, nonce, app.now()).await;
    let mut stored = taken.or_problem()?.map_err(submission_problem)?;
    let mut timings = samples.timings.clone();
    let (concluded, matcher_timings) = compare(&app, &mut stored, samples).await?;
    timings.merge(&matcher_timings);
    app.stages.record(&timings, app.now());
    stored.timings.merge(&timings);
    let ending = apply(&app, &mut stored, concluded);
    if let (Some(reason), Ending::Decision { .. }) = (&stored.reason, &ending) {
        record(&app, &terminal, reason, None).await?;
    }
    if !app.store.conclude_verification(stored.clone()).await.or_problem()? {
        return Err(
            Problem::new(ProblemCode::InvalidState).detail("the verification was ended in the meantime")
        );
    }
    let verification = wire(&app, stored, Some(ending)).await?;
    tracing::info!(verification.id = %verification.id, state = %verification.state, "concluded a sample");
    Ok(Json(verification))
}

/// Asks the matcher and decides over its scores. The candidates are selected anew: a consent may have been withdrawn
/// since the verification was opened.
async fn compare(app: &App, stored: &mut Stored, samples: Samples) -> Result<(Concluded, Timings), Problem> {
    let found = app.store.candidates(stored.lookup, stored.modality).await.or_problem()?;
    if refused_candidates(&found, &app.config.policy).is_some() {
        return Ok((Concluded::Decision(Decision::NoMatch), Timings::default()));
    }
    let magic = MagicPayer::of(app.site.mode, &app.config.secrets, stored.lookup);
    if let (Some(magic), Some(template)) = (magic, found.templates.first()) {
        return Ok((by_magic(magic, template.account), Timings::default()));
    }
    let context = FrameContext {
        terminal: stored.terminal,
        session: stored.verification.to_string(),
        nonce: samples.nonce,
        modality: stored.modality,
        sensor_grade: stored.sensor_grade,
    };
    let request = ComparisonRequest {
        modality: stored.modality,
        probe: Probe::Frames { context, frames: samples.frames, challenge: stored.challenge.clone() },
        candidates: wire_templates(found.templates),
        keys: wire_keys(found.keys),
    };
    let none = Timings::default();
    Ok(match app.matcher.compare(&request).await {
        Err(problem) if problem.code == ProblemCode::MatcherBusy => {
            (Concluded::Fault(Fault::MatcherBusy), none)
        }
        Err(_) => (Concluded::Fault(Fault::MatcherUnavailable), none),
        Ok(ComparisonResponse::Fault { fault }) => (Concluded::Fault(fault), none),
        Ok(ComparisonResponse::Rejected { reason, timings }) => {
            let retry = reason.parse().unwrap_or_else(|_| "try_again".parse().expect("a valid reason"));
            (Concluded::Retry(retry), timings)
        }
        Ok(ComparisonResponse::Compared { scores, comparisons, calibration, attack, timings }) => {
            stored.attack = attack;
            let scored = |(account, score): (&AccountId, &u16)| ScoredCandidate {
                account: *account,
                score: Score(*score),
            };
            let candidates: Vec<_> = scores.iter().map(scored).collect();
            let calibration = matcher::calibration(&calibration);
            let grade = stored.sensor_grade;
            let decision = match NonZeroU32::new(comparisons) {
                Some(comparisons) => {
                    let compared = Compared { grade, attack, comparisons, candidates };
                    decide(&app.config.policy, &calibration, &compared)
                }
                // Templates of another algorithm only: nobody could be compared.
                None => Decision::NoMatch,
            };
            (Concluded::Decision(decision), timings)
        }
    })
}

/// How a verification ends on a test site when the member number says so.
fn by_magic(magic: MagicPayer, account: AccountId) -> Concluded {
    Concluded::Decision(match magic {
        MagicPayer::Fault(fault) => return Concluded::Fault(fault),
        MagicPayer::Pass => Decision::Match(account),
        MagicPayer::NoMatch => Decision::NoMatch,
        MagicPayer::Ambiguous => Decision::Ambiguous,
        MagicPayer::Attack => Decision::Attack,
    })
}

/// Moves the verification on.
fn apply(app: &App, stored: &mut Stored, concluded: Concluded) -> Ending {
    // Another try needs another nonce; decisions that end the verification take it away again.
    stored.nonce = Some(random::<32>().to_vec());
    let decision = match concluded {
        Concluded::Retry(retry) => return Ending::Retry { reason: retry.reason().to_owned() },
        Concluded::Fault(fault) => return Ending::Fault { fault },
        Concluded::Decision(decision) => decision,
    };
    stored.attempts_left = stored.attempts_left.saturating_sub(1);
    match decision {
        Decision::Match(account) => {
            stored.state = Stage::Passed;
            stored.account = Some(account);
            stored.reason = None;
            stored.expires_at = app.now() + Duration::from_secs(app.config.pass_lifetime_seconds.into());
        }
        Decision::NoMatch if stored.attempts_left > 0 => stored.reason = Some(decision.as_str().to_owned()),
        Decision::NoMatch | Decision::Ambiguous | Decision::Attack => {
            stored.state = Stage::Failed;
            stored.reason = Some(decision.as_str().to_owned());
        }
    }
    if stored.state != Stage::Capturing {
        stored.nonce = None;
    }
    Ending::Decision { decision: decision.into() }
}
