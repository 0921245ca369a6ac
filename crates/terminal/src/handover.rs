//! Steps 3 to 5 of the method, the terminal's side: ask the payment server for the general payment code of a pass, and
//! bring it to the register, at once or when the till asks for it.
//!
//! What broke in the middle is never sent again by itself: digits that come twice are worse than digits that do not come.
//! Whoever looks at the till decides, and then sends the same code again while it lives, or has a new one.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selfsame_api::client::ClientError;
use selfsame_api::failure::FailureCode;
use selfsame_api::interface::{Handover, HandoverRequest, RegisterKind, Session};
use selfsame_api::payment_code::{Device, NewPaymentCode, PaymentCode};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::register::{HandoverState, RegisterOffer};
use selfsame_domain::id::{RequestId, SessionId, VerificationId};
use selfsame_domain::timing::Stage;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::configuration::Plan;
use crate::device::ServerLink;
use crate::register::{LiveCode, Undelivered};
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

/// Which code is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// A new one, whatever was before.
    New { lifetime_seconds: Option<u32> },
    /// The one that lives.
    Same,
    /// The one that lives, else a new one.
    SameOrNew,
}

fn invalid(detail: &str) -> Problem {
    Problem::new(ProblemCode::InvalidState).detail(detail)
}

impl Undelivered {
    fn code(&self) -> FailureCode {
        match self {
            Undelivered::Missing { .. } => FailureCode::RegisterMissing,
            Undelivered::NumLockOff => FailureCode::NumLockOff,
            Undelivered::NotSent { .. } => FailureCode::HandoverFailed,
            Undelivered::Uncertain { .. } => FailureCode::HandoverUncertain,
        }
    }

    fn state(&self) -> HandoverState {
        match self {
            Undelivered::Uncertain { .. } => HandoverState::Uncertain,
            _ => HandoverState::Failed,
        }
    }

    fn detail(&self) -> String {
        self.source().map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }
}

impl Sessions {
    /// Hands the code of a pass over. Goes on when the caller no longer waits: what is half typed helps nobody.
    pub(crate) async fn hand_over(
        self: &Arc<Self>,
        session: SessionId,
        request: HandoverRequest,
    ) -> Result<Session, Problem> {
        let entered = self.find(session)?;
        let wanted = match request {
            HandoverRequest { resend: true, lifetime_seconds: Some(_), .. } => {
                let detail = "a code that is sent again keeps its life: leave `lifetime_seconds` out";
                return Err(Problem::new(ProblemCode::InvalidRequest).detail(detail));
            }
            HandoverRequest { resend: true, .. } => Wanted::Same,
            HandoverRequest { lifetime_seconds, .. } => Wanted::New { lifetime_seconds },
        };
        self.hand_over_apart(entered, request.register, wanted).await
    }

    /// The terminal's button, or the till's trigger: the code of the payer who has passed. Pressed again, the same code
    /// again while it lives; while it is being sent, nothing.
    pub(crate) async fn hand_over_current(
        self: &Arc<Self>,
        register: Option<RegisterKind>,
    ) -> Result<Session, Problem> {
        let latest = self.all().into_iter().max_by_key(|entered| entered.id());
        let passed = latest.filter(|entered| lock(&entered.pass).is_some());
        let entered = passed.ok_or_else(|| invalid("no payer has passed whose code could be handed over"))?;
        let state = entered.session.borrow().handover.as_ref().map(|handover| handover.state);
        if state == Some(HandoverState::Sending) {
            return Ok(entered.shown());
        }
        self.hand_over_apart(entered, register, Wanted::SameOrNew).await
    }

    /// Hands over whenever a till asks by itself.
    pub(crate) async fn follow_tills(self: Arc<Self>, asked: Option<mpsc::Receiver<RegisterKind>>) {
        let Some(mut asked) = asked else { return std::future::pending().await };
        while let Some(register) = asked.recv().await {
            tracing::info!(register = register.as_str(), "the till asks for the code");
            if let Err(problem) = self.hand_over_current(Some(register)).await {
                tracing::warn!(register = register.as_str(), %problem, "the till asked for a code in vain");
            }
        }
        std::future::pending().await
    }

    /// Ways to the register, with the default that is in force.
    pub(crate) fn offers(&self) -> Vec<RegisterOffer> {
        let plan = Plan::unasked(&self.configured.in_force(), self.registers.default_kind());
        let in_force = |offer: RegisterOffer| RegisterOffer {
            is_default: offer.register == plan.register,
            mode: plan.mode,
            ..offer
        };
        self.registers.offers().into_iter().map(in_force).collect()
    }

