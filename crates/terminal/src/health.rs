//! How this terminal fares: what it tells registers before they ask a payer to look, and what it reports to the payment
//! server so that the operator sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use selfsame_api::client::{Client, ClientError};
use selfsame_api::configuration::Configuration;
use selfsame_api::failure::FailureCode;
use selfsame_api::fleet::{Health, HealthReceived, LastOutcome, REPORT_EVERY, Reason};
use selfsame_api::interface::{Outcome, Session, TerminalState, TerminalStatus};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::register::{RegisterOffer, RegisterState};
use selfsame_api::verifier::{PageAddress, VerifierStatus};
use selfsame_domain::id::TerminalId;
use selfsame_domain::terminal::Standing;
use selfsame_domain::time::Timestamp;

use crate::channel::{Connection, ConnectionState};
use crate::device::SKEW_MAX_MS;
use crate::lock;
use crate::verification::Sessions;

/// Longest wait for the verification program to say that it is there.
pub(crate) const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// How often the terminal looks whether there is something new to report.
const LOOK: Duration = Duration::from_secs(2);

/// Longest wait for the server to take a report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a report that the server did not take.
const REPORT_PAUSE: Duration = Duration::from_secs(10);

/// Less room than this for the journal is none, in bytes: a day of a busy till.
const JOURNAL_FREE_BYTES_MIN: u64 = 4 << 20;

/// What a terminal's state follows from.
struct Facts {
    connection: Connection,
    /// What the verification program can capture; `None`: it does not answer.
    modalities: Option<usize>,
    /// The camera that it opens itself cannot be used.
    lacks_camera: bool,
    is_busy: bool,
    is_in_maintenance: bool,
    clock_skew_ms: Option<i64>,
    journal_free_bytes: Option<u64>,
    /// A code would find its register, unless the request names another.
    reaches_register: bool,
}

/// The state that a register acts on, and everything that is the matter.
fn assess(facts: &Facts) -> (TerminalState, Vec<Reason>) {
    let mut reasons = Vec::new();
    match facts.modalities {
        None => reasons.push(Reason::VerifierUnavailable),
        Some(0) => reasons.push(Reason::CaptureUnavailable),
        Some(_) => {}
    }
    if facts.lacks_camera {
        reasons.push(Reason::CameraUnavailable);
    }
    if facts.journal_free_bytes.is_some_and(|free| free < JOURNAL_FREE_BYTES_MIN) {
        reasons.push(Reason::DiskFull);
    }
    // The server refuses the signatures of such a clock, also while the channel that was opened before is still there.
    if facts.clock_skew_ms.is_some_and(|skew_ms| skew_ms.abs() > SKEW_MAX_MS) {
        reasons.push(Reason::ClockSkew);
    }
    let degraded = !reasons.is_empty();
    // Keeps nobody from being verified: a code can be sent once the cable is in, or to another register.
    if !facts.reaches_register {
        reasons.push(Reason::RegisterUnavailable);
    }
    if facts.connection == Connection::Lost {
        reasons.push(Reason::ServerUnreachable);
    }
    let state = match facts.connection {
        Connection::Open(Standing::Locked | Standing::Retired) => TerminalState::Locked,
        _ if facts.is_in_maintenance => TerminalState::Maintenance,
        _ if degraded => TerminalState::Degraded,
        _ if facts.is_busy => TerminalState::Busy,
        Connection::Lost => TerminalState::Offline,
        Connection::Open(Standing::Active) => TerminalState::Ready,
    };
    (state, reasons)
}

/// How verifications ended.
pub(crate) struct Tally(Mutex<(BTreeMap<String, u64>, Option<LastOutcome>)>);

impl Tally {
    /// Counts from now on; the last one may be of an earlier run.
    pub(crate) fn new(last: Option<LastOutcome>) -> Self {
        Self(Mutex::new((BTreeMap::new(), last)))
    }

    pub(crate) fn add(&self, outcome: Outcome, error: Option<FailureCode>, at: Timestamp) {
        let mut tally = lock(&self.0);
        *tally.0.entry(outcome.as_str().to_owned()).or_insert(0) += 1;
        tally.1 = Some(LastOutcome { outcome, error, at });
    }
}

/// What looks after the terminal.
#[derive(Clone)]
pub(crate) struct Checkup {
    pub(crate) terminal: TerminalId,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) connection: ConnectionState,
    pub(crate) verifier: Client,
    pub(crate) journal: PathBuf,
    pub(crate) started: Instant,
}

