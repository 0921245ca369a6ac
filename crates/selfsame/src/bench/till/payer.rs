//! The payer: types digits at a human's speed, and touches the reader or looks into the camera when asked to.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use selfsame_api::account::Identifier;
use selfsame_api::interface::{HandoverMode, NewSession, RegisterKind, Session, SessionState};
use selfsame_domain::sensor::Modality;

use super::clip::Clip;
use crate::connection::{TIMEOUT, explain_terminal};
use crate::demo::payment::request;
use crate::verify::AtTerminal;

/// Pictures a second of a reader or camera: what webcams and finger readers give in a shop's light.
const FRAMES_PER_SECOND: u32 = 15;

/// Wait of one look at a session.
const LOOK: Duration = Duration::from_secs(2);

/// Presses of enrolment are numbered from 1; those of payments from here.
const FIRST_PRESS: u64 = 10_001;

/// What the payer shows.
pub enum Body {
    /// A synthetic finger, with its next press.
    Finger {
        /// Which.
        finger: u64,
        /// The press that comes next; each is used once.
        press: u64,
    },
    /// A face before a camera, in clips of photos none of which was enrolled, with the one that comes next.
    Face {
        /// The clips.
        clips: Vec<Clip>,
        /// Index of the next one.
        next: usize,
    },
}

impl Body {
    /// A synthetic finger that has not paid yet.
    pub fn finger(finger: u64) -> Self {
        Self::Finger { finger, press: FIRST_PRESS }
    }

    fn modality(&self) -> Modality {
        match self {
            Body::Finger { .. } => Modality::Finger,
            Body::Face { .. } => Modality::Face,
        }
    }
}

/// Somebody who pays.
pub struct Payer {
    /// What is typed.
    pub identifier: Identifier,
    /// How long a digit takes.
    pub digit: Duration,
    /// What is shown.
    pub body: Body,
}

/// A verification as the register and the payer saw it.
pub struct Verified {
    /// How it ended.
    pub session: Session,
    /// When the interface was called.
    pub requested_at: Instant,
    /// When the payer was first asked for something.
    pub asked_at: Instant,
    /// When the register knew how it ended.
    pub ended_at: Instant,
    /// How long the call of the interface took.
    pub calling: Duration,
    /// How long the payer typed.
    pub typing: Duration,
    /// When the first picture that was shown was taken.
    pub shown_at: Option<Instant>,
}

impl Payer {
    /// Calls the verification interface and lets the payer do what is asked, until the outcome. With `types`, the payer
    /// types the digits; else the register gives them.
    pub async fn verify(
        &mut self,
        at: &AtTerminal,
        request_id: &str,
        types: bool,
        frame_phase: f64,
    ) -> anyhow::Result<Verified> {
        let new = NewSession {
            modality: self.body.modality(),
            identifier: (!types).then(|| self.identifier.clone()),
            ..request(request_id, RegisterKind::Return, HandoverMode::OnRequest)?
        };
        let requested_at = Instant::now();
        let mut session = at.request(&new).await.map_err(explain_terminal)?;
        let calling = requested_at.elapsed();
        let (mut asked_at, mut shown_at, mut typing) = (None, None, Duration::ZERO);
        while session.state != SessionState::Done {
            match session.state {
                SessionState::AwaitingIdentifier => {
                    asked_at.get_or_insert_with(Instant::now);
                    typing += self.type_digits(at).await?;
                }
                SessionState::Capturing => {
                    asked_at.get_or_insert_with(Instant::now);
                    let first = self.show(at, frame_phase).await?;
                    shown_at.get_or_insert(first);
                }
                SessionState::Waking | SessionState::Verifying => {}
                other => bail!("the payer of the bench does not know what to do in state {other:?}"),
            }
            let before = session.sequence;
            while session.sequence == before {
                session = at.next(&session, LOOK).await.map_err(explain_terminal)?;
            }
        }
        let ended_at = Instant::now();
        let asked_at = asked_at.unwrap_or(ended_at);
        Ok(Verified { session, requested_at, asked_at, ended_at, calling, typing, shown_at })
    }

    /// Types the digits, one after the other.
    async fn type_digits(&self, at: &AtTerminal) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let digits = u32::try_from(self.identifier.value.len()).context("too many digits")?;
        tokio::time::sleep(self.digit * digits).await;
        let typed = started.elapsed();
        at.identify(self.identifier.clone()).await.map_err(explain_terminal)?;
        Ok(typed)
    }

    /// Shows finger or face in the pictures that come next, until a sample was taken. Answers when the first picture was.
    async fn show(&mut self, at: &AtTerminal, frame_phase: f64) -> anyhow::Result<Instant> {
        let frame = Duration::from_secs(1) / FRAMES_PER_SECOND;
        let first = Instant::now() + frame.mul_f64(1.0 - frame_phase);
        let give_up = first + TIMEOUT;
        let mut number = 0;
        loop {
            tokio::time::sleep_until((first + frame * number).into()).await;
            if Instant::now() > give_up {
                bail!("nobody took what the payer showed");
            }
            match &mut self.body {
                Body::Finger { finger, press } => {
                    if at.press(*finger, *press).await.map_err(explain_terminal)? {
                        *press += 1;
                        return Ok(first);
                    }
                }
                Body::Face { clips, next } => {
                    let clip = clips.get(*next % clips.len().max(1)).context("there is no photo to show")?;
                    let at_ms = u32::try_from((frame * number).as_millis())?;
                    let answer = at.show(clip.picture(number), at_ms).await.map_err(explain_terminal)?;
                    if answer.as_ref().is_some_and(|answer| answer.enough) {
                        *next += 1;
                        return Ok(first);
                    }
                    if answer.is_some_and(|answer| answer.guidance.is_some()) {
                        // Another look: the same photo would be refused for the same reason.
                        *next += 1;
                    }
                }
            }
            // What a camera took while the one before was judged is not shown any more.
            let taken = first.elapsed().as_secs_f64() / frame.as_secs_f64();
            number = (number + 1).max(taken.ceil() as u32);
        }
    }
}
