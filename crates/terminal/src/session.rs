//! One session: what its caller sees, and what only this process knows of it.

use std::sync::Mutex;
use std::time::Duration;

use selfsame_api::channel::TerminalPayment;
use selfsame_api::interface::{NewSession, Outcome, RegisterKind, Session, SessionState};
use selfsame_api::verifier::Progress;
use selfsame_domain::id::{SessionId, VerificationId};
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;
use tokio::sync::{Notify, watch};

use crate::journal::Remembered;
use crate::lock;
use crate::register::LiveCode;

/// A session with what only this process knows of it.
pub(crate) struct Entered {
    /// What was asked; unknown for sessions of an earlier run.
    pub(crate) request: Option<NewSession>,
    pub(crate) session: watch::Sender<Session>,
    /// The server's verification, while codes of it can be asked for.
    pub(crate) pass: Mutex<Option<VerificationId>>,
    /// The same for good: its payment may come after the pass was given up.
    passed: Mutex<Option<VerificationId>>,
    pub(crate) code: Mutex<Option<LiveCode>>,
    /// Held while a code is asked for, so that the code that is kept is the one that is alive.
    pub(crate) handover: tokio::sync::Mutex<()>,
    pub(crate) canceled: Notify,
}

impl Entered {
    pub(crate) fn new(id: SessionId, request: NewSession, now: Timestamp) -> Self {
        let session = Session {
            id,
            request_id: request.request_id.clone(),
            state: SessionState::Waking,
            sequence: 1,
            guidance: None,
            outcome: None,
            error: None,
            payer_display: None,
            pass_expires_at: None,
            handover: None,
            payment: None,
            deadline_at: now + Duration::from_millis(request.deadline_ms),
            timings: Timings::default(),
        };
        Self::around(session, Some(request), None)
    }

    pub(crate) fn remembered(found: Remembered) -> Self {
        let session = Session {
            id: found.session,
            request_id: found.request_id,
            state: SessionState::Done,
            sequence: 1,
            guidance: None,
            outcome: Some(found.outcome.unwrap_or(Outcome::Unknown)),
            error: None,
            payer_display: None,
            pass_expires_at: found.pass_expires_at,
            handover: None,
            payment: None,
            deadline_at: found.at,
            timings: Timings::default(),
        };
        Self::around(session, None, found.verification)
    }

    fn around(session: Session, request: Option<NewSession>, verification: Option<VerificationId>) -> Self {
        Self {
            request,
            session: watch::Sender::new(session),
            pass: Mutex::new(verification),
            passed: Mutex::new(verification),
            code: Mutex::new(None),
            handover: tokio::sync::Mutex::new(()),
            canceled: Notify::new(),
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
    }

    pub(crate) fn show_progress(&self, progress: &Progress) {
        let before = self.session.borrow().clone();
        if (before.state, &before.guidance) != (progress.state, &progress.guidance) {
            self.change(|session| {
                (session.state, session.guidance) = (progress.state, progress.guidance.clone())
            });
        }
    }

    /// The session as its caller sees it: with the digits, if they go back to the caller and are still alive.
    pub(crate) fn shown(&self) -> Session {
        let mut session = self.session.borrow().clone();
        if let Some(handover) = session.handover.as_mut().filter(|h| h.register == RegisterKind::Return) {
            handover.digits = lock(&self.code).as_ref().and_then(LiveCode::digits).map(str::to_owned);
        }
        session
    }
}
