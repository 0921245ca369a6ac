//! One session: what its caller sees, and what only this process knows of it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use selfsame_api::channel::TerminalPayment;
use selfsame_api::guidance::guidance_of;
use selfsame_api::interface::{Handover, NewSession, Outcome, RegisterKind, Session, SessionState};
use selfsame_api::payment::PaymentStatus;
use selfsame_api::register::HandoverState;
use selfsame_api::verifier::Progress;
use selfsame_domain::challenge::Challenge;
use selfsame_domain::id::{RegisterId, SessionId, VerificationId};
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;
use tokio::sync::{Notify, watch};

use crate::configuration::Plan;
use crate::journal::Remembered;
use crate::lock;
use crate::register::LiveCode;
use crate::state::{Event, next};

/// A session with what only this process knows of it.
pub(crate) struct Entered {
    /// What was asked; unknown for sessions of an earlier run.
    pub(crate) request: Option<NewSession>,
    /// What the request left open.
    pub(crate) plan: Plan,
    /// The paired register that made it; none if it is the terminal's own.
    pub(crate) register: Option<RegisterId>,
    pub(crate) session: watch::Sender<Session>,
    /// The server's verification, while codes of it can be asked for.
    pub(crate) pass: Mutex<Option<VerificationId>>,
    /// The same for good: its payment may come after the pass was given up.
    passed: Mutex<Option<VerificationId>>,
    pub(crate) code: Mutex<Option<LiveCode>>,
    /// Held while a code is asked for, so that the code that is kept is the one that is alive.
    pub(crate) handover: tokio::sync::Mutex<()>,
    pub(crate) canceled: Notify,
    /// What the payer was granted on top of the deadline.
    pub(crate) granted: watch::Sender<Duration>,
    /// What else the payer's page shows while the verification program is at it.
    seen: Mutex<(Option<Challenge>, Option<Timestamp>)>,
    /// Raised by every change of any session.
    news: Arc<watch::Sender<u64>>,
    /// How many callers wait for news, and when the last one stopped.
    attention: Mutex<(usize, Instant)>,
}

impl Entered {
    pub(crate) fn new(
        id: SessionId,
        register: Option<RegisterId>,
        request: NewSession,
        plan: Plan,
        now: Timestamp,
        news: Arc<watch::Sender<u64>>,
    ) -> Self {
        let session = Session {
            id,
            request_id: request.request_id.clone(),
            state: SessionState::Waking,
            sequence: 1,
            guidance: None,
            guidance_text: None,
            outcome: None,
            error: None,
            payer_display: None,
            pass_expires_at: None,
            handover: None,
            payment: None,
            cancel: None,
            deadline_at: now + plan.deadline,
            timings: Timings::default(),
        };
        Self::around(session, register, Some(request), plan, None, news)
    }

    pub(crate) fn remembered(found: Remembered, plan: Plan, news: Arc<watch::Sender<u64>>) -> Self {
        let restarted = next(SessionState::Waking, Event::Restarted).and_then(|(_, outcome)| outcome);
        let session = Session {
            id: found.session,
            request_id: found.request_id,
            state: SessionState::Done,
            sequence: 1,
            guidance: None,
            guidance_text: None,
            outcome: found.outcome.or(restarted),
            error: None,
            payer_display: None,
            pass_expires_at: found.pass_expires_at,
            handover: None,
            payment: None,
            cancel: None,
            deadline_at: found.at,
            timings: Timings::default(),
        };
        Self::around(session, found.register, None, plan, found.verification, news)
    }

