//! `selfsame verify`: what a register's software does at a terminal's verification interface (step 1 of the method),
//! as a command. Also how the demo speaks to its terminal.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use selfsame_api::account::Identifier;
use selfsame_api::client::{Client, ClientError};
use selfsame_api::interface::{
    HandoverMode, HandoverPlan, HandoverRequest, NewSession, Outcome, RegisterKind, Session, SessionState,
};
use selfsame_api::problem::ProblemCode;
use selfsame_api::register::{HANDOVER_WORDS, HandoverState};
use selfsame_api::verifier::{FrameAnswer, PadInput, SyntheticPress, VerifierStatus};
use selfsame_domain::account::IdentifierKind;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::reference::Reference;
use selfsame_domain::sensor::Modality;
use selfsame_domain::site::Mode;
use selfsame_terminal::device::DeviceIdentity;

use crate::connection::{TIMEOUT, explain_terminal};
use crate::output;
use crate::site::Site;

/// Pause before a finger touches the reader again that was not ready yet.
const PRESS_PAUSE: Duration = Duration::from_millis(20);

/// How long a terminal that is just being started again is waited for.
const COME_BACK: Duration = Duration::from_secs(3);

/// Pause between such tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Wait of one long poll.
const POLL: Duration = Duration::from_secs(2);

/// How much later than its deadline a session may end before we stop waiting for it.
const GRACE: Duration = Duration::from_secs(10);

/// Ask this machine's terminal to verify a payer, and print the payment code
///
/// Calls the verification interface: no amount is sent. After a pass the 18 digits are printed on standard output
/// (register `return`), shown on the terminal's screen and kept as a picture (register `screen`), or sent to the till.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame verify --phone-last4 0142 | selfsame till --amount 4.20 --key-file merchant.key
  selfsame verify --member-number M-1001 --register screen --picture code.png
  selfsame verify --phone-last4 0142 --finger 1 --press 500      (test sites: synthetic finger 1, press 500)
  selfsame verify --phone-last4 0142 --face a.jpg b.jpg          (test sites: these pictures before the camera)

Exit codes: 0 a code was handed over, 1 not, 2 used wrongly.")]
pub struct Verify {
    #[command(flatten)]
    identifier: IdentifierOptions,
    /// How the code gets to the register
    #[arg(long, value_enum, default_value = "return")]
    register: Register,
    /// Where to keep the picture of register `screen`
    #[arg(long, value_name = "FILE", default_value = "payment-code.png")]
    picture: PathBuf,
    /// Test sites: this synthetic finger touches the reader
    #[arg(long, value_name = "NUMBER")]
    finger: Option<u64>,
    /// Test sites: first press of that finger; further tries use the next ones
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, requires = "finger")]
    press: u64,
    /// Test sites: these pictures come before the camera, one after the other
    #[arg(long, value_name = "FILES", num_args = 1.., conflicts_with = "finger")]
    face: Vec<PathBuf>,
    /// How long it may take, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=180))]
    deadline_seconds: u64,
    /// Reference of this request [default: made of the time]
    #[arg(long, value_name = "REF")]
    request_id: Option<Reference>,
}

/// What the payer says who they are by; without any of these the terminal's pad asks.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct IdentifierOptions {
    /// The payer's phone number with country code
    #[arg(long, value_name = "DIGITS")]
    phone: Option<String>,
    /// Its last four digits
    #[arg(long, value_name = "DIGITS")]
    phone_last4: Option<String>,
    /// Member number
    #[arg(long, value_name = "TEXT")]
    member_number: Option<String>,
}

