//! The payer who is not there: types a test site's member number with a fate, presents a picture, cancels, or goes.

use std::sync::LazyLock;
use std::time::Duration;

use selfsame_api::account::Identifier;
use selfsame_api::interface::{DEADLINE_MS_MAX, HandoverPlan, NewSession, SessionState};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::simulator::{NewScenario, Scenario};
use selfsame_api::verifier::{PadInput, Progress};
use selfsame_biometrics::image::{GrayImage, encode_png};
use selfsame_domain::account::IdentifierKind;
use selfsame_domain::id::{RequestId, SessionId};
use selfsame_domain::sensor::Modality;

use super::Simulator;
use crate::capture::{Sample, SampleFrame};
use crate::{lock, random};

/// Longest wait of one question to the verification program, and what its answer may take on top.
const WAIT: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(2);

/// The digits that the payer gives in a scenario, one after the other.
fn numbers(scenario: Scenario) -> &'static [&'static str] {
    match scenario {
        Scenario::PassAfterHint => &["TEST-0002", "TEST-0000"],
        Scenario::NotRecognised => &["TEST-0001"],
        Scenario::Ambiguous => &["TEST-0002", "TEST-0002", "TEST-0002"],
        Scenario::LivenessFail => &["TEST-0003"],
        _ => &["TEST-0000"],
    }
}

fn member(number: &str) -> Identifier {
    Identifier { kind: IdentifierKind::MemberNumber, value: number.to_owned() }
}

/// What stands for the identifier that a register took by itself. Where more digits will be needed the terminal asks for
/// them all, because a register that takes them would have to ask again itself.
pub(super) fn given_at_register(scenario: Scenario) -> Option<Identifier> {
    (scenario != Scenario::PassAfterHint).then(|| member(numbers(scenario)[0]))
}

/// A picture. What it shows makes no difference to payers with a fate.
pub(super) fn sample() -> Sample {
    static PICTURE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let white = GrayImage::new(300, 360, 500, vec![255; 300 * 360]);
        encode_png(&white.expect("the picture has the stated size"))
    });
    vec![SampleFrame::finger(PICTURE.clone(), 500)]
}

/// Follows the verification program and does what the payer has to do, until the session is over.
pub(super) async fn act(simulator: Simulator, session: SessionId, chosen: NewScenario) {
    let step = Duration::from_millis(chosen.delays.payer_ms);
    let mut numbers = numbers(chosen.scenario).iter();
    let mut after = 0;
    loop {
        let path = format!("/v1/progress?session={session}&after={after}&wait_ms={}", WAIT.as_millis());
        // No answer: another session has begun, or everything is being stopped.
        let Ok(progress) = simulator.0.verifier.get::<Progress>(&path, WAIT + GRACE).await else { break };
        after = progress.sequence;
        match progress.state {
            SessionState::Done => break,
            SessionState::AwaitingIdentifier => {
                tokio::time::sleep(step).await;
                let Some(number) = numbers.next() else { continue };
                let input = PadInput { identifier: member(number) };
                let typed = simulator.0.verifier.post::<()>("/v1/identifier", &input, GRACE).await;
                if let Err(error) = typed {
                    tracing::info!(session.id = %session, %error, "the simulated payer typed too late");
                }
            }
            SessionState::Capturing if chosen.scenario == Scenario::PayerCancels => {
                tokio::time::sleep(step).await;
                let Some(sessions) = simulator.sessions() else { break };
                let canceled = sessions.cancel(session).await;
                if let Err(problem) = canceled {
                    tracing::warn!(session.id = %session, %problem, "the simulated payer could not cancel");
                }
            }
            _ => {}
        }
    }
    // The verification program is done a moment before the terminal is.
    if let Some(entered) = simulator.sessions().and_then(|sessions| sessions.find(session).ok()) {
        let mut changes = entered.session.subscribe();
        let _ = changes.wait_for(|session| session.state == SessionState::Done).await;
    }
    simulator.end(session);
}

impl Simulator {
    /// The other payer of `busy` comes to the terminal, and goes again after a while.
    pub(super) fn send_other_payer(&self) -> Result<(), Problem> {
        let Some(sessions) = self.sessions() else { return Ok(()) };
        let request = RequestId::new(sessions.clock.now(), random());
        let new = NewSession {
            request_id: format!("simulator-{request}").parse().expect("an id is a reference"),
            modality: Modality::Finger,
            identifier: None,
            deadline_ms: Some(DEADLINE_MS_MAX),
            lease_ms: None,
            handover: HandoverPlan::default(),
        };
        lock(&self.0.plan).other_payer_next = true;
        let accepted =
            sessions.accept(None, new, Ok(())).inspect_err(|_| lock(&self.0.plan).other_payer_next = false);
        let other = accepted.map_err(|problem| match problem.code {
            ProblemCode::Busy => problem.detail("a payer is being verified: choose `busy` when that is over"),
            _ => problem,
        })?;
        let stays = Duration::from_millis(lock(&self.0.plan).chosen.delays.busy_ms);
        tokio::spawn(async move {
            tokio::time::sleep(stays).await;
            if let Err(problem) = sessions.cancel(other.session.id).await {
                tracing::warn!(%problem, "the other payer cannot go");
            }
        });
        Ok(())
    }
}
