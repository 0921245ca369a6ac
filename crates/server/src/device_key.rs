//! What becomes of a terminal's key after its activation: rotation, a further activation code, warnings of clones.

use axum::extract::State;
use axum::http::StatusCode;
use selfsame_api::device_key::DevicePublicKey;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, PathId};
use selfsame_api::signature::WINDOW;
use selfsame_api::terminal::{CreatedTerminal, KeyRotation, NewActivationCode, RotatedKey, rotation_proof};
use selfsame_domain::id::{KeyId, TerminalId};
use selfsame_store::NewDeviceKey;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::{Operator, SignedThoughReplaced};
use crate::refusal::{OrProblem, not_found};
use crate::terminal::{activation_hash, fresh_code};
use crate::{AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(rotate))
        .routes(routes!(renew_activation))
        .routes(routes!(dismiss_clone_warning))
}

/// Puts a terminal's next key in the place of the one that signs this. That one is taken for another minute, for what is
/// on its way; then it can only ask for this answer again.
#[utoipa::path(post, path = "/v1/terminals/rotate-key", operation_id = "terminal_rotate_key", tag = "terminal",
    request_body = KeyRotation,
    responses((status = 200, body = RotatedKey), (status = "4XX", body = Problem)))]
async fn rotate(
    State(app): State<AppState>,
    SignedThoughReplaced(request): SignedThoughReplaced,
) -> Result<Json<RotatedKey>, Problem> {
    let rotation: KeyRotation = request.json()?;
    let invalid = |why: &str| Problem::new(ProblemCode::InvalidRequest).detail(why);
    let next = DevicePublicKey::from_bytes(rotation.algorithm, &rotation.public_key.0)
        .ok_or_else(|| invalid("`public_key` is no public key"))?;
    let proven = rotation
        .proof
        .to_array()
        .is_some_and(|proof| next.verifies(&rotation_proof(request.key, &next), &proof));
    if !proven {
        return Err(invalid("`proof` is not the next key's signature over this rotation"));
    }
    let now = app.now();
    let key = NewDeviceKey {
        id: KeyId::new(now, random()),
        algorithm: rotation.algorithm,
        public_key: next.to_bytes(),
    };
    let rotated = app.store.rotate_key(request.key, key, now + WINDOW, now).await.or_problem()?;
    // Ended, or replaced by a key that is not this one.
    let rotated = rotated.ok_or_else(|| Problem::new(ProblemCode::TerminalRetired))?;
    tracing::info!(terminal.id = %request.terminal.terminal, key.id = %rotated.key, "a terminal changed its key");
    Ok(Json(RotatedKey { key_id: rotated.key, previous_until: rotated.previous_until, server_time: now }))
}

/// Gives a terminal a further activation code, after its machine or its key was lost, or the code before ran out. The
/// key in use works until the terminal is activated with the code.
#[utoipa::path(post, path = "/v1/terminals/{id}/activation-code", operation_id = "terminal_renew_activation",
    tag = "operator", params(("id" = String, Path)), request_body = NewActivationCode,
    responses((status = 201, body = CreatedTerminal), (status = "4XX", body = Problem)))]
async fn renew_activation(
    State(app): State<AppState>,
    _: Operator,
    PathId(terminal): PathId<TerminalId>,
    Json(NewActivationCode {}): Json<NewActivationCode>,
) -> Result<(StatusCode, Json<CreatedTerminal>), Problem> {
    let code = fresh_code(terminal, app.now());
    let hash = activation_hash(&code.activation_code.0);
    let renewed =
        app.store.renew_activation(terminal, hash, code.activation_expires_at).await.or_problem()?;
    if renewed { Ok((StatusCode::CREATED, Json(code))) } else { Err(not_found()) }
}

/// Takes the warning of a clone back, for example after the machine was restored from a backup. A new activation does the
/// same.
#[utoipa::path(post, path = "/v1/terminals/{id}/dismiss-clone-warning",
    operation_id = "terminal_dismiss_clone_warning", tag = "operator", params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn dismiss_clone_warning(
    State(app): State<AppState>,
    _: Operator,
    PathId(terminal): PathId<TerminalId>,
) -> Result<StatusCode, Problem> {
    let found = app.store.dismiss_clone_warning(terminal).await.or_problem()?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}
