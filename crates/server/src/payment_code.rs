//! Steps 3 and 4 of the method: a terminal asks for the code of a pass and gets 18 digits with no amount in them.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use selfsame_api::payment_code::{NewPaymentCode, PaymentCode as IssuedCode};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::Json;
use selfsame_domain::id::{AttemptId, PaymentCodeId};
use selfsame_domain::payment::CodeMac;
use selfsame_domain::payment_code::PaymentCode;
use selfsame_domain::terminal::Purpose;
use selfsame_domain::timing::{Stage, Timings};
use selfsame_store::{Attempt, IssueRefusal, Terminal};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Signed;
use crate::profile::mac;
use crate::refusal::{OrProblem, invalid, not_found};
use crate::{App, AppState, Secrets, code_lifetimes, random};

/// How often digits are drawn anew if they are in use. Even with 10^9 codes kept, one collision in 10^6 issues.
const DRAWS_MAX: usize = 3;

/// Name of the pepper in force. A second one joins it when peppers are rotated.
const PEPPER_ID: &str = "1";

/// Longest description of a device, in bytes.
const DEVICE_BYTES_MAX: usize = 64;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create))
}

/// What the store knows of the digits.
pub fn code_mac(secrets: &Secrets, code: &PaymentCode) -> [u8; 32] {
    mac(&secrets.code_pepper, &["code", code.expose()])
}

fn draw(app: &App) -> PaymentCode {
    loop {
        let values = random::<32>();
        let (values, _) = values.as_chunks::<8>();
        let values: Vec<u64> = values.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        if let Some(code) = PaymentCode::from_random(app.prefix, &values) {
            return code;
        }
    }
}

fn lifetime(app: &App, asked: Option<u32>) -> Result<Duration, Problem> {
    let shortest = *code_lifetimes(app.site.mode).start();
    let longest = app.config.code_lifetime_seconds;
    let seconds = asked.unwrap_or(longest);
    if !(shortest..=longest).contains(&seconds) {
        return Err(invalid(format_args!("`lifetime_seconds` must be {shortest} to {longest}")));
    }
    Ok(Duration::from_secs(seconds.into()))
}

/// Issues the code of a pass; the one before it is revoked in the same transaction.
#[utoipa::path(post, path = "/v1/payment-codes", operation_id = "payment_code_create", tag = "terminal",
    request_body = NewPaymentCode,
    responses((status = 201, body = IssuedCode), (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<AppState>,
    request: Signed,
) -> Result<(StatusCode, Json<IssuedCode>), Problem> {
    let started = Instant::now();
    let new: NewPaymentCode = request.json()?;
    if request.terminal.purpose != Purpose::Till {
        return Err(Problem::new(ProblemCode::Forbidden).detail("only terminals at a till ask for codes"));
    }
    let device = &new.device;
    if [&device.kind, &device.version, &device.register].into_iter().any(|text| text.len() > DEVICE_BYTES_MAX)
    {
        return Err(invalid(format_args!("fields of `device` have {DEVICE_BYTES_MAX} bytes at most")));
    }
    let lifetime = lifetime(&app, new.lifetime_seconds)?;
    for _ in 0..DRAWS_MAX {
        let code = draw(&app);
        let now = app.now();
        let stored = selfsame_store::NewPaymentCode {
            code: PaymentCodeId::new(now, random()),
            mac: CodeMac(code_mac(&app.config.secrets, &code)),
            pepper_id: PEPPER_ID.to_owned(),
            verification: new.verification,
            terminal: request.terminal,
            currency: app.site.currency,
            amount_minor_max: app.config.amount_minor_max,
            request_ref: new.request_ref.clone(),
            device_kind: device.kind.clone(),
            device_version: device.version.clone(),
            register: device.register.clone(),
            expires_at: now + lifetime,
        };
        let issued = IssuedCode {
            id: stored.code,
            verification: new.verification,
            digits: code.expose().to_owned(),
            amount_minor_max: stored.amount_minor_max,
            currency: stored.currency,
            expires_at: stored.expires_at,
            expires_in_ms: u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX),
        };
        match app.store.issue_payment_code(stored, now).await.or_problem()? {
            Ok(_) => {
                let mut timings = Timings::default();
                timings.add(Stage::Code, started.elapsed());
                app.stages.record(&timings, now);
                tracing::info!(code.id = %issued.id, terminal.id = %request.terminal.terminal, "issued a payment code");
                return Ok((StatusCode::CREATED, Json(issued)));
            }
            Err(IssueRefusal::Collision) => {}
            Err(refusal) => return Err(refused(&app, &request.terminal, refusal).await?),
        }
    }
    tracing::error!("random digits collided {DRAWS_MAX} times in a row: is the random generator broken?");
    Err(Problem::new(ProblemCode::Internal))
}

async fn refused(app: &App, terminal: &Terminal, refusal: IssueRefusal) -> Result<Problem, Problem> {
    let (reason, problem) = match refusal {
        IssueRefusal::NotFound => ("verification_not_found", not_found()),
        IssueRefusal::Consumed => (
            "verification_consumed",
            Problem::new(ProblemCode::InvalidState).detail("this verification has paid already"),
        ),
        IssueRefusal::NotPassed | IssueRefusal::Collision => (
            "verification_not_passed",
            Problem::new(ProblemCode::InvalidState).detail("this verification has no pass in force"),
        ),
    };
    let now = app.now();
    let attempt = Attempt {
        id: AttemptId::new(now, random()),
        at: now,
        operation: "payment_code",
        reason: reason.to_owned(),
        terminal: Some(terminal.terminal),
        merchant: Some(terminal.merchant),
        account: None,
    };
    app.store.record_attempt(attempt).await.or_problem()?;
    Ok(problem)
}
