//! PINs: set at the desk, changed by the payer, locked after wrong tries, reset with a verification.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use axum::extract::State;
use axum::http::StatusCode;
use selfsame_api::pin::{NewPin, PinChange, PinState};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, PathId};
use selfsame_domain::id::{AccountId, AttemptId, VerificationId};
use selfsame_domain::pin::{Pin, PinError, PinOutcome};
use selfsame_domain::verification::State as Stage;
use selfsame_store::{Attempt, PinTry, Terminal};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use crate::authentication::{Operator, Signed};
use crate::profile::mac;
use crate::refusal::{OrProblem, invalid, not_found};
use crate::{App, AppState, Secrets, random};

/// PINs that are hashed at the same time. Each takes 19 MiB and a core; more would slow payments down.
const HASHES_MAX: usize = 2;

/// Requests that may wait for a hash.
const WAITING_MAX: usize = 64;

/// Cost of argon2id: 19 MiB, two passes, one lane. Source: OWASP Password Storage Cheat Sheet.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Bytes of salt and of hash.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Name of the form in which a hash is kept, with its cost.
const FORM: &str = "argon2id$v=19$m=19456,t=2,p=1";

/// The places where PINs are hashed.
pub(crate) struct Pins {
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Pins {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(HASHES_MAX)), waiting: Semaphore::new(WAITING_MAX) }
    }
}

fn hash_now(input: &[u8], salt: &[u8]) -> Zeroizing<[u8; HASH_BYTES]> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).expect("a valid cost");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = Zeroizing::new([0; HASH_BYTES]);
    argon2.hash_password_into(input, salt, hash.as_mut()).expect("input, salt and output have valid lengths");
    hash
}

impl Pins {
    /// Hashes on a thread of its own, a few at a time.
    async fn hash(&self, secrets: &Secrets, pin: &Pin, salt: Vec<u8>) -> Result<Vec<u8>, Problem> {
        let _place = self.waiting.try_acquire().map_err(|_| Problem::new(ProblemCode::Unavailable))?;
        let running = self.running.clone().acquire_owned().await;
        // Keyed first, so that a stolen database alone does not let anybody try 10,000 PINs.
        let input = Zeroizing::new(mac(&secrets.identifier_pepper, &["pin", pin.expose()]));
        let work = move || {
            let hash = hash_now(input.as_ref(), &salt).to_vec();
            drop(running);
            hash
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Problem::new(ProblemCode::Internal))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    if pairs.1.is_empty() { pairs.0.iter().map(byte).collect() } else { None }
}

async fn new_hash(app: &App, pin: &Pin) -> Result<String, Problem> {
    let salt = random::<SALT_BYTES>();
    let hash = app.pins.hash(&app.config.secrets, pin, salt.to_vec()).await?;
    Ok(format!("{FORM}${}${}", hex(&salt), hex(&hash)))
}

/// Tries the PIN of somebody who only said who they are: of `account`, if anybody is called so. Takes as long whoever it
/// is, so that nobody learns who has an account.
pub(crate) async fn check_claimed(
    app: &App,
    terminal: &Terminal,
    account: Option<AccountId>,
    pin: &Pin,
) -> Result<Option<AccountId>, Problem> {
    let Some(account) = account else {
        app.pins.hash(&app.config.secrets, pin, random::<SALT_BYTES>().to_vec()).await?;
        record(app, terminal, None, "unknown_identifier").await?;
        return Ok(None);
    };
    let outcome = check(app, terminal, account, pin).await?;
    if outcome == PinOutcome::Missing {
        record(app, terminal, Some(account), outcome.as_str()).await?;
    }
    Ok((outcome == PinOutcome::Right).then_some(account))
}

/// Tries a PIN. The try is taken before, and given back if the PIN is right.
pub(crate) async fn check(
    app: &App,
    terminal: &Terminal,
    account: AccountId,
    pin: &Pin,
) -> Result<PinOutcome, Problem> {
    let taken = app.store.take_pin_try(account).await.or_problem()?;
    if !matches!(taken, PinTry::Check { .. }) {
        // Takes as long as if there were one to compare with.
        app.pins.hash(&app.config.secrets, pin, random::<SALT_BYTES>().to_vec()).await?;
    }
    let (stored, tries_left) = match taken {
        PinTry::Check { hash, tries_left } => (hash, tries_left),
        PinTry::Locked => return recorded(app, terminal, account, PinOutcome::Locked).await,
        PinTry::Missing => return Ok(PinOutcome::Missing),
    };
    let broken = || {
        tracing::error!(account.id = %account, "the stored hash of a PIN is not of our form");
        Problem::new(ProblemCode::Internal)
    };
    let rest = stored.strip_prefix(FORM).and_then(|rest| rest.strip_prefix('$'));
    let (salt, expected) = rest.and_then(|rest| rest.split_once('$')).ok_or_else(broken)?;
    let (salt, expected) = unhex(salt).zip(unhex(expected)).ok_or_else(broken)?;
    let hash = app.pins.hash(&app.config.secrets, pin, salt).await?;
    // Equal work whatever differs: all bytes are compared.
    let differing = hash.iter().zip(&expected).fold(0, |differing, (one, other)| differing | (one ^ other));
    if differing == 0 && hash.len() == expected.len() {
        app.store.give_pin_tries_back(account, stored).await.or_problem()?;
        return Ok(PinOutcome::Right);
    }
    let outcome = if tries_left == 0 { PinOutcome::Locked } else { PinOutcome::Wrong };
    recorded(app, terminal, account, outcome).await
}

async fn recorded(
    app: &App,
    terminal: &Terminal,
    account: AccountId,
    outcome: PinOutcome,
) -> Result<PinOutcome, Problem> {
    record(app, terminal, Some(account), outcome.as_str()).await?;
    Ok(outcome)
}

async fn record(
    app: &App,
    terminal: &Terminal,
    account: Option<AccountId>,
    reason: &str,
) -> Result<(), Problem> {
    let now = app.now();
    let attempt = Attempt {
        id: AttemptId::new(now, random()),
        at: now,
        operation: "pin",
        reason: reason.to_owned(),
        terminal: Some(terminal.terminal),
        merchant: Some(terminal.merchant),
        account,
    };
    app.store.record_attempt(attempt).await.or_problem()
}

/// Anything but the right PIN is a refusal.
pub(crate) fn outcome_problem(outcome: PinOutcome) -> Result<(), Problem> {
    match outcome {
        PinOutcome::Right => Ok(()),
        PinOutcome::Wrong => Err(Problem::new(ProblemCode::PinWrong)),
        PinOutcome::Locked => Err(Problem::new(ProblemCode::PinLocked)),
        PinOutcome::Missing => Err(Problem::new(ProblemCode::PinMissing)),
    }
}

fn parse_new(text: &str) -> Result<Pin, Problem> {
    Pin::parse_new(text).map_err(|error| match error {
        PinError::Weak => Problem::new(ProblemCode::PinWeak),
        PinError::Form => invalid(error),
    })
}

/// Whose pass in force this is.
async fn verified_account(app: &App, verification: VerificationId) -> Result<Option<AccountId>, Problem> {
    let found = app.store.verification(verification).await.or_problem()?;
    let passed = found.filter(|found| found.state == Stage::Passed && app.now() < found.expires_at);
    Ok(passed.and_then(|found| found.account))
}

/// The payer who was verified at this terminal just now.
pub(crate) async fn verified_here(
    app: &App,
    terminal: &Terminal,
    verification: VerificationId,
) -> Result<AccountId, Problem> {
    let found = app.store.verification(verification).await.or_problem()?;
    found.filter(|found| found.terminal == terminal.terminal).ok_or_else(not_found)?;
    let account = verified_account(app, verification).await?;
    account.ok_or_else(|| Problem::new(ProblemCode::VerificationRequired))
}

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(set, show)).routes(routes!(change))
}

