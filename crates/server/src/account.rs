//! Accounts: the operator's desk makes and looks at them.

use axum::extract::State;
use axum::response::Response;
use selfsame_api::account::{Account, Accounts, FOUND_MAX, Identifier as WireIdentifier, NewAccount, Wallet};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, PathId};
use selfsame_domain::account::{AccountState, DISPLAY_NAME_BYTES_MAX, Identifier, IdentifierKind};
use selfsame_domain::id::{AccountId, WalletId};
use selfsame_store::AccountCreated;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Operator;
use crate::profile::{self, Profile};
use crate::refusal::{OrProblem, invalid, not_found};
use crate::replay::answer;
use crate::{App, AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(search))
        .routes(routes!(show))
        .routes(routes!(set_state))
}

/// The identifiers of a new account, with the short form of the phone number.
fn identifiers(new: &NewAccount) -> Result<Vec<Identifier>, Problem> {
    let parse = |kind, text: &Option<String>| {
        text.as_ref().map(|text| Identifier::parse(kind, text)).transpose().map_err(invalid)
    };
    let phone = parse(IdentifierKind::Phone, &new.phone)?;
    let member_number = parse(IdentifierKind::MemberNumber, &new.member_number)?;
    let last4 = phone.as_ref().and_then(Identifier::last4);
    let identifiers: Vec<_> = [phone, last4, member_number].into_iter().flatten().collect();
    if identifiers.is_empty() {
        return Err(invalid("an account needs a phone number or a member number"));
    }
    Ok(identifiers)
}

/// Makes an account with an empty wallet.
#[utoipa::path(post, path = "/v1/accounts", operation_id = "account_create", tag = "operator",
    request_body = NewAccount,
    responses((status = 201, body = Account), (status = 200, body = Account, description = "Answered before"),
        (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<AppState>,
    _: Operator,
    Json(new): Json<NewAccount>,
) -> Result<Response, Problem> {
    let name = new.display_name.trim();
    if !(1..=DISPLAY_NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
        return Err(invalid(format_args!(
            "`display_name` must be 1 to {DISPLAY_NAME_BYTES_MAX} bytes of text"
        )));
    }
    let secrets = &app.config.secrets;
    let lookups: Vec<_> =
        identifiers(&new)?.iter().map(|identifier| profile::lookup(secrets, identifier)).collect();
    let now = app.now();
    let account = AccountId::new(now, random());
    let [phone, member_number] =
        [&new.phone, &new.member_number].map(|text| text.as_deref().unwrap_or_default());
    let request_mac = profile::mac(&secrets.identifier_pepper, &["account", name, phone, member_number]);
    let profile = Profile {
        display_name: name.to_owned(),
        phone: new.phone.clone(),
        member_number: new.member_number.clone(),
    };
    let sealed = profile.seal(secrets, account);
    let stored = selfsame_store::NewAccount {
        account,
        wallet: WalletId::new(now, random()),
        currency: app.site.currency,
        request_ref: new.request_ref,
        request_mac,
        profile: sealed.profile,
        lookups,
        wrapped_profile_key: sealed.wrapped_key,
    };
    let (account, replayed) = match app.store.create_account(stored, now).await.or_problem()? {
        AccountCreated::Created => (account, false),
        AccountCreated::Existing(account) => (account, true),
        AccountCreated::ReferenceConflict => return Err(Problem::new(ProblemCode::ReferenceConflict)),
        AccountCreated::DuplicateIdentifier => return Err(Problem::new(ProblemCode::DuplicateIdentifier)),
    };
    Ok(answer(read(&app, account).await?, replayed))
}

async fn read(app: &App, account: AccountId) -> Result<Account, Problem> {
    let found = app.store.account(account).await.or_problem()?.ok_or_else(not_found)?;
    let profile = Profile::open(&app.config.secrets, &found)?;
    let wallet = |wallet: &selfsame_domain::payment::Wallet| Wallet {
        id: wallet.wallet,
        currency: wallet.currency,
        balance_minor: wallet.balance_minor,
        held_minor: wallet.held_minor,
    };
    Ok(Account {
        id: account,
        state: found.state,
        display_name: profile.map(|profile| profile.display_name).unwrap_or_default(),
        wallets: found.wallets.iter().map(wallet).collect(),
        created_at: found.created_at,
    })
}

/// An account with its wallets.
#[utoipa::path(get, path = "/v1/accounts/{id}", operation_id = "account_show", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 200, body = Account), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
) -> Result<Json<Account>, Problem> {
    read(&app, account).await.map(Json)
}

/// Who has this identifier. By `POST`, so that no phone number stands in an address or a log.
#[utoipa::path(post, path = "/v1/accounts/search", operation_id = "account_search", tag = "operator",
    request_body = WireIdentifier,
    responses((status = 200, body = Accounts), (status = "4XX", body = Problem)))]
async fn search(
    State(app): State<AppState>,
    _: Operator,
    Json(wanted): Json<WireIdentifier>,
) -> Result<Json<Accounts>, Problem> {
    let identifier = Identifier::parse(wanted.kind, &wanted.value).map_err(invalid)?;
    let lookup = profile::lookup(&app.config.secrets, &identifier);
    // One more than is answered tells whether there are more.
    let found = app.store.accounts_with(lookup, FOUND_MAX + 1).await.or_problem()?;
    let mut data = Vec::new();
    for account in found.iter().take(FOUND_MAX) {
        data.push(read(&app, *account).await?);
    }
    Ok(Json(Accounts { data, has_more: found.len() > FOUND_MAX }))
}

/// Whether the account may pay.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewState {
    /// `active` or `frozen`.
    #[schema(value_type = String, example = "frozen")]
    state: AccountState,
}

/// Freezes or unfreezes an account. Its money stays.
#[utoipa::path(put, path = "/v1/accounts/{id}/state", operation_id = "account_set_state", tag = "operator",
    params(("id" = String, Path)),
    request_body = NewState, responses((status = 200, body = Account), (status = "4XX", body = Problem)))]
async fn set_state(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
    Json(new): Json<NewState>,
) -> Result<Json<Account>, Problem> {
    if !app.store.set_account_state(account, new.state).await.or_problem()? {
        return Err(not_found());
    }
    read(&app, account).await.map(Json)
}
