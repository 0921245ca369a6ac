//! Steps 3 and 4 of the method, the terminal's side: ask the payment server for the general payment code of a pass.

use std::time::{Duration, Instant};

use selfsame_api::client::ClientError;
use selfsame_api::interface::{Handover, HandoverRequest, RegisterKind, Session};
use selfsame_api::payment_code::{Device, NewPaymentCode, PaymentCode};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::id::{RequestId, SessionId, VerificationId};
use selfsame_domain::timing::Stage;

use crate::device::ServerLink;
use crate::register::LiveCode;
use crate::session::Entered;
use crate::verification::Sessions;
use crate::{lock, random};

/// Longest wait for a code. A till in a queue does not wait longer; asking again is always safe.
pub(crate) const CODE_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause before the second try.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Asks for a code, twice if nobody answers: a code whose digits were lost is revoked by the next one.
async fn ask_for_code(
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
    let mut asked = link.post("/v1/payment-codes", &new, CODE_TIMEOUT).await;
    if asked.as_ref().is_err_and(|error| error.problem().is_none()) {
        tokio::time::sleep(RETRY_PAUSE).await;
        asked = link.post("/v1/payment-codes", &new, CODE_TIMEOUT).await;
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

impl Sessions {
    /// Asks for the code of a pass now and brings it to the register.
    pub(crate) async fn hand_over(
        &self,
        session: SessionId,
        request: HandoverRequest,
    ) -> Result<Session, Problem> {
        let entered = self.find(session)?;
        let register = request.register.unwrap_or(entered.plan.register);
        self.bring(&entered, register, request.lifetime_seconds).await?;
        Ok(entered.shown())
    }

    /// Asks for a code, and brings it to a register.
    pub(crate) async fn bring(
        &self,
        entered: &Entered,
        register: RegisterKind,
        lifetime_seconds: Option<u32>,
    ) -> Result<(), Problem> {
        let _one_at_a_time = entered.handover.lock().await;
        let no_pass =
            || Problem::new(ProblemCode::InvalidState).detail("this verification has no pass in force");
        let verification = lock(&entered.pass).ok_or_else(no_pass)?;
        let started = Instant::now();
        let request = RequestId::new(self.clock.now(), random());
        // The earlier code is dead from the moment that the server has heard of this.
        *lock(&entered.code) = None;
        let issued = ask_for_code(&self.link, request, verification, register, lifetime_seconds).await?;
        let asked = Instant::now();
        *lock(&entered.code) =
            Some(LiveCode::new(issued.digits, Duration::from_millis(issued.expires_in_ms)));
        let handover = Handover { code_id: issued.id, register, digits: None, expires_at: issued.expires_at };
        entered.change(|session| {
            session.handover = Some(handover);
            session.error = None;
            session.timings.add(Stage::Code, asked - started);
            session.timings.add(Stage::Handover, asked.elapsed());
        });
        tracing::info!(session.id = %entered.id(), code.id = %issued.id, register = register.as_str(), "handed a code over");
        Ok(())
    }

    /// What the terminal's screen shows of a session.
    pub(crate) fn screen_png(&self, session: SessionId) -> Result<Vec<u8>, Problem> {
        let entered = self.find(session)?;
        let on_screen = entered.session.borrow().handover.as_ref().map(|handover| handover.register);
        let shown = on_screen.filter(|register| *register == RegisterKind::Screen);
        let png = shown.and_then(|_| lock(&entered.code).as_ref().and_then(LiveCode::screen_png));
        png.ok_or_else(|| Problem::new(ProblemCode::NotFound).detail("no code is on the screen"))
    }
}
