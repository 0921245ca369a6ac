//! Sessions of the verification interface: from an accepted request to its one final outcome.
//!
//! One payer at a time; the states are in [`crate::state`]. A session's driver follows the verification program and ends the session whatever happens:
//! with the program's verdict, on cancel, at the deadline, or when the program is lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use selfsame_api::channel::{Place, TerminalPayment};
use selfsame_api::client::{Client, ClientError};
use selfsame_api::failure::{FailureCode, SessionError};
use selfsame_api::interface::{CancelResult, HandoverMode, NewSession, Outcome, Session, SessionState};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::verification::Verification;
use selfsame_api::verifier::{CancelWake, Progress, Verdict, Wake};
use selfsame_domain::clock::Clock;
use selfsame_domain::id::{RegisterId, SessionId, VerificationId};
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Stage;
use tokio::sync::watch;

use crate::access::Caller;
use crate::configuration::{Configured, Plan};
use crate::device::ServerLink;
use crate::handover::CODE_TIMEOUT;
use crate::health::{Tally, last_of};
use crate::journal::{Entry, Journal, MEMORY, Remembered};
use crate::kiosk::Pages;
use crate::register::{HANDOVER_DEADLINE, Registers};
use crate::session::Entered;
use crate::simulator::Simulator;
use crate::state::{Event, next};
use crate::verifier::run::overdue;
use crate::verifier::{Budgets, CALL_TIMEOUT};
use crate::{lock, random};

/// Longest time from the request until the verification program must answer.
pub(crate) const WAKE_BUDGET: Duration = Duration::from_millis(1_500);

/// Pause between tries to reach a verification program that is being started again.
const WAKE_PAUSE: Duration = Duration::from_millis(20);

/// Longest wait of one question to the verification program, and what its answer may take on top.
const PROGRESS_WAIT: Duration = Duration::from_secs(10);
const PROGRESS_GRACE: Duration = Duration::from_secs(2);

/// How long after the deadline the terminal ends a session by itself: the program has the same deadline.
pub(crate) const DEADLINE_GRACE: Duration = Duration::from_millis(500);

/// Longest wait for the program or the server to hear of a cancel.
pub(crate) const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// When whoever finds the terminal busy should try again, in milliseconds. Most payers take a few seconds.
const BUSY_RETRY_MS: u64 = 1_000;

#[derive(Default)]
struct Index {
    sessions: HashMap<SessionId, Arc<Entered>>,
    /// References are the caller's own: two registers may use the same.
    by_request: HashMap<(Option<RegisterId>, Reference), SessionId>,
    active: Option<SessionId>,
}

/// Times within which things must happen, in milliseconds, by name: for people who look after the terminal.
pub(crate) fn budgets(payer: Budgets) -> BTreeMap<String, u64> {
    let budgets = [
        ("wake", WAKE_BUDGET),
        ("identifier", payer.identifier),
        ("capture", payer.capture),
        ("verify_call", CALL_TIMEOUT),
        ("code_call", CODE_TIMEOUT),
        ("handover", HANDOVER_DEADLINE),
        ("cancel", CANCEL_TIMEOUT),
    ];
    let milliseconds = |budget: Duration| u64::try_from(budget.as_millis()).unwrap_or(u64::MAX);
    budgets.into_iter().map(|(name, budget)| (name.to_owned(), milliseconds(budget))).collect()
}

/// All sessions of this terminal.
pub(crate) struct Sessions {
    index: Mutex<Index>,
    journal: Journal,
    verifier: Client,
    pub(crate) link: Arc<ServerLink>,
    pub(crate) configured: Configured,
    /// Whose terminal this is, as the server said last.
    pub(crate) place: Mutex<Option<Place>>,
    pub(crate) registers: Registers,
    pub(crate) tally: Tally,
    /// Raised by every change of any session, and of what the server says.
    news: Arc<watch::Sender<u64>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// On test sites, what stands for the payer.
    pub(crate) simulator: Option<Simulator>,
    /// The payer's pages that are looking.
    pub(crate) pages: Pages,
}

/// A session as accepted, or as it was accepted before.
pub(crate) struct Accepted {
    pub(crate) session: Session,
    pub(crate) replayed: bool,
}

fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound)
}

/// What ends a session, with what the verification program concluded, if it did.
struct Ending {
    event: Event,
    error: Option<SessionError>,
    verdict: Option<Verdict>,
}

impl From<Event> for Ending {
    fn from(event: Event) -> Self {
        let code = match event {
            Event::Broke(code) => Some(code),
            Event::Deserted => Some(FailureCode::CallerGone),
            _ => None,
        };
        Self { event, error: code.map(SessionError::from), verdict: None }
    }
}

