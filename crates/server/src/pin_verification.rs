//! The other way through step 2 of the method: the payer gives the whole identifier and the PIN instead of a sample. What
//! comes of it is a pass like any other, bound to the terminal, with a grade and limits of its own.
//!
//! For people without a template, without a consent, or without the wish to be looked at. Whoever is unknown, has no PIN,
//! has a locked one or typed a wrong one reads alike.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::verification::{NewPinVerification, Verification};
use selfsame_domain::account::{Identifier, IdentifierKind};
use selfsame_domain::id::VerificationId;
use selfsame_domain::pin::Pin;
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::terminal::Purpose;
use selfsame_store::{NewVerification, Terminal, Verification as Stored};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Signed;
use crate::pin::check_claimed;
use crate::refusal::{OrProblem, invalid};
use crate::replay::answer;
use crate::verification::{failed_ending, wire};
use crate::{App, AppState, profile, random};

/// Wrong entries at one terminal within [`WINDOW`], after which it takes no more for a while. The tries of one PIN are
/// counted by account; this bounds who tries one PIN with many numbers. A till serves some ten people a minute.
const REFUSALS_MAX: u32 = 20;

/// How far back wrong entries count.
const WINDOW: Duration = Duration::from_secs(600);

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Verifies a payer by the whole identifier and the PIN.
#[utoipa::path(post, path = "/v1/pin-verifications", operation_id = "pin_verification_create", tag = "terminal",
    request_body = NewPinVerification,
    responses((status = 201, body = Verification),
        (status = 200, body = Verification, description = "Answered before"), (status = "4XX", body = Problem),
        (status = 503, body = Problem)))]
async fn create(State(app): State<AppState>, request: Signed) -> Result<Response, Problem> {
    let new: NewPinVerification = request.json()?;
    let terminal = request.terminal;
    if terminal.purpose != Purpose::Till {
        return Err(Problem::new(ProblemCode::Forbidden).detail("only terminals at a till verify payers"));
    }
    let identifier = Identifier::parse(new.identifier.kind, &new.identifier.value).map_err(invalid)?;
    if identifier.kind() == IdentifierKind::PhoneLast4 {
        return Err(invalid("with a PIN the identifier is a whole `phone` or `member_number`"));
    }
    let pin = Pin::parse(&new.pin.0).map_err(invalid)?;
    let lookup = profile::lookup(&app.config.secrets, &identifier);
    let earlier = app.store.verification_of_request(terminal.terminal, new.request_ref.clone()).await;
    if let Some(earlier) = earlier.or_problem()? {
        if (earlier.lookup, earlier.sensor_grade) != (lookup, SensorGrade::Pin) {
            return Err(Problem::new(ProblemCode::ReferenceConflict));
        }
        return told(&app, earlier, true).await;
    }
    check_budget(&app, &terminal).await?;
    let claimed = app.store.account_of_identifier(lookup).await.or_problem()?;
    let known = check_claimed(&app, &terminal, claimed, &pin).await?;
    let now = app.now();
    let verification = NewVerification {
        verification: VerificationId::new(now, random()),
        terminal,
        request_ref: new.request_ref,
        modality: new.instead_of,
        sensor_grade: SensorGrade::Pin,
        lookup,
        refused: known.is_none().then_some("pin_refused"),
        known,
        nonce: random(),
        attempts: 0,
        challenge: None,
        expires_at: now + Duration::from_secs(app.config.pass_lifetime_seconds.into()),
    };
    let stored = app.store.create_verification(verification, now).await.or_problem()?;
    told(&app, stored, false).await
}

async fn check_budget(app: &App, terminal: &Terminal) -> Result<(), Problem> {
    let refusals = app.store.pin_refusals(terminal.terminal, app.now() - WINDOW).await.or_problem()?;
    if refusals < REFUSALS_MAX {
        return Ok(());
    }
    tracing::warn!(terminal.id = %terminal.terminal, refusals, "too many wrong PINs at one terminal");
    let detail = "too many wrong numbers or PINs at this terminal: wait some minutes";
    Err(Problem::new(ProblemCode::TooManyAttempts).detail(detail))
}

async fn told(app: &App, stored: Stored, replayed: bool) -> Result<Response, Problem> {
    let ending = failed_ending(&stored);
    let verification = wire(app, stored, ending).await?;
    tracing::info!(verification.id = %verification.id, state = %verification.state, "a PIN was given instead of a sample");
    Ok(answer(verification, replayed))
}
