//! From the payer's first digit to the verdict: identifier, then sample; or, where the payer would rather, the whole
//! identifier and the PIN.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selfsame_api::account::Identifier;
use selfsame_api::client::ClientError;
use selfsame_api::interface::{Outcome, SessionState};
use selfsame_api::sealing::FrameContext;
use selfsame_api::verification::{
    Decision, Ending, NewPinVerification, NewVerification, Samples, Verification,
};
use selfsame_api::verifier::{PinInput, Verdict, Wake, Way};
use selfsame_domain::id::VerificationId;
use selfsame_domain::sensor::Modality;
use selfsame_domain::timing::Stage;
use selfsame_domain::verification::{Fault, State as ServerState};
use tokio::sync::mpsc;

use super::run::{Broken, Run, Typed, WithoutServer};
use super::{App, CALL_TIMEOUT, end_at_server};
use crate::capture::{CaptureError, CaptureSource, Sample};
use crate::device::ServerLink;
use crate::enrolment::seal_all;
use crate::lock;

/// Pause before the second try of a call that found nobody: a process that died is back by then.
const RETRY_PAUSE: Duration = Duration::from_millis(400);

/// How often a payer may give more digits in one session, before the till has to start again.
const IDENTIFIERS_MAX: u32 = 3;

/// How often a payer may change the way in one session.
const CHANGES_MAX: u32 = 6;

/// How often number and PIN may be entered in one session. After as many wrong ones a PIN is locked.
const PIN_ENTRIES_MAX: u32 = 3;

/// Guidance after a wrong number or PIN; which of them it was is not told.
const NUMBER_OR_PIN_WRONG: &str = "number_or_pin_wrong";

/// Guidance for whoever was not recognised.
const NOT_RECOGNISED: &str = "not_recognised";

/// Verifies one payer, by the deadline at the latest.
pub(super) async fn verify(app: App, run: Arc<Run>, wake: Wake, typed: Typed) {
    let deadline = Duration::from_millis(wake.deadline_ms);
    let concluded = tokio::select! {
        concluded = converse(&app, &run, wake, typed) => Some(concluded),
        () = run.overdue(deadline) => None,
    };
    let verdict = match concluded {
        Some(Ok(verdict)) => verdict,
        Some(Err(broken)) => {
            broken.log(run.session);
            let outcome = if matches!(broken, Broken::Absent) { Outcome::TimedOut } else { Outcome::Failed };
            Verdict::without_server(outcome, Some(broken.code().into()))
        }
        None => Verdict::without_server(Outcome::TimedOut, None),
    };
    *lock(&app.counters).entry(verdict.outcome.to_string()).or_default() += 1;
    if verdict.outcome != Outcome::Passed {
        let opened = lock(&run.verification).take();
        if let Some(verification) = opened {
            end_at_server(app.clone(), verification);
        }
    }
    run.finish(verdict);
}

/// What is known of the payer so far, whichever way is taken.
struct Given {
    identifier: Option<Identifier>,
    by_register: bool,
    rounds: u32,
    pin_entries: u32,
    guidance: Option<&'static str>,
}

/// The way that the payer takes, as often as it is changed. Where a page is open that can take a PIN, whoever is not
/// recognised may go on with that: the till need not begin again.
async fn converse(app: &App, run: &Run, wake: Wake, mut typed: Typed) -> Result<Verdict, Broken> {
    let mut ways = run.way.subscribe();
    let by_register = wake.identifier.is_some();
    let mut given =
        Given { identifier: wake.identifier, by_register, rounds: 0, pin_entries: 0, guidance: None };
    let (mut changes, mut declined) = (0, None);
    loop {
        let way = *ways.borrow_and_update();
        let going = async {
            match way {
                Way::Sample => by_sample(app, run, wake.modality, &mut given, &mut typed.identifiers).await,
                Way::Pin => by_pin(app, run, wake.modality, &mut given, &mut typed.pins).await,
            }
        };
        let verdict = tokio::select! {
            concluded = going => match (concluded, declined.take()) {
                // Somebody who was not recognised has gone: that is what it came to.
                (Err(Broken::Absent), Some(verdict)) => return Ok(verdict),
                (concluded, _) => concluded?,
            },
            Ok(()) = ways.changed(), if changes < CHANGES_MAX => {
                // What was begun at the server ends when the next verification begins there.
                changes += 1;
                given.guidance = None;
                continue;
            }
        };
        if verdict.outcome != Outcome::Declined || way == Way::Pin || !wake.takes_pin {
            return Ok(verdict);
        }
        given.guidance = Some(NOT_RECOGNISED);
        declined = Some(verdict);
        run.way.send_replace(Way::Pin);
    }
}

