//! Terminals: made by the operator, activated with a one-time code and a key that the terminal made itself.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use selfsame_api::device_key::DevicePublicKey;
use selfsame_api::merchant::Secret;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, PathId};
use selfsame_api::terminal::{ActivatedTerminal, Activation, CreatedTerminal, NewTerminal};
use selfsame_domain::id::{AttemptId, KeyId, TerminalId};
use selfsame_domain::time::Timestamp;
use selfsame_store::{Attempt, NewDeviceKey};
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::{Operator, Unchecked};
use crate::merchant::check_name;
use crate::refusal::{OrProblem, not_found};
use crate::{App, AppState, random};

/// Life of an activation code: the way from the console to the till.
const ACTIVATION_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Characters of an activation code, 5 bits each: 60 bits against 5 tries.
const ACTIVATION_CHARS: usize = 12;

/// Letters and digits that people do not confuse (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(activate))
        .routes(routes!(retire))
        .routes(routes!(lock))
        .routes(routes!(unlock))
}

/// What is compared: upper case, without the dashes and spaces that people add.
pub(crate) fn activation_hash(code: &str) -> [u8; 32] {
    let canonical: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_uppercase())
        .collect();
    Sha256::digest(canonical.as_bytes()).into()
}

pub(crate) fn new_activation_code() -> String {
    let characters = random::<ACTIVATION_CHARS>().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
    let text: String = characters.into_iter().collect();
    format!("{}-{}-{}", &text[..4], &text[4..8], &text[8..])
}

/// A new code, and until when it is good.
pub(crate) fn fresh_code(terminal: TerminalId, now: Timestamp) -> CreatedTerminal {
    CreatedTerminal {
        id: terminal,
        activation_code: Secret(new_activation_code()),
        activation_expires_at: now + ACTIVATION_LIFETIME,
    }
}

/// Makes a terminal that waits for its activation.
#[utoipa::path(post, path = "/v1/terminals", operation_id = "terminal_create", tag = "operator",
    request_body = NewTerminal,
    responses((status = 201, body = CreatedTerminal), (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<AppState>,
    _: Operator,
    Json(new): Json<NewTerminal>,
) -> Result<(StatusCode, Json<CreatedTerminal>), Problem> {
    check_name("name", &new.name)?;
    let now = app.now();
    let created = fresh_code(TerminalId::new(now, random()), now);
    let stored = selfsame_store::NewTerminal {
        terminal: created.id,
        store: new.store,
        name: new.name,
        purpose: new.purpose,
        code_hash: activation_hash(&created.activation_code.0),
        code_expires_at: created.activation_expires_at,
    };
    if !app.store.create_terminal(stored, now).await.or_problem()? {
        return Err(not_found());
    }
    Ok((StatusCode::CREATED, Json(created)))
}

/// Activates a terminal. Signed with the key that it brings; an earlier key of it is retired.
#[utoipa::path(post, path = "/v1/terminals/activate", operation_id = "terminal_activate", tag = "terminal",
    request_body = Activation,
    responses((status = 200, body = ActivatedTerminal), (status = "4XX", body = Problem)))]
async fn activate(
    State(app): State<AppState>,
    request: Unchecked,
) -> Result<Json<ActivatedTerminal>, Problem> {
    let activation: Activation = request.json()?;
    let refused = || Problem::new(ProblemCode::ActivationRefused);
    let public_key = DevicePublicKey::from_bytes(activation.algorithm, &activation.public_key.0);
    let public_key = public_key.ok_or_else(|| refused().detail("this is no public key"))?;
    if request.presented.key_id != activation.public_key.encode() {
        return Err(Problem::new(ProblemCode::SignatureInvalid).detail("sign with the key that you bring"));
    }
    request.verify(&public_key, &app)?;
    // The matcher first: a code must not be used up while the terminal cannot get all that it needs.
    let matcher_key = app.matcher.describe().await?.key;
    let now = app.now();
    let key_id = KeyId::new(now, random());
    let code_hash = activation_hash(&activation.activation_code.0);
    let key = NewDeviceKey { id: key_id, algorithm: activation.algorithm, public_key: public_key.to_bytes() };
    let activated = app.store.activate_terminal(activation.terminal, code_hash, key, now).await;
    let terminal = match activated.or_problem()? {
        Ok(terminal) => terminal,
        Err(reason) => {
            let attempt = Attempt {
                id: AttemptId::new(now, random()),
                at: now,
                operation: "activation",
                reason: reason.as_str().to_owned(),
                terminal: Some(activation.terminal),
                merchant: None,
                account: None,
            };
            app.store.record_attempt(attempt).await.or_problem()?;
            return Err(refused());
        }
    };
    Ok(Json(ActivatedTerminal {
        terminal: terminal.terminal,
        key_id,
        merchant: terminal.merchant,
        store: terminal.store,
        purpose: terminal.purpose,
        mode: app.site.mode,
        matcher_key,
        server_time: now,
    }))
}

/// Retires a terminal and its key for good.
#[utoipa::path(post, path = "/v1/terminals/{id}/retire", operation_id = "terminal_retire", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn retire(
    State(app): State<AppState>,
    _: Operator,
    PathId(terminal): PathId<TerminalId>,
) -> Result<StatusCode, Problem> {
    let retired = app.store.retire_terminal(terminal, app.now()).await.or_problem()?;
    app.channels.wake(terminal);
    if retired { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

async fn set_lock(app: &App, terminal: TerminalId, locked: bool) -> Result<StatusCode, Problem> {
    let found = app.store.lock_terminal(terminal, locked, app.now()).await.or_problem()?;
    app.channels.wake(terminal);
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

/// Locks a terminal: it verifies nobody and gets no codes until it is unlocked. It hears of it over its channel.
#[utoipa::path(post, path = "/v1/terminals/{id}/lock", operation_id = "terminal_lock", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn lock(
    State(app): State<AppState>,
    _: Operator,
    PathId(terminal): PathId<TerminalId>,
) -> Result<StatusCode, Problem> {
    set_lock(&app, terminal, true).await
}

/// Unlocks a terminal.
#[utoipa::path(post, path = "/v1/terminals/{id}/unlock", operation_id = "terminal_unlock", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn unlock(
    State(app): State<AppState>,
    _: Operator,
    PathId(terminal): PathId<TerminalId>,
) -> Result<StatusCode, Problem> {
    set_lock(&app, terminal, false).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activation_codes_are_compared_as_people_type_them() {
        let code = new_activation_code();
        assert_eq!(code.len(), ACTIVATION_CHARS + 2);
        assert_eq!(activation_hash(&code), activation_hash(&code.replace('-', " ").to_lowercase()));
        assert_ne!(activation_hash(&code), activation_hash(&new_activation_code()));
    }
}