    async fn hand_over_apart(
        self: &Arc<Self>,
        entered: Arc<Entered>,
        register: Option<RegisterKind>,
        wanted: Wanted,
    ) -> Result<Session, Problem> {
        let sessions = self.clone();
        let handing = tokio::spawn(async move {
            sessions.bring(&entered, register, wanted).await?;
            Ok(entered.shown())
        });
        handing.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a hand-over broke down");
            Err(Problem::new(ProblemCode::Internal))
        })
    }

    /// A new code to the register that the request planned. Answers what was wrong on the last part of its way.
    pub(crate) async fn bring_planned(&self, entered: &Entered) -> Result<Option<FailureCode>, Problem> {
        self.bring(entered, None, Wanted::New { lifetime_seconds: None }).await
    }

    /// Has a code, and brings it to the register that is named, else where it went before, else where the request planned.
    async fn bring(
        &self,
        entered: &Entered,
        register: Option<RegisterKind>,
        wanted: Wanted,
    ) -> Result<Option<FailureCode>, Problem> {
        let _one_at_a_time = entered.handover.lock().await;
        let before = entered.session.borrow().handover.clone();
        let lives = lock(&entered.code).as_ref().is_some_and(|code| code.digits().is_some());
        match (wanted, before) {
            (Wanted::Same | Wanted::SameOrNew, Some(before)) if lives => {
                if entered.session.borrow().payment.is_some() {
                    return Err(invalid("this code was charged already"));
                }
                let register = self.registers.choose(register.or(Some(before.register)))?;
                Ok(self.send(entered, Handover { register, ..before }).await)
            }
            (Wanted::Same, _) => Err(invalid("no code of this verification lives: ask for a new one")),
            (Wanted::SameOrNew | Wanted::New { .. }, _) => {
                let register = self.registers.choose(register.or(Some(entered.plan.register)))?;
                let lifetime_seconds = match wanted {
                    Wanted::New { lifetime_seconds } => lifetime_seconds,
                    Wanted::Same | Wanted::SameOrNew => None,
                };
                let handover = self.ask(entered, register, lifetime_seconds).await?;
                Ok(self.send(entered, handover).await)
            }
        }
    }

    /// Asks for a new code. The earlier one is revoked by that.
    async fn ask(
        &self,
        entered: &Entered,
        register: RegisterKind,
        lifetime_seconds: Option<u32>,
    ) -> Result<Handover, Problem> {
        let verification = *lock(&entered.pass);
        let verification = verification.ok_or_else(|| invalid("this verification has no pass in force"))?;
        let started = Instant::now();
        let request = RequestId::new(self.clock.now(), random());
        // The earlier code is dead from the moment that the server has heard of this.
        *lock(&entered.code) = None;
        let issued = ask_for_code(&self.link, request, verification, register, lifetime_seconds).await?;
        *lock(&entered.code) =
            Some(LiveCode::new(issued.digits, Duration::from_millis(issued.expires_in_ms)));
        entered.change(|session| {
            session.error = None;
            session.timings.add(Stage::Code, started.elapsed());
        });
        let (state, expires_at) = (HandoverState::Sending, issued.expires_at);
        Ok(Handover {
            code_id: issued.id,
            register,
            state,
            error: None,
            detail: None,
            digits: None,
            expires_at,
        })
    }

    /// Brings the code that lives to a register, and tells how that went.
    async fn send(&self, entered: &Entered, handover: Handover) -> Option<FailureCode> {
        let started = Instant::now();
        let (code, register) = (handover.code_id, handover.register);
        let sending = Handover { state: HandoverState::Sending, error: None, detail: None, ..handover };
        entered.change(|session| session.handover = Some(sending));
        let digits =
            lock(&entered.code).as_ref().and_then(LiveCode::digits).map(str::to_owned).map(Zeroizing::new);
        // It may have been given up in this moment.
        let digits = digits?;
        let stuck = match &self.simulator {
            Some(simulator) => simulator.hand_over().await,
            None => Ok(()),
        };
        let delivered = match stuck {
            Ok(()) => self.registers.deliver(register, &digits).await,
            Err(stuck) => Err(stuck),
        };
        drop(digits);
        let failure = delivered.err();
        match &failure {
            None => {
                tracing::info!(session.id = %entered.id(), code.id = %code, register = register.as_str(), "handed a code over")
            }
            Some(failure) => {
                let (error, detail) = (failure.code(), failure.detail());
                tracing::warn!(session.id = %entered.id(), code.id = %code, %error, detail, "a code was not handed over");
            }
        }
        let error = failure.as_ref().map(Undelivered::code);
        entered.change(|session| {
            session.timings.add(Stage::Handover, started.elapsed());
            // After a cancel there is no hand-over to tell about.
            if let Some(handover) = session.handover.as_mut().filter(|handover| handover.code_id == code) {
                handover.state = failure.as_ref().map_or(HandoverState::Sent, Undelivered::state);
                handover.error = error;
                handover.detail = failure.as_ref().map(Undelivered::detail);
            }
        });
        error
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