/// Identifier, then sample; again with more digits where those did not tell two people apart.
async fn by_sample(
    app: &App,
    run: &Run,
    modality: Modality,
    given: &mut Given,
    typed: &mut mpsc::Receiver<Identifier>,
) -> Result<Verdict, Broken> {
    let source = app.sources.iter().find(|source| source.modality() == modality);
    let source = source.ok_or(Broken::Capture(CaptureError::NoSource(modality)))?;
    let _in_use = (modality == Modality::Face).then(|| app.power.in_use());
    let mut tries = 0;
    loop {
        tries += 1;
        let identifier = match &given.identifier {
            Some(identifier) => identifier.clone(),
            None => {
                run.enter(SessionState::AwaitingIdentifier, given.guidance.take().map(str::to_owned));
                // The sender lives as long as the run, so there is always somebody to wait for.
                let typed = run.wait_for(app.clock.as_ref(), app.budgets.identifier, typed.recv()).await?;
                typed.ok_or(Broken::Capture(CaptureError::GivenUp))?
            }
        };
        given.identifier = Some(identifier.clone());
        given.rounds += 1;
        run.enter(SessionState::Verifying, None);
        let opened = open(app, run, source, identifier, given.rounds).await?;
        *lock(&run.verification) = Some(opened.id);
        let concluded = capture(app, run, source, opened).await?;
        let ambiguous = matches!(concluded.ending, Some(Ending::Decision { decision: Decision::Ambiguous }));
        // A register that took the digits itself asks for more of them itself.
        if !ambiguous || given.by_register || tries == IDENTIFIERS_MAX {
            return Ok(verdict(concluded));
        }
        (given.identifier, given.guidance) = (None, Some("more_digits"));
    }
}

/// Number and PIN instead of a sample.
async fn by_pin(
    app: &App,
    run: &Run,
    modality: Modality,
    given: &mut Given,
    typed: &mut mpsc::Receiver<PinInput>,
) -> Result<Verdict, Broken> {
    loop {
        run.enter(SessionState::AwaitingPin, given.guidance.take().map(str::to_owned));
        // Twice as much is typed.
        let budget = 2 * app.budgets.identifier;
        let typed = run.wait_for(app.clock.as_ref(), budget, typed.recv()).await?;
        let PinInput { identifier, pin, .. } = typed.ok_or(Broken::Capture(CaptureError::GivenUp))?;
        given.pin_entries += 1;
        run.enter(SessionState::Verifying, None);
        let since = Instant::now();
        let request_ref = format!("{}.pin{}", run.session, given.pin_entries);
        let new = NewPinVerification {
            request_ref: request_ref.parse().expect("a session id and a number are a reference"),
            instead_of: modality,
            identifier,
            pin,
        };
        let mut answered = app.link.post("/v1/pin-verifications", &new, CALL_TIMEOUT).await;
        if answered.as_ref().is_err_and(|error| error.problem().is_none()) {
            tokio::time::sleep(RETRY_PAUSE).await;
            answered = app.link.post("/v1/pin-verifications", &new, CALL_TIMEOUT).await;
        }
        run.time(Stage::Verdict, since);
        let concluded: Verification = answered?;
        *lock(&run.verification) = Some(concluded.id);
        if concluded.state == ServerState::Passed || given.pin_entries == PIN_ENTRIES_MAX {
            return Ok(verdict(concluded));
        }
        given.guidance = Some(NUMBER_OR_PIN_WRONG);
    }
}

fn verdict(concluded: Verification) -> Verdict {
    let passed = concluded.state == ServerState::Passed;
    Verdict {
        outcome: if passed { Outcome::Passed } else { Outcome::Declined },
        error: None,
        verification: Some(concluded.id),
        payer_display: concluded.payer_display,
        pass_expires_at: passed.then_some(concluded.expires_at),
    }
}

/// Opens a verification at the server. Asked twice, because the reference makes that harmless.
async fn open(
    app: &App,
    run: &Run,
    source: &CaptureSource,
    identifier: Identifier,
    round: u32,
) -> Result<Verification, Broken> {
    let since = Instant::now();
    let request_ref = format!("{}.{round}", run.session);
    let new = NewVerification {
        request_ref: request_ref.parse().expect("a session id and a digit are a reference"),
        modality: source.modality(),
        sensor_grade: source.grade(),
        identifier,
    };
    let mut opened = app.link.post("/v1/verifications", &new, CALL_TIMEOUT).await;
    if opened.as_ref().is_err_and(|error| error.problem().is_none()) {
        tokio::time::sleep(RETRY_PAUSE).await;
        opened = app.link.post("/v1/verifications", &new, CALL_TIMEOUT).await;
    }
    run.time(Stage::Candidates, since);
    Ok(opened?)
}

