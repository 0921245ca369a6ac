//! Consents: recorded at the desk, withdrawn at the desk.

use axum::extract::State;
use axum::http::StatusCode;
use selfsame_api::consent::{Consent, ConsentText, ConsentTexts, Consents, NewConsent};
use selfsame_api::problem::Problem;
use selfsame_api::serve::{Json, PathId};
use selfsame_domain::consent::{CONSENT_TEXTS, consent_text};
use selfsame_domain::id::{AccountId, ConsentId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Operator;
use crate::refusal::{OrProblem, invalid, not_found};
use crate::{AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(withdraw))
        .routes(routes!(list))
        .routes(routes!(texts))
}

/// Consents that are answered of one account: more than anybody gives.
const CONSENTS_MAX: usize = 20;

fn wire(consent: selfsame_store::Consent) -> Consent {
    Consent {
        id: consent.consent,
        account: consent.account,
        text_version: consent.text_version,
        language: consent.language,
        given_at: consent.given_at,
        withdrawn_at: consent.withdrawn_at,
    }
}

/// Records that a person agreed to a text.
#[utoipa::path(post, path = "/v1/consents", operation_id = "consent_create", tag = "operator",
    request_body = NewConsent,
    responses((status = 201, body = Consent), (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<AppState>,
    operator: Operator,
    Json(new): Json<NewConsent>,
) -> Result<(StatusCode, Json<Consent>), Problem> {
    let text = consent_text(&new.text_version, &new.language);
    let text = text.ok_or_else(|| invalid("there is no consent text of this version in this language"))?;
    let now = app.now();
    let consent = ConsentId::new(now, random());
    let stored = selfsame_store::NewConsent {
        consent,
        account: new.account,
        text_version: new.text_version,
        language: new.language,
        text_hash: text.sha256(),
        given_to: operator.key,
    };
    if !app.store.create_consent(stored, now).await.or_problem()? {
        return Err(not_found());
    }
    let found = app.store.consent(consent).await.or_problem()?.ok_or_else(not_found)?;
    Ok((StatusCode::CREATED, Json(wire(found))))
}

/// Withdraws a consent; its templates are destroyed before the answer. Can be repeated.
#[utoipa::path(post, path = "/v1/consents/{id}/withdraw", operation_id = "consent_withdraw", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 200, body = Consent), (status = "4XX", body = Problem)))]
async fn withdraw(
    State(app): State<AppState>,
    _: Operator,
    PathId(consent): PathId<ConsentId>,
) -> Result<Json<Consent>, Problem> {
    let found = app.store.withdraw_consent(consent, app.now()).await.or_problem()?.ok_or_else(not_found)?;
    Ok(Json(wire(found)))
}

/// Consents of an account, newest first.
#[utoipa::path(get, path = "/v1/accounts/{id}/consents", operation_id = "consent_list", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 200, body = Consents), (status = "4XX", body = Problem)))]
async fn list(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
) -> Result<Json<Consents>, Problem> {
    let found = app.store.consents_of(account, CONSENTS_MAX).await.or_problem()?;
    Ok(Json(Consents { data: found.into_iter().map(wire).collect() }))
}

/// The texts that people agree to, in all languages.
#[utoipa::path(get, path = "/v1/consent-texts", operation_id = "consent_texts", tag = "operator",
    responses((status = 200, body = ConsentTexts), (status = "4XX", body = Problem)))]
async fn texts(_: Operator) -> Json<ConsentTexts> {
    let text = |text: &selfsame_domain::consent::ConsentText| ConsentText {
        version: text.version.to_owned(),
        language: text.language.to_owned(),
        text: text.text.to_owned(),
    };
    Json(ConsentTexts { data: CONSENT_TEXTS.iter().map(text).collect() })
}