/// Where the pictures of a camera come from.
pub(crate) struct CameraWay {
    /// A page's camera sends its frames here; none where the camera is the program's own.
    pub(crate) page: Option<PageAddress>,
    /// The verification program opens a camera itself.
    pub(crate) is_own: bool,
}

/// What is reported at once when it changes. Which payer is being verified is not among it.
#[derive(PartialEq)]
struct Told {
    opening: u64,
    status: TerminalStatus,
    configuration: Configuration,
}

impl Told {
    fn of(opening: u64, status: &TerminalStatus, configuration: Configuration) -> Self {
        let state = if status.state == TerminalState::Busy { TerminalState::Ready } else { status.state };
        let status = TerminalStatus { to_confirm: None, clock_skew_ms: None, state, ..status.clone() };
        Self { opening, status, configuration }
    }
}

impl Checkup {
    /// Whether this terminal would take a request now, and why not.
    pub(crate) async fn status(&self) -> TerminalStatus {
        self.look().await.0
    }

    /// The same, with what the payer's page has to know of the camera.
    pub(crate) async fn look(&self) -> (TerminalStatus, CameraWay) {
        let verifier: Result<VerifierStatus, _> = self.verifier.get("/v1/verifier", STATUS_TIMEOUT).await;
        let verifier = verifier.ok();
        let camera = verifier.as_ref().and_then(|found| found.camera.as_ref());
        let is_own = camera.is_some();
        let lacks_camera = camera.is_some_and(|camera| camera.state.is_fault());
        let (modalities, page) = verifier.map_or((None, None), |found| (Some(found.modalities), found.page));
        let connection = self.connection.get();
        let registers = self.sessions.offers();
        let is_there = |offer: &RegisterOffer| offer.is_default && offer.state == RegisterState::Ready;
        let maintenance = self.sessions.configured.in_force().maintenance;
        let clock_skew_ms = self.sessions.link.clock_skew_ms();
        let (state, reasons) = assess(&Facts {
            connection,
            modalities: modalities.as_ref().map(Vec::len),
            lacks_camera,
            is_busy: self.sessions.is_busy(),
            is_in_maintenance: maintenance.is_some(),
            clock_skew_ms,
            journal_free_bytes: self.journal_free_bytes(),
            reaches_register: registers.iter().any(is_there),
        });
        let status = TerminalStatus {
            terminal: self.terminal,
            state,
            to_confirm: self.sessions.to_confirm(),
            modalities: modalities.unwrap_or_default(),
            registers,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reasons,
            server_reachable: connection != Connection::Lost,
            clock_skew_ms,
            maintenance,
            configuration_source: self.sessions.configured.source(connection),
        };
        (status, CameraWay { page: page.filter(|_| !is_own), is_own })
    }

    /// Whether the operator lets this terminal take new requests.
    pub(crate) fn admit(&self) -> Result<(), Problem> {
        match self.connection.get() {
            Connection::Open(Standing::Locked) => return Err(Problem::new(ProblemCode::TerminalLocked)),
            Connection::Open(Standing::Retired) => return Err(Problem::new(ProblemCode::TerminalRetired)),
            // Without the channel the server may still be there: the verification itself finds out.
            Connection::Open(Standing::Active) | Connection::Lost => {}
        }
        let Some(maintenance) = self.sessions.configured.in_force().maintenance else { return Ok(()) };
        let problem = Problem::new(ProblemCode::TerminalMaintenance);
        Err(maintenance.text.iter().fold(problem, Problem::detail))
    }