impl From<Verdict> for Ending {
    fn from(verdict: Verdict) -> Self {
        Self { event: Event::Concluded(verdict.outcome), error: verdict.error, verdict: Some(verdict) }
    }
}

impl Ending {
    /// The verification and until when codes of it can be asked for, if the payer has passed.
    fn pass(&self) -> Option<(Option<VerificationId>, Option<Timestamp>)> {
        let passed = self.verdict.as_ref().filter(|_| self.event == Event::Concluded(Outcome::Passed))?;
        Some((passed.verification, passed.pass_expires_at))
    }
}

impl Sessions {
    /// Sessions that an earlier run left in the middle are `unknown`. They have no code: a code is asked for only after
    /// the outcome was written down.
    pub(crate) fn new(
        journal: Journal,
        remembered: Vec<Remembered>,
        verifier: Client,
        link: Arc<ServerLink>,
        configured: Configured,
        registers: Registers,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut index = Index::default();
        let plan = Plan::unasked(&configured.in_force(), registers.default_kind());
        let news = Arc::new(watch::Sender::new(0));
        for found in remembered {
            index.by_request.insert((found.register, found.request_id.clone()), found.session);
            let entered = Entered::remembered(found, plan, news.clone());
            index.sessions.insert(entered.id(), Arc::new(entered));
        }
        let remembered: Vec<Session> =
            index.sessions.values().map(|entered| entered.session.borrow().clone()).collect();
        let tally = Tally::new(last_of(remembered.iter()));
        Self {
            index: Mutex::new(index),
            journal,
            verifier,
            link,
            configured,
            place: Mutex::new(None),
            registers,
            tally,
            news,
            clock,
            simulator: None,
            pages: Pages::default(),
        }
    }

    /// With a simulator in the place of the payer.
    pub(crate) fn simulated(self, simulator: Option<Simulator>) -> Self {
        Self { simulator, ..self }
    }

    /// Something about the terminal has changed that is no session's.
    pub(crate) fn tell(&self) {
        self.news.send_modify(|news| *news += 1);
    }

    /// Hears of every change of any session.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The session that began last, of those that a caller may see.
    pub(crate) fn latest(&self, caller: Caller) -> Option<Session> {
        let entered = self.all();
        let seen = entered.iter().filter(|entered| caller.may_see(entered.register));
        let latest = seen.max_by_key(|entered| entered.id());
        latest.map(|entered| entered.session.borrow().clone())
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entered>> {
        lock(&self.index).sessions.values().cloned().collect()
    }

    /// Takes over what the server says of payments.
    pub(crate) fn learn(&self, payments: &[TerminalPayment]) {
        let entered = self.all();
        for payment in payments {
            entered.iter().for_each(|entered| entered.learn(payment));
        }
    }

    /// Whether a payer is being verified.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.index).active.is_some()
    }

    pub(crate) fn find(&self, session: SessionId) -> Result<Arc<Entered>, Problem> {
        lock(&self.index).sessions.get(&session).cloned().ok_or_else(not_found)
    }

    /// Takes a request of a register, or of the terminal's own, if it is `admitted`; or answers the session that it made
    /// before.
    pub(crate) fn accept(
        self: &Arc<Self>,
        register: Option<RegisterId>,
        request: NewSession,
        admitted: Result<(), Problem>,
    ) -> Result<Accepted, Problem> {
        let now = self.clock.now();
        let mut index = lock(&self.index);
        let reference = (register, request.request_id.clone());
        if let Some(earlier) = index.by_request.get(&reference) {
            let earlier = index.sessions.get(earlier).ok_or_else(not_found)?;
            if earlier.request.as_ref().is_some_and(|before| *before != request) {
                let detail = "this request_id was used for another request";
                return Err(Problem::new(ProblemCode::ReferenceConflict).detail(detail));
            }
            return Ok(Accepted { session: earlier.session.borrow().clone(), replayed: true });
        }
        admitted?;
        let plan = Plan::of(&request, &self.configured.in_force(), self.registers.default_kind());
        self.registers.choose(Some(plan.register))?;
        if index.active.is_some() {
            return Err(Problem { retry_after_ms: Some(BUSY_RETRY_MS), ..Problem::new(ProblemCode::Busy) });
        }
        index.forget_before(now - MEMORY);
        let session = SessionId::new(now, random());
        let accepted = Entry::Accepted { session, request_id: request.request_id.clone(), at: now, register };
        self.journal.write(&accepted).map_err(|error| {
            tracing::error!(%error, "the journal cannot be written, so no request is accepted");
            Problem::new(ProblemCode::Unavailable)
                .detail("this terminal cannot write its journal: is its disk full?")
        })?;
        let entered = Arc::new(Entered::new(session, register, request, plan, now, self.news.clone()));
        // The next payer has come: codes of the ones before must not stay on the screen.
        index.sessions.values().for_each(|earlier| *lock(&earlier.code) = None);
        index.by_request.insert(reference, session);
        index.sessions.insert(session, entered.clone());
        index.active = Some(session);
        drop(index);
        let first = entered.session.borrow().clone();
        tokio::spawn(self.clone().drive(entered));
        Ok(Accepted { session: first, replayed: false })
    }