/// Captures and submits until the server has decided.
async fn capture(
    app: &App,
    run: &Run,
    source: &CaptureSource,
    mut verification: Verification,
) -> Result<Verification, Broken> {
    let mut guidance = None;
    while verification.state == ServerState::Capturing {
        run.enter(SessionState::Capturing, guidance.take());
        let challenge = verification.challenge.clone();
        if challenge.is_some() {
            run.advance(|progress| progress.challenge = challenge.clone());
        }
        let since = Instant::now();
        let captured = source.capture(challenge.as_ref(), |guidance| run.guide(guidance));
        let captured = run.wait_for(app.clock.as_ref(), app.budgets.capture, captured).await?;
        let sample = captured.map_err(Broken::Capture)?;
        run.time(Stage::Capture, since);
        *lock(&app.counters).entry("samples".to_owned()).or_default() += 1;
        run.enter(SessionState::Verifying, None);
        verification = submit_twice(app, run, source, verification, &sample).await?;
        guidance = match &verification.ending {
            Some(Ending::Retry { reason }) => Some(reason.clone()),
            Some(Ending::Fault { fault }) => return Err(Broken::Fault(*fault)),
            Some(Ending::Decision { .. }) | None => Some(NOT_RECOGNISED.to_owned()),
        };
    }
    Ok(verification)
}

/// Submits a sample; once more after a moment if the matcher was away or busy, which passes within that moment.
async fn submit_twice(
    app: &App,
    run: &Run,
    source: &CaptureSource,
    verification: Verification,
    sample: &Sample,
) -> Result<Verification, Broken> {
    let answered = submit(app, run, source, verification, sample).await?;
    let passing = [Fault::MatcherUnavailable, Fault::MatcherBusy];
    let passing = matches!(answered.ending, Some(Ending::Fault { fault }) if passing.contains(&fault));
    if !passing || answered.state != ServerState::Capturing {
        return Ok(answered);
    }
    tokio::time::sleep(RETRY_PAUSE).await;
    submit(app, run, source, answered, sample).await
}

/// Seals, signs and sends one sample. If the answer is lost, the server is asked what came of it.
async fn submit(
    app: &App,
    run: &Run,
    source: &CaptureSource,
    verification: Verification,
    sample: &Sample,
) -> Result<Verification, Broken> {
    let nonce = verification.nonce.clone().ok_or(Broken::NonceMissing)?;
    // The server's grade: it is above the source's own where a challenge was set.
    let (modality, sensor_grade) = (source.modality(), verification.sensor_grade);
    let since = Instant::now();
    let context = FrameContext {
        terminal: app.identity.terminal.terminal,
        session: verification.id.to_string(),
        nonce: nonce.clone(),
        modality,
        sensor_grade,
    };
    let frames = seal_all(&app.identity.terminal.matcher_key, &context, sample).map_err(|_| Broken::Seal)?;
    run.time(Stage::Seal, since);
    let timings = std::mem::take(&mut *lock(&run.untold));
    let samples = Samples { nonce, modality, sensor_grade, frames, timings };
    let since = Instant::now();
    let answered = send(&app.link, verification.id, &samples).await;
    run.time(Stage::Verdict, since);
    let answered = answered?;
    run.take_over(&answered.timings);
    Ok(answered)
}

/// Sends samples. An answer that was lost is looked up, and the samples are sent again only if they never arrived.
async fn send(
    link: &ServerLink,
    verification: VerificationId,
    samples: &Samples,
) -> Result<Verification, ClientError> {
    let path = format!("/v1/verifications/{verification}");
    let samples_path = format!("{path}/samples");
    let lost = match link.post(&samples_path, samples, CALL_TIMEOUT).await {
        Err(error @ (ClientError::Connect { .. } | ClientError::NoAnswer { .. })) => error,
        other => return other,
    };
    tokio::time::sleep(RETRY_PAUSE).await;
    let found: Verification = link.get(&path, CALL_TIMEOUT).await?;
    if found.state != ServerState::Capturing {
        return Ok(found);
    }
    if found.nonce.as_ref() == Some(&samples.nonce) {
        return link.post(&samples_path, samples, CALL_TIMEOUT).await;
    }
    Err(lost)
}