impl IdentifierOptions {
    fn identifier(self) -> Option<Identifier> {
        let of = |kind, value: Option<String>| value.map(|value| Identifier { kind, value });
        of(IdentifierKind::Phone, self.phone)
            .or(of(IdentifierKind::PhoneLast4, self.phone_last4))
            .or(of(IdentifierKind::MemberNumber, self.member_number))
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Register {
    /// Back to the caller: printed
    Return,
    /// On the terminal's screen, as Code 128 and QR
    Screen,
    /// Typed, as section [register.keyboard] says
    Keyboard,
    /// Written to a serial line, as section [register.serial] says
    Serial,
    /// Written to a TCP connection, as section [register.tcp] says
    Tcp,
    /// Pushed to a page of a browser, as section [register.websocket] says
    Websocket,
}

impl Verify {
    /// Verifies a payer and hands the code over.
    pub async fn run(self, site: &Site) -> anyhow::Result<ExitCode> {
        let at = AtTerminal::new(site)?;
        let pictures = self.pictures(site)?;
        let modality = if pictures.is_empty() { Modality::Finger } else { Modality::Face };
        let request_id = match self.request_id {
            Some(request_id) => request_id,
            None => format!("verify-{}", SystemClock.now()).parse()?,
        };
        let register = match self.register {
            Register::Return => RegisterKind::Return,
            Register::Screen => RegisterKind::Screen,
            Register::Keyboard => RegisterKind::Keyboard,
            Register::Serial => RegisterKind::Serial,
            Register::Tcp => RegisterKind::Tcp,
            Register::Websocket => RegisterKind::Websocket,
        };
        let new = NewSession {
            request_id,
            modality,
            identifier: self.identifier.identifier(),
            deadline_ms: Some(self.deadline_seconds * 1000),
            lease_ms: None,
            handover: HandoverPlan { register: Some(register), mode: Some(HandoverMode::OnRequest) },
        };
        let session = at.request(&new).await.map_err(explain_terminal)?;
        output::note(format_args!("{}: asking for identifier and {modality}", session.id));
        let ended = match self.finger {
            Some(finger) => at.present(session, finger, &mut (self.press..), show).await,
            None if pictures.is_empty() => at.follow(session, show).await,
            None => at.look(session, &pictures, show).await.map(|(ended, _)| ended),
        };
        let ended = ended?;
        if ended.outcome != Some(Outcome::Passed) {
            output::note(format_args!("NOT VERIFIED: {}", ending_words(&ended)));
            return Ok(ExitCode::FAILURE);
        }
        let handed = at.hand_over(&ended, &HandoverRequest::default()).await.map_err(explain_terminal)?;
        let handover = handed.handover.context("the terminal handed nothing over")?;
        output::note(format_args!(
            "verified {}; the code is good until {}",
            handed.payer_display.as_deref().unwrap_or("the payer"),
            handover.expires_at
        ));
        match (register, handover.digits) {
            (RegisterKind::Return, Some(digits)) => output::line(digits)?,
            (RegisterKind::Return, None) => bail!("the terminal handed over a code without digits"),
            (RegisterKind::Screen, _) => {
                let picture = at.screen(&ended).await.map_err(explain_terminal)?;
                std::fs::write(&self.picture, picture)
                    .with_context(|| format!("failed to write `{}`", self.picture.display()))?;
                output::line(self.picture.display())?;
            }
            (
                RegisterKind::Keyboard | RegisterKind::Serial | RegisterKind::Tcp | RegisterKind::Websocket,
                _,
            ) => {
                let told = HANDOVER_WORDS.iter().find(|words| words.state == handover.state);
                output::note(told.map_or("", |words| words.en));
                if let Some(detail) = &handover.detail {
                    output::note(detail);
                }
                if handover.state != HandoverState::Sent {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The pictures that were named. A real site's payers stand before its camera themselves.
    fn pictures(&self, site: &Site) -> anyhow::Result<Vec<Vec<u8>>> {
        if self.face.is_empty() {
            return Ok(Vec::new());
        }
        let mode = DeviceIdentity::load(&site.device())?.terminal.mode;
        ensure!(
            mode == Mode::Test,
            "pictures from files are for test sites, and this is a {} site",
            mode.as_str()
        );
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))
        };
        self.face.iter().map(read).collect()
    }
}

fn show(session: &Session) {
    let told = session.guidance_text.clone();
    if let Some(told) = told.or_else(|| session.guidance.as_ref().map(|code| code.replace('_', " "))) {
        output::note(format_args!("the payer is told: {told}"));
    }
}

/// How a session ended, in words.
pub fn ending_words(session: &Session) -> String {
    let outcome = session.outcome.map_or("no outcome", Outcome::as_str);
    match &session.error {
        Some(error) => format!("{outcome} ({})", error.code),
        None => outcome.to_owned(),
    }
}

/// A terminal on this machine: its verification interface, and the pad and reader of its verification program.
pub struct AtTerminal {
    terminal: Client,
    verifier: Client,
}

impl AtTerminal {
    /// The terminal of a site.
    pub fn new(site: &Site) -> anyhow::Result<Self> {
        let client = |socket: &str| anyhow::Ok(Client::unix(&site.socket(socket)?, Arc::new(SystemClock)));
        Ok(Self { terminal: client("terminal.sock")?, verifier: client("verifier.sock")? })
    }

    /// The verification interface.
    pub fn interface(&self) -> &Client {
        &self.terminal
    }

    /// Asks for a verification. A terminal that is just coming back is waited for; by its `request_id` a request that
    /// is made twice is one.
    pub async fn request(&self, new: &NewSession) -> Result<Session, ClientError> {
        let started = Instant::now();
        loop {
            match self.terminal.post("/v1/verifications", new, TIMEOUT).await {
                Err(error) if error.problem().is_none() && started.elapsed() < COME_BACK => {
                    tokio::time::sleep(PAUSE).await;
                }
                asked => return asked,
            }
        }
    }

    /// Waits for a change of a session, some seconds at most.
    pub async fn next(&self, session: &Session, wait: Duration) -> Result<Session, ClientError> {
        let (id, after, wait_ms) = (session.id, session.sequence, wait.as_millis());
        let path = format!("/v1/verifications/{id}?after={after}&wait_ms={wait_ms}");
        self.terminal.get(&path, wait + TIMEOUT).await
    }

    /// The pad's digits.
    pub async fn identify(&self, identifier: Identifier) -> Result<(), ClientError> {
        self.verifier.post("/v1/identifier", &PadInput { identifier }, TIMEOUT).await
    }

    /// A synthetic finger touches the reader; `false` if nobody was asked to.
    pub async fn press(&self, finger: u64, press: u64) -> Result<bool, ClientError> {
        match self.verifier.post("/v1/presses", &SyntheticPress { finger, press }, TIMEOUT).await {
            Ok(()) => Ok(true),
            Err(error)
                if error.problem().is_some_and(|problem| problem.code == ProblemCode::InvalidState) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A picture before the camera, `at_ms` after the first one; `None` if nobody was asked to look into it.
    pub async fn show(&self, jpeg: Vec<u8>, at_ms: u32) -> Result<Option<FrameAnswer>, ClientError> {
        let path = format!("/v1/frames?at_ms={at_ms}");
        match self.verifier.post_bytes(&path, "image/jpeg", jpeg, TIMEOUT).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error)
                if error.problem().is_some_and(|problem| problem.code == ProblemCode::InvalidState) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What the verification program counts.
    pub async fn verifier_status(&self) -> Result<VerifierStatus, ClientError> {
        self.verifier.get("/v1/verifier", TIMEOUT).await
    }

    /// Has the code handed over.
    pub async fn hand_over(
        &self,
        session: &Session,
        request: &HandoverRequest,
    ) -> Result<Session, ClientError> {
        self.terminal.post(&format!("/v1/verifications/{}/handover", session.id), request, TIMEOUT).await
    }

    /// What the terminal's screen shows.
    pub async fn screen(&self, session: &Session) -> Result<Vec<u8>, ClientError> {
        self.terminal.get_bytes(&format!("/v1/verifications/{}/screen.png", session.id), TIMEOUT).await
    }

    /// Waits for the outcome; `observe` sees every change.
    pub async fn follow(
        &self,
        session: Session,
        mut observe: impl FnMut(&Session),
    ) -> anyhow::Result<Session> {
        self.until_done(session, None, &mut observe).await
    }

    /// The same, with a synthetic finger that touches the reader whenever it is asked to, each time as another press.
    pub async fn present(
        &self,
        session: Session,
        finger: u64,
        presses: &mut (dyn Iterator<Item = u64> + Send),
        mut observe: impl FnMut(&Session),
    ) -> anyhow::Result<Session> {
        self.until_done(session, Some((finger, presses)), &mut observe).await
    }

    /// The same, with pictures before the camera: one after the other, and again from the first. Answers as well which
    /// of them was kept last.
    pub async fn look(
        &self,
        mut session: Session,
        pictures: &[Vec<u8>],
        mut observe: impl FnMut(&Session),
    ) -> anyhow::Result<(Session, Option<usize>)> {
        ensure!(!pictures.is_empty(), "there is no picture to show");
        let give_up = Instant::now() + session.deadline_at.since(SystemClock.now()) + GRACE;
        let (mut turn, mut kept) = (0, None);
        observe(&session);
        while session.state != SessionState::Done {
            if Instant::now() > give_up {
                bail!("the terminal gave {} no outcome before its deadline", session.id);
            }
            let mut wait = POLL;
            if session.state == SessionState::Capturing {
                let index = turn % pictures.len();
                let answer = self.show(pictures[index].clone(), 0).await.map_err(explain_terminal)?;
                turn += usize::from(answer.is_some());
                if answer.as_ref().is_some_and(|answer| answer.kept) {
                    kept = Some(index);
                }
                if answer.is_none_or(|answer| !answer.enough) {
                    wait = PRESS_PAUSE;
                }
            }
            let newer = self.next(&session, wait).await.map_err(explain_terminal)?;
            if newer.sequence != session.sequence {
                observe(&newer);
            }
            session = newer;
        }
        Ok((session, kept))
    }

    async fn until_done(
        &self,
        mut session: Session,
        mut touch: Option<(u64, &mut (dyn Iterator<Item = u64> + Send))>,
        observe: &mut impl FnMut(&Session),
    ) -> anyhow::Result<Session> {
        let left = session.deadline_at.since(SystemClock.now());
        let give_up = Instant::now() + left + GRACE;
        let mut press = None;
        observe(&session);
        while session.state != SessionState::Done {
            if Instant::now() > give_up {
                bail!("the terminal gave {} no outcome before its deadline", session.id);
            }
            let mut wait = POLL;
            if let (SessionState::Capturing, Some((finger, presses))) = (session.state, touch.as_mut()) {
                let next = press.take().or_else(|| presses.next()).context("no presses are left")?;
                if !self.press(*finger, next).await.map_err(explain_terminal)? {
                    // Not asked yet, or no more: the same press is kept for the next time.
                    press = Some(next);
                    wait = PRESS_PAUSE;
                }
            }
            let newer = self.next(&session, wait).await.map_err(explain_terminal)?;
            if newer.sequence != session.sequence {
                observe(&newer);
            }
            session = newer;
        }
        Ok(session)
    }
}
