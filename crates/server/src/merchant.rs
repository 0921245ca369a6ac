//! Merchants: made by the operator; each sees its own balance.

use axum::extract::State;
use axum::http::StatusCode;
use selfsame_api::merchant::{CreatedMerchant, MerchantBalance, NewMerchant, Secret};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::Json;
use selfsame_api::settlement::OperatorKey;
use selfsame_domain::id::{KeyId, MerchantId, StoreId};
use selfsame_domain::ledger::Caller;
use selfsame_store::{ApiKey, MerchantCreated};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::{Merchant, Operator, hash_api_key, new_api_key};
use crate::refusal::{OrProblem, invalid};
use crate::{AppState, random};

/// Longest name of a merchant, store or terminal, in bytes of UTF-8.
const NAME_BYTES_MAX: usize = 120;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(balance)).routes(routes!(create_operator_key))
}

/// Names are shown on screens: not empty, not long, no control characters.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), Problem> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.trim().len()) && !name.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(invalid(format_args!(
        "`{field}` must be 1 to {NAME_BYTES_MAX} bytes of text without control characters"
    )))
}

/// Makes a merchant with one store and one key, which is shown this once.
#[utoipa::path(post, path = "/v1/merchants", operation_id = "merchant_create", tag = "operator",
    request_body = NewMerchant,
    responses((status = 201, body = CreatedMerchant), (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<AppState>,
    _: Operator,
    Json(new): Json<NewMerchant>,
) -> Result<(StatusCode, Json<CreatedMerchant>), Problem> {
    check_name("name", &new.name)?;
    check_name("store_name", &new.store_name)?;
    let now = app.now();
    let merchant = MerchantId::new(now, random());
    let store = StoreId::new(now, random());
    let role = Caller::Merchant(merchant);
    let key = ApiKey { id: KeyId::new(now, random()), role };
    let secret = new_api_key(role, app.site.mode);
    let stored = selfsame_store::NewMerchant {
        merchant,
        store,
        request_ref: new.request_ref,
        name: new.name,
        store_name: new.store_name,
        key,
        key_hash: hash_api_key(&secret.0),
    };
    match app.store.create_merchant(stored, now).await.or_problem()? {
        MerchantCreated::Created => {}
        MerchantCreated::ReferenceUsed => {
            let detail = "a merchant was made under this reference; its key was shown then";
            return Err(Problem::new(ProblemCode::ReferenceConflict).detail(detail));
        }
    }
    let created = CreatedMerchant { id: merchant, store, key_id: key.id, key: Secret(secret.0) };
    Ok((StatusCode::CREATED, Json(created)))
}

/// What the operator owes the calling merchant.
#[utoipa::path(get, path = "/v1/balance", operation_id = "balance_show", tag = "merchant",
    responses((status = 200, body = MerchantBalance), (status = "4XX", body = Problem)))]
async fn balance(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
) -> Result<Json<MerchantBalance>, Problem> {
    let currency = app.site.currency;
    let balance_minor = app.store.merchant_balance(merchant, currency).await.or_problem()?;
    Ok(Json(MerchantBalance { merchant, currency, balance_minor }))
}

/// Makes a further key of the operator, for a second person or another system. It is shown this once.
#[utoipa::path(post, path = "/v1/operator-keys", operation_id = "merchant_create_operator_key", tag = "operator",
    responses((status = 201, body = OperatorKey), (status = "4XX", body = Problem)))]
async fn create_operator_key(
    State(app): State<AppState>,
    _: Operator,
) -> Result<(StatusCode, Json<OperatorKey>), Problem> {
    let now = app.now();
    let key = ApiKey { id: KeyId::new(now, random()), role: Caller::Operator };
    let secret = new_api_key(key.role, app.site.mode);
    app.store.create_api_key(key, hash_api_key(&secret.0), now).await.or_problem()?;
    Ok((StatusCode::CREATED, Json(OperatorKey { id: key.id, key: Secret(secret.0) })))
}