    fn journal_free_bytes(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.journal).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Reports when the channel opens, when something has changed, and every minute, for as long as the process runs.
    pub(crate) async fn keep_reporting(self) {
        let mut told: Option<Told> = None;
        let mut next = Instant::now();
        loop {
            let (opening, connection) = self.connection.opening();
            if let Connection::Open(Standing::Active | Standing::Locked) = connection {
                let status = self.status().await;
                let news = Told::of(opening, &status, self.sessions.configured.in_force());
                if told.as_ref() != Some(&news) || next <= Instant::now() {
                    match self.report(status).await {
                        Ok(()) => next = Instant::now() + REPORT_EVERY,
                        Err(error) => {
                            tracing::warn!(%error, "the payment server did not take the report of how this terminal fares");
                            next = Instant::now() + REPORT_PAUSE;
                        }
                    }
                    told = Some(news);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn report(&self, status: TerminalStatus) -> Result<(), ClientError> {
        let (outcomes, last_outcome) = lock(&self.sessions.tally.0).clone();
        let health = Health {
            version: status.version,
            uptime_seconds: self.started.elapsed().as_secs(),
            state: status.state,
            reasons: status.reasons,
            clock_skew_ms: status.clock_skew_ms,
            modalities: status.modalities,
            registers: status.registers.iter().map(|offer| offer.register).collect(),
            last_outcome,
            outcomes,
            journal_free_bytes: self.journal_free_bytes(),
            configuration: self.sessions.configured.in_force(),
        };
        let link = &self.sessions.link;
        let sent_at = link.machine_time();
        let received: HealthReceived = link.post("/v1/terminal-health", &health, REPORT_TIMEOUT).await?;
        link.measure_clock(received.server_time, sent_at, link.machine_time());
        Ok(())
    }
}

/// The last verification of an earlier run.
pub(crate) fn last_of<'a>(sessions: impl Iterator<Item = &'a Session>) -> Option<LastOutcome> {
    let last = sessions.max_by_key(|session| session.id)?;
    Some(LastOutcome { outcome: last.outcome?, error: None, at: last.deadline_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Facts {
        Facts {
            connection: Connection::Open(Standing::Active),
            modalities: Some(1),
            lacks_camera: false,
            is_busy: false,
            is_in_maintenance: false,
            clock_skew_ms: Some(3),
            journal_free_bytes: Some(1 << 30),
            reaches_register: true,
        }
    }

    #[test]
    fn a_register_is_told_what_is_the_matter() {
        let lost = || Facts { connection: Connection::Lost, ..well() };
        let locked = || Facts { connection: Connection::Open(Standing::Locked), ..well() };
        let skewed = Some(-SKEW_MAX_MS - 1);
        for (facts, state, reasons) in [
            (well(), TerminalState::Ready, vec![]),
            (Facts { is_busy: true, ..well() }, TerminalState::Busy, vec![]),
            (Facts { is_busy: true, is_in_maintenance: true, ..well() }, TerminalState::Maintenance, vec![]),
            (
                Facts { modalities: None, ..well() },
                TerminalState::Degraded,
                vec![Reason::VerifierUnavailable],
            ),
            (
                Facts { modalities: Some(0), ..well() },
                TerminalState::Degraded,
                vec![Reason::CaptureUnavailable],
            ),
            (
                Facts { lacks_camera: true, ..well() },
                TerminalState::Degraded,
                vec![Reason::CameraUnavailable],
            ),
            (
                Facts { journal_free_bytes: Some(0), ..well() },
                TerminalState::Degraded,
                vec![Reason::DiskFull],
            ),
            (
                Facts { reaches_register: false, ..well() },
                TerminalState::Ready,
                vec![Reason::RegisterUnavailable],
            ),
            (Facts { journal_free_bytes: None, ..well() }, TerminalState::Ready, vec![]),
            (lost(), TerminalState::Offline, vec![Reason::ServerUnreachable]),
            (
                Facts { is_in_maintenance: true, ..lost() },
                TerminalState::Maintenance,
                vec![Reason::ServerUnreachable],
            ),
            (
                Facts { clock_skew_ms: skewed, ..lost() },
                TerminalState::Degraded,
                vec![Reason::ClockSkew, Reason::ServerUnreachable],
            ),
            (Facts { clock_skew_ms: skewed, ..well() }, TerminalState::Degraded, vec![Reason::ClockSkew]),
            (
                Facts { modalities: None, ..locked() },
                TerminalState::Locked,
                vec![Reason::VerifierUnavailable],
            ),
            (Facts { is_in_maintenance: true, ..locked() }, TerminalState::Locked, vec![]),
        ] {
            assert_eq!(assess(&facts), (state, reasons));
        }
    }

    #[test]
    fn outcomes_are_counted_and_the_last_one_is_kept() {
        let at = Timestamp::from_millis;
        let earlier = LastOutcome { outcome: Outcome::Unknown, error: None, at: at(1) };
        let tally = Tally::new(Some(earlier));
        assert_eq!(*lock(&tally.0), (BTreeMap::new(), Some(earlier)));
        tally.add(Outcome::Passed, None, at(2));
        tally.add(Outcome::Passed, None, at(3));
        tally.add(Outcome::Failed, Some(FailureCode::VerifierLost), at(4));
        let (outcomes, last) = lock(&tally.0).clone();
        assert_eq!(
            outcomes.into_iter().collect::<Vec<_>>(),
            [("failed".to_owned(), 1), ("passed".to_owned(), 2)]
        );
        assert_eq!(
            last.unwrap(),
            LastOutcome { outcome: Outcome::Failed, error: Some(FailureCode::VerifierLost), at: at(4) }
        );
    }
}