/// Sets the PIN of an account, or resets it for a payer who was verified just now.
#[utoipa::path(put, path = "/v1/accounts/{id}/pin", operation_id = "pin_set", tag = "operator", params(("id" = String, Path)),
    request_body = NewPin, responses((status = 204), (status = "4XX", body = Problem)))]
async fn set(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
    Json(new): Json<NewPin>,
) -> Result<StatusCode, Problem> {
    let pin = parse_new(&new.pin.0)?;
    let is_set = app.store.pin_tries(account).await.or_problem()?.is_some();
    if is_set {
        let required = || Problem::new(ProblemCode::VerificationRequired);
        let verification = new.verification.ok_or_else(required)?;
        if verified_account(&app, verification).await? != Some(account) {
            return Err(required());
        }
    }
    let transaction = if is_set { "pin_reset" } else { "pin_set" };
    let hash = new_hash(&app, &pin).await?;
    if !app.store.set_pin(account, hash, transaction, app.now()).await.or_problem()? {
        return Err(not_found());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a PIN is set, and whether it is locked.
#[utoipa::path(get, path = "/v1/accounts/{id}/pin", operation_id = "pin_show", tag = "operator", params(("id" = String, Path)),
    responses((status = 200, body = PinState), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
) -> Result<Json<PinState>, Problem> {
    let tries_left = app.store.pin_tries(account).await.or_problem()?;
    Ok(Json(PinState { set: tries_left.is_some(), tries_left: tries_left.unwrap_or(0) }))
}

/// The payer changes the PIN at a terminal.
#[utoipa::path(post, path = "/v1/pin-changes", operation_id = "pin_change", tag = "terminal", request_body = PinChange,
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn change(State(app): State<AppState>, request: Signed) -> Result<StatusCode, Problem> {
    let change: PinChange = request.json()?;
    let new = parse_new(&change.new_pin.0)?;
    let old = Pin::parse(&change.old_pin.0).map_err(invalid)?;
    let account = verified_here(&app, &request.terminal, change.verification).await?;
    outcome_problem(check(&app, &request.terminal, account, &old).await?)?;
    let hash = new_hash(&app, &new).await?;
    app.store.set_pin(account, hash, "pin_change", app.now()).await.or_problem()?;
    Ok(StatusCode::NO_CONTENT)
}