    /// The session, as soon as it has changed since `after` or `wait` is over.
    pub(crate) async fn follow(
        &self,
        session: SessionId,
        after: u64,
        wait: Duration,
    ) -> Result<Session, Problem> {
        let entered = self.find(session)?;
        let _attention = entered.attend();
        let mut changes = entered.session.subscribe();
        let news = changes.wait_for(|session| session.sequence > after);
        // Without news the present state is the answer.
        let _ = tokio::time::timeout(wait, news).await;
        Ok(entered.shown())
    }

    /// Cancels: a session that is not over ends, the pass of one that is over is given up and its code revoked.
    pub(crate) async fn cancel(&self, session: SessionId) -> Result<Session, Problem> {
        let entered = self.find(session)?;
        if entered.session.borrow().state != SessionState::Done {
            entered.canceled.notify_one();
            let mut changes = entered.session.subscribe();
            let done = changes.wait_for(|session| session.state == SessionState::Done);
            // The driver ends the session within the time that it gives the program to hear of it.
            let _ = tokio::time::timeout(2 * CANCEL_TIMEOUT, done).await;
        }
        *lock(&entered.code) = None;
        self.refuse(&entered).await?;
        let passed = *lock(&entered.pass);
        if let Some(verification) = passed {
            let paid = self.end_pass(verification).await?;
            *lock(&entered.pass) = None;
            let result = if paid { CancelResult::TooLate } else { CancelResult::InTime };
            entered.change(|session| session.cancel = Some(result));
        }
        entered.change(|session| (session.handover, session.pass_expires_at) = (None, None));
        Ok(entered.shown())
    }

    /// Ends a pass at the server; answers whether a payment had come of it.
    async fn end_pass(&self, verification: VerificationId) -> Result<bool, Problem> {
        let path = format!("/v1/verifications/{verification}/end");
        match self.link.post::<Verification>(&path, &serde_json::json!({}), CANCEL_TIMEOUT).await {
            Ok(ended) => Ok(ended.paid),
            Err(ClientError::Problem(problem)) if problem.code == ProblemCode::NotFound => Ok(false),
            Err(ClientError::Problem(problem)) => Err(*problem),
            Err(error) => {
                tracing::warn!(%error, "a pass was not ended at the server");
                let detail =
                    "the payment server does not answer: cancel again, or the code lives until it expires";
                Err(Problem::new(ProblemCode::Unavailable).detail(detail))
            }
        }
    }

    /// Drives one session to its end. A panic in it ends the session too.
    async fn drive(self: Arc<Self>, entered: Arc<Entered>) {
        let (sessions, driven) = (self.clone(), entered.clone());
        let driving = tokio::spawn(async move { sessions.ending_of(&driven).await });
        let ending = driving.await.unwrap_or_else(|error| {
            tracing::error!(session.id = %entered.id(), %error, "a session's driver broke down");
            Event::Broke(FailureCode::Internal).into()
        });
        self.finish(&entered, ending).await;
    }

    async fn ending_of(&self, entered: &Entered) -> Ending {
        let request = entered.request.as_ref().expect("only sessions of this run are driven");
        let event = tokio::select! {
            ending = self.verify(entered, request) => return ending,
            () = entered.canceled.notified() => Event::Canceled,
            () = entered.deserted(request.lease_ms.map(Duration::from_millis)) => Event::Deserted,
            () = overdue(entered.plan.deadline + DEADLINE_GRACE, entered.granted.subscribe()) => Event::DeadlinePassed,
        };
        self.cancel_wake(entered.id()).await;
        event.into()
    }

    /// Frees the reader. A program that does not answer is being started again, and then captures nothing.
    async fn cancel_wake(&self, session: SessionId) {
        let canceled = self.verifier.post::<()>("/v1/cancel", &CancelWake { session }, CANCEL_TIMEOUT).await;
        if let Err(error) = canceled {
            tracing::warn!(session.id = %session, %error, "the verification program did not hear of the cancel");
        }
    }

