//! Steps 3 and 4 of the method, the terminal's side: ask the payment server for the general payment code of a pass.

use std::time::Duration;

use selfsame_api::client::ClientError;
use selfsame_api::interface::RegisterKind;
use selfsame_api::payment_code::{Device, NewPaymentCode, PaymentCode};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::id::{RequestId, VerificationId};

use crate::device::ServerLink;

/// Longest wait for a code. A till in a queue does not wait longer; asking again is always safe.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause before the second try.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Asks for a code, twice if nobody answers: a code whose digits were lost is revoked by the next one.
pub(crate) async fn ask_for_code(
    link: &ServerLink,
    request: RequestId,
    verification: VerificationId,
    register: RegisterKind,
    lifetime_seconds: Option<u32>,
) -> Result<PaymentCode, Problem> {
    let new = NewPaymentCode {
        request_ref: request.to_string().parse().expect("an id is a reference"),
        verification,
        device: Device {
            kind: "selfsame-terminal".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            register: register.as_str().to_owned(),
        },
        lifetime_seconds,
    };
    let mut asked = link.post("/v1/payment-codes", &new, CALL_TIMEOUT).await;
    if asked.as_ref().is_err_and(|error| error.problem().is_none()) {
        tokio::time::sleep(RETRY_PAUSE).await;
        asked = link.post("/v1/payment-codes", &new, CALL_TIMEOUT).await;
    }
    asked.map_err(|error| match error {
        ClientError::Problem(problem) => *problem,
        other => {
            tracing::warn!(error = %other, "no code could be asked for");
            Problem::new(ProblemCode::Unavailable)
                .detail("the payment server does not answer: ask for the code again")
        }
    })
}