    fn around(
        session: Session,
        register: Option<RegisterId>,
        request: Option<NewSession>,
        plan: Plan,
        verification: Option<VerificationId>,
        news: Arc<watch::Sender<u64>>,
    ) -> Self {
        Self {
            request,
            plan,
            register,
            session: watch::Sender::new(session),
            pass: Mutex::new(verification),
            passed: Mutex::new(verification),
            code: Mutex::new(None),
            handover: tokio::sync::Mutex::new(()),
            canceled: Notify::new(),
            granted: watch::Sender::new(Duration::ZERO),
            seen: Mutex::new((None, None)),
            news,
            attention: Mutex::new((0, Instant::now())),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.session.borrow().id
    }

    /// The payer has passed.
    pub(crate) fn pass(&self, verification: Option<VerificationId>) {
        *lock(&self.pass) = verification;
        *lock(&self.passed) = verification;
    }

    /// Takes over what the server says of the payment that came of this session, if it is about this one and news.
    pub(crate) fn learn(&self, payment: &TerminalPayment) {
        let is_own = *lock(&self.passed) == Some(payment.verification);
        if is_own && self.session.borrow().payment.as_ref() != Some(payment) {
            self.change(|session| session.payment = Some(payment.clone()));
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Session)) {
        self.session.send_modify(|session| {
            change(session);
            session.sequence += 1;
        });
        self.news.send_modify(|news| *news += 1);
    }

    pub(crate) fn show_progress(&self, progress: &Progress) {
        let before = self.session.borrow().clone();
        let Some((state, _)) = next(before.state, Event::Reported(progress.state)) else {
            tracing::error!(session.id = %before.id, "the verification program reports a state that cannot be");
            return;
        };
        let now = (progress.challenge.clone(), progress.waits_until);
        if std::mem::replace(&mut *lock(&self.seen), now.clone()) != now {
            self.news.send_modify(|news| *news += 1);
        }
        if (before.state, &before.guidance) != (state, &progress.guidance) {
            let known = progress.guidance.as_deref().and_then(guidance_of);
            self.change(|session| {
                (session.state, session.guidance) = (state, progress.guidance.clone());
                session.guidance_text = known.map(|guidance| guidance.text(self.plan.language).to_owned());
            });
        }
    }

    /// What to light the payer's face with, and until when the payer is waited for.
    pub(crate) fn seen(&self) -> (Option<Challenge>, Option<Timestamp>) {
        lock(&self.seen).clone()
    }

    /// Somebody waits for news of this session for as long as the answer lives.
    pub(crate) fn attend(&self) -> Attention<'_> {
        lock(&self.attention).0 += 1;
        Attention(self)
    }

    /// Comes to its end when nobody has waited for news for a whole lease; without a lease never.
    pub(crate) async fn deserted(&self, lease: Option<Duration>) {
        let Some(lease) = lease else { return std::future::pending().await };
        loop {
            let (waiting, since) = *lock(&self.attention);
            let left = lease.saturating_sub(since.elapsed());
            match (waiting, left) {
                (0, Duration::ZERO) => return,
                (0, left) => tokio::time::sleep(left).await,
                _ => tokio::time::sleep(lease).await,
            }
        }
    }

    /// Whether nothing will change any more.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        let session = self.session.borrow();
        if session.state != SessionState::Done || session.outcome != Some(Outcome::Passed) {
            return session.state == SessionState::Done;
        }
        match &session.payment {
            Some(payment) => payment.status != PaymentStatus::RequiresAction,
            None => session.pass_expires_at.is_none_or(|end| end <= now),
        }
    }

    /// The session as its caller sees it: with the digits, if they go back to the caller and are still alive.
    pub(crate) fn shown(&self) -> Session {
        let mut session = self.session.borrow().clone();
        let returned =
            |h: &&mut Handover| h.register == RegisterKind::Return && h.state == HandoverState::Sent;
        if let Some(handover) = session.handover.as_mut().filter(returned) {
            handover.digits = lock(&self.code).as_ref().and_then(LiveCode::digits).map(str::to_owned);
        }
        session
    }
}

/// Somebody who waits for news.
pub(crate) struct Attention<'a>(&'a Entered);

impl Drop for Attention<'_> {
    fn drop(&mut self) {
        let mut attention = lock(&self.0.attention);
        *attention = (attention.0 - 1, Instant::now());
    }
}