    /// Wakes the verification program and follows it to its verdict.
    async fn verify(&self, entered: &Entered, request: &NewSession) -> Ending {
        let mut progress = match self.wake(entered, request).await {
            Ok(progress) => progress,
            Err(error) => {
                tracing::error!(session.id = %entered.id(), %error, "the verification program was not woken");
                return Event::Broke(FailureCode::VerifierUnavailable).into();
            }
        };
        loop {
            if let Some(verdict) = progress.verdict {
                entered.change(|session| session.timings.merge(&progress.timings));
                return verdict.into();
            }
            entered.show_progress(&progress);
            let wait_ms = PROGRESS_WAIT.as_millis();
            let (session, after) = (entered.id(), progress.sequence);
            let path = format!("/v1/progress?session={session}&after={after}&wait_ms={wait_ms}");
            progress = match self.verifier.get(&path, PROGRESS_WAIT + PROGRESS_GRACE).await {
                Ok(progress) => progress,
                Err(error) => {
                    tracing::error!(session.id = %session, %error, "the verification program was lost");
                    return Event::Broke(FailureCode::VerifierLost).into();
                }
            };
        }
    }

    /// Waits out a program that is just being started again. Waking twice is harmless: the second run is the one.
    async fn wake(&self, entered: &Entered, request: &NewSession) -> Result<Progress, ClientError> {
        let started = Instant::now();
        let mut wake = Wake {
            session: entered.id(),
            modality: request.modality,
            identifier: request.identifier.clone(),
            deadline_ms: u64::try_from(entered.plan.deadline.as_millis()).unwrap_or(u64::MAX),
            takes_pin: self.pages.any(),
        };
        self.simulator.iter().for_each(|simulator| simulator.meet(&mut wake));
        loop {
            let left = WAKE_BUDGET.saturating_sub(started.elapsed());
            match self.verifier.post::<Progress>("/v1/wake", &wake, left.max(WAKE_PAUSE)).await {
                Ok(progress) => {
                    entered.change(|session| session.timings.add(Stage::Wake, started.elapsed()));
                    self.simulator.iter().for_each(|simulator| simulator.play(wake.session));
                    return Ok(progress);
                }
                Err(error) if error.problem().is_some() || started.elapsed() >= WAKE_BUDGET => {
                    return Err(error);
                }
                Err(_) => tokio::time::sleep(WAKE_PAUSE).await,
            }
        }
    }

    /// Writes the outcome to the journal. A pass that cannot be written is none: after a restart nobody would know it.
    async fn write_down(&self, entered: &Entered, outcome: Outcome, ending: Ending) -> (Outcome, Ending) {
        let (verification, pass_expires_at) = ending.pass().unwrap_or_default();
        let entry = Entry::Ended { session: entered.id(), outcome, verification, pass_expires_at };
        let Err(error) = self.journal.write(&entry) else { return (outcome, ending) };
        tracing::error!(session.id = %entered.id(), %error, "an outcome was not written to the journal");
        let Some(verification) = verification else { return (outcome, ending) };
        // If the server does not hear of it the pass expires there, and nobody can ask for its code.
        let _ = self.end_pass(verification).await;
        (Outcome::Failed, Event::Broke(FailureCode::JournalUnwritable).into())
    }

    /// Writes the outcome down, hands the code over if that was to happen at once, and tells everybody.
    async fn finish(&self, entered: &Entered, ending: Ending) {
        let state = entered.session.borrow().state;
        let Some((state, Some(outcome))) = next(state, ending.event) else {
            unreachable!("a driver ends its session once, by an event that ends sessions");
        };
        let (outcome, ending) = self.write_down(entered, outcome, ending).await;
        let passed = ending.pass();
        if let Some((verification, _)) = passed {
            entered.pass(verification);
        }
        let mut error = ending.error;
        if passed.is_some() && entered.plan.mode == HandoverMode::Immediate {
            let brought = self.bring_planned(entered).await.unwrap_or_else(|problem| {
                tracing::warn!(session.id = %entered.id(), %problem, "there was no code; it can be asked for again");
                Some(FailureCode::CodeIssueFailed)
            });
            error = brought.map(SessionError::from);
        }
        lock(&self.index).active = None;
        self.tally.add(outcome, error.map(|error| error.code), self.clock.now());
        tracing::info!(session.id = %entered.id(), %outcome, "a verification ended");
        entered.change(|session| {
            session.state = state;
            (session.guidance, session.guidance_text) = (None, None);
            session.outcome = Some(outcome);
            session.error = error;
            session.payer_display = ending.verdict.and_then(|verdict| verdict.payer_display);
            session.pass_expires_at = passed.and_then(|(_, pass_expires_at)| pass_expires_at);
        });
    }
}

impl Index {
    fn forget_before(&mut self, oldest: Timestamp) {
        self.sessions.retain(|_, entered| entered.session.borrow().deadline_at >= oldest);
        let Index { sessions, by_request, .. } = self;
        by_request.retain(|_, session| sessions.contains_key(session));
    }
}
