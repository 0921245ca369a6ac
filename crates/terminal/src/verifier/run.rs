//! The run of one session: what the terminal and the payer's page see of it, and how long it may wait for the payer.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use selfsame_api::account::Identifier;
use selfsame_api::client::ClientError;
use selfsame_api::failure::{FailureCode, SessionError};
use selfsame_api::interface::{Outcome, SessionState};
use selfsame_api::problem::ProblemCode;
use selfsame_api::verifier::{PinInput, Progress, Verdict, Way};
use selfsame_domain::clock::Clock;
use selfsame_domain::id::{SessionId, VerificationId};
use selfsame_domain::timing::{Stage, Timings};
use selfsame_domain::verification::Fault;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::capture::CaptureError;
use crate::lock;

/// The run of one session.
pub(super) struct Run {
    pub(super) session: SessionId,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) pad: mpsc::Sender<Identifier>,
    pub(super) pins: mpsc::Sender<PinInput>,
    /// How the payer wants to be verified.
    pub(super) way: watch::Sender<Way>,
    /// What the payer asked for on top of the deadline.
    pub(super) granted: watch::Sender<Duration>,
    /// The server's verification, once it is open.
    pub(super) verification: Mutex<Option<VerificationId>>,
    /// Stages that the server has not been told yet.
    pub(super) untold: Mutex<Timings>,
    pub(super) task: Mutex<Option<JoinHandle<()>>>,
}

/// What a payer types, where the run takes it from.
pub(super) struct Typed {
    pub(super) identifiers: mpsc::Receiver<Identifier>,
    pub(super) pins: mpsc::Receiver<PinInput>,
}

impl Run {
    pub(super) fn advance(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_if_modified(|progress| {
            if progress.state == SessionState::Done {
                return false;
            }
            change(progress);
            progress.sequence += 1;
            true
        });
    }

    pub(super) fn enter(&self, state: SessionState, guidance: Option<String>) {
        self.advance(|progress| {
            (progress.state, progress.guidance) = (state, guidance);
            (progress.challenge, progress.waits_until) = (None, None);
        });
    }

    /// Tells the payer what to do while a sample is taken.
    pub(super) fn guide(&self, guidance: Option<&str>) {
        if self.progress.borrow().guidance.as_deref() != guidance {
            self.advance(|progress| progress.guidance = guidance.map(str::to_owned));
        }
    }

    pub(super) fn time(&self, stage: Stage, since: Instant) {
        let duration = since.elapsed();
        lock(&self.untold).add(stage, duration);
        self.progress.send_modify(|progress| progress.timings.add(stage, duration));
    }

    /// Takes over the stages that only the server and the matcher know.
    pub(super) fn take_over(&self, timings: &Timings) {
        self.progress.send_modify(|progress| {
            let matchers =
                [Stage::Open, Stage::Detection, Stage::AttackDetection, Stage::Extraction, Stage::Comparison];
            for stage in matchers {
                if let Some(duration) = timings.get(stage) {
                    progress.timings.set(stage, duration);
                }
            }
        });
    }

    /// The first verdict stands.
    pub(super) fn finish(&self, verdict: Verdict) {
        self.advance(|progress| {
            progress.state = SessionState::Done;
            (progress.guidance, progress.waits_until) = (None, None);
            progress.verdict = Some(verdict);
        });
    }

    /// Waits for the payer for as long as `budget`, and anew from the moment that the payer asks for more time.
    pub(super) async fn wait_for<T>(
        &self,
        clock: &dyn Clock,
        budget: Duration,
        payer: impl Future<Output = T>,
    ) -> Result<T, Broken> {
        let mut granted = self.granted.subscribe();
        let mut payer = std::pin::pin!(payer);
        loop {
            self.advance(|progress| progress.waits_until = Some(clock.now() + budget));
            tokio::select! {
                done = &mut payer => return Ok(done),
                () = tokio::time::sleep(budget) => return Err(Broken::Absent),
                Ok(()) = granted.changed() => {}
            }
        }
    }

    /// Comes to its end `deadline` from now, later if the payer was granted more time.
    pub(super) async fn overdue(&self, deadline: Duration) {
        overdue(deadline, self.granted.subscribe()).await;
    }
}

/// Comes to its end `deadline` from now and what was granted on top.
pub(crate) async fn overdue(deadline: Duration, mut granted: watch::Receiver<Duration>) {
    let begun = tokio::time::Instant::now();
    loop {
        let end = begun + deadline + *granted.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep_until(end) => return,
            Ok(()) = granted.changed() => {}
        }
    }
}

/// A verdict that is not the server's.
pub(super) trait WithoutServer {
    fn without_server(outcome: Outcome, error: Option<SessionError>) -> Self;
}

impl WithoutServer for Verdict {
    fn without_server(outcome: Outcome, error: Option<SessionError>) -> Self {
        Verdict { outcome, error, verification: None, payer_display: None, pass_expires_at: None }
    }
}

/// Why a run ends without a decision of the server.
pub(super) enum Broken {
    Server(ClientError),
    Fault(Fault),
    Capture(CaptureError),
    Seal,
    /// Nobody typed or came before the reader in time.
    Absent,
    /// The server waits for a sample but gave no nonce: an earlier submission broke off inside it.
    NonceMissing,
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        Broken::Server(error)
    }
}

impl Broken {
    pub(super) fn code(&self) -> FailureCode {
        use FailureCode as Code;
        match self {
            Broken::Server(ClientError::Connect { .. } | ClientError::NoAnswer { .. }) => {
                Code::ServerUnreachable
            }
            Broken::Server(ClientError::Unsigned { .. }) => Code::SignerUnavailable,
            Broken::Server(error) => match error.problem().map(|problem| problem.code) {
                Some(
                    ProblemCode::TerminalRetired
                    | ProblemCode::TerminalLocked
                    | ProblemCode::SignatureInvalid,
                ) => Code::TerminalNotActive,
                Some(ProblemCode::SignatureExpired) => Code::ClockSkew,
                Some(ProblemCode::MatcherUnavailable) => Code::MatcherUnavailable,
                Some(code) if code.status() >= 500 => Code::ServerUnavailable,
                _ => Code::RefusedByServer,
            },
            Broken::Fault(Fault::MatcherUnavailable) => Code::MatcherUnavailable,
            Broken::Fault(Fault::MatcherBusy) => Code::MatcherBusy,
            Broken::Fault(Fault::SealBroken) | Broken::Seal => Code::SealBroken,
            Broken::Fault(Fault::ImageInvalid) => Code::ImageInvalid,
            Broken::Fault(Fault::CaptureUnavailable) | Broken::Capture(_) => Code::CaptureUnavailable,
            Broken::NonceMissing => Code::ServerUnavailable,
            Broken::Absent => Code::PayerAbsent,
        }
    }

    pub(super) fn log(&self, session: SessionId) {
        let cause = match self {
            Broken::Server(error) => error.to_string(),
            Broken::Fault(fault) => fault.to_string(),
            Broken::Capture(error) => error.to_string(),
            Broken::Seal => "the samples could not be sealed".to_owned(),
            Broken::Absent => "nobody came in time".to_owned(),
            Broken::NonceMissing => "the server gave no nonce for the next sample".to_owned(),
        };
        tracing::warn!(session.id = %session, cause, "a verification broke off");
    }
}
