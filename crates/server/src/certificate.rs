//! Certificates of terminals: an active terminal asks with a signed request, and gets one for names of this site.

use axum::extract::State;
use selfsame_api::bytes::Bytes;
use selfsame_api::certificate::{Certificate, KEY_ALGORITHM, NAMES_MAX, NewCertificate};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::Json;
use selfsame_domain::clock::{Clock, SystemClock};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::authentication::Signed;
use crate::authority::AuthorityError;
use crate::refusal::invalid;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Certifies the key of a terminal's verification interface on the LAN. Ask again to renew.
#[utoipa::path(post, path = "/v1/certificates", operation_id = "certificate_create", tag = "terminal",
    request_body = NewCertificate,
    responses((status = 200, body = Certificate), (status = "4XX", body = Problem)))]
async fn create(State(app): State<AppState>, request: Signed) -> Result<Json<Certificate>, Problem> {
    let new: NewCertificate = request.json()?;
    if new.algorithm != KEY_ALGORITHM {
        return Err(invalid(format_args!("`algorithm` must be `{KEY_ALGORITHM}`")));
    }
    if !(1..=NAMES_MAX).contains(&new.names.len()) {
        return Err(invalid(format_args!("`names` must be 1 to {NAMES_MAX}")));
    }
    let authority = app.authority.get().ok_or_else(|| {
        Problem::new(ProblemCode::Unavailable).detail("this server has no certificate authority")
    })?;
    // The time outside, also on a test site whose clock was moved: registers check it by theirs.
    let now = SystemClock.now();
    let certified = authority.certify(&new.public_key.0, &new.names, now).map_err(|error| match error {
        AuthorityError::Name(..) => Problem::new(ProblemCode::CertificateNameRefused).detail(error),
        AuthorityError::Key => invalid(error),
        error => {
            tracing::error!(%error, "a certificate could not be made");
            Problem::new(ProblemCode::Internal)
        }
    });
    let (certificate, expires_at) = certified?;
    let terminal = request.terminal.terminal;
    // Who was certified for what can be told afterwards.
    tracing::info!(terminal.id = %terminal, names = new.names.join(" "), "certified a terminal");
    let authority = authority.certificate_pem().to_owned();
    Ok(Json(Certificate { certificate: Bytes(certificate), authority, expires_at }))
}
