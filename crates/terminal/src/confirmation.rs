//! Step-up: above a limit the payer agrees to merchant and exact amount here, after the till has charged the code.

use std::time::Duration;

use selfsame_api::client::ClientError;
use selfsame_api::confirmation::NewConfirmation;
use selfsame_api::interface::{Confirmation, Session};
use selfsame_api::payment::{Payment, PaymentStatus};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::id::{PaymentId, SessionId};

use crate::session::Entered;
use crate::verification::Sessions;

/// Longest wait for the server's answer: a payment takes 2 s at most, a PIN's hash one more.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

fn unavailable(error: ClientError) -> Problem {
    match error {
        ClientError::Problem(problem) => *problem,
        error => {
            tracing::warn!(%error, "a confirmation did not reach the payment server");
            // Confirming or cancelling again is harmless: the server knows what it has done.
            Problem::new(ProblemCode::Unavailable).detail("the payment server does not answer: try again")
        }
    }
}

impl Sessions {
    /// The session whose payment waits for the payer; the oldest, should there be several.
    pub(crate) fn to_confirm(&self) -> Option<SessionId> {
        let entered = self.all();
        entered.iter().filter(|entered| entered.to_confirm().is_some()).map(|entered| entered.id()).min()
    }

    /// The payer agrees to the payment that waits here.
    pub(crate) async fn confirm(
        &self,
        session: SessionId,
        confirmation: Confirmation,
    ) -> Result<Session, Problem> {
        let entered = self.find(session)?;
        let nothing = || Problem::new(ProblemCode::InvalidState).detail("nothing waits for the payer here");
        let payment = entered.to_confirm().ok_or_else(nothing)?;
        let confirmed = NewConfirmation { payment, pin: confirmation.pin };
        let answered: Payment =
            self.link.post("/v1/confirmations", &confirmed, CALL_TIMEOUT).await.map_err(unavailable)?;
        entered.settle(answered.status);
        tracing::info!(session.id = %session, payment.id = %payment, "the payer agreed to a payment");
        Ok(entered.shown())
    }

    /// Gives up the payment that waits for the payer, if there is one.
    pub(crate) async fn refuse(&self, entered: &Entered) -> Result<(), Problem> {
        let Some(payment) = entered.to_confirm() else { return Ok(()) };
        let path = format!("/v1/confirmations/{payment}/cancel");
        match self.link.post::<Payment>(&path, &serde_json::json!({}), CALL_TIMEOUT).await {
            Ok(answered) => {
                entered.settle(answered.status);
                tracing::info!(payment.id = %payment, "a payment that waited for the payer was given up");
                Ok(())
            }
            // It ended in another way meanwhile: the channel tells in which.
            Err(error) if error.problem().is_some_and(|p| p.code == ProblemCode::InvalidState) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }
}

impl Entered {
    /// The payment that waits for the payer.
    fn to_confirm(&self) -> Option<PaymentId> {
        let session = self.session.borrow();
        let payment = session.payment.as_ref();
        payment
            .filter(|payment| payment.status == PaymentStatus::RequiresAction)
            .map(|payment| payment.payment)
    }

    /// The payment stands like this from now on; the channel will say the same.
    fn settle(&self, status: PaymentStatus) {
        self.change(|session| {
            if let Some(payment) = &mut session.payment {
                payment.status = status;
                payment.expires_at = None;
            }
        });
    }
}
