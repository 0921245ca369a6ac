//! The same way by face, where a model pack and photos are there. Photos are a developer's data, never ours to ship:
//! whoever is shown is called Eve here, and no photo that was enrolled ever pays.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use selfsame_api::account::Identifier;
use selfsame_api::interface::{
    HandoverMode, HandoverRequest, NewSession, Outcome, RegisterKind, Session, SessionState,
};
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::timing::Stage as Timed;
use selfsame_terminal::capture::SampleFrame;
use selfsame_terminal::enrolment::EnrolError;

use crate::connection::{TIMEOUT, explain, explain_terminal};
use crate::demo::Stage;
use crate::demo::payment::{handed_digits, milliseconds, request};
use crate::demo::people::{People, consent, face_account, last4};
use crate::demo::processes::Processes;
use crate::demo::refusals::declined_because;
use crate::demo::screen::{Checked, Screen};
use crate::demo::till::Charge;
use crate::desk::enrol::EnrolmentDesk;
use crate::models::load;
use crate::verify::ending_words;

/// The pack of the demo.
pub const PACK: &str = "face-default";

/// Photos by which Eve is enrolled.
const ENROLLED: usize = 3;

/// People whose photos the quality gate may refuse before the demo gives up.
const PEOPLE_MAX: usize = 20;

/// Pause before a photo is shown again that was not awaited yet.
const PAUSE: Duration = Duration::from_millis(20);

/// What Eve types, and what nobody with her face typed.
const DIGITS: &str = "0123";

/// Where packs and photos are.
pub struct FaceData {
    /// Folder of the packs.
    pub models: PathBuf,
    /// Photos of people with more than are enrolled, one list a person.
    people: Vec<Vec<PathBuf>>,
    /// A photo of a photo.
    attack: PathBuf,
}

impl FaceData {
    /// By the variables SELFSAME_MODELS and SELFSAME_FACES; `Err` says what is missing.
    pub fn find() -> anyhow::Result<Self> {
        let folder = |variable: &str| {
            let folder = std::env::var_os(variable).map(PathBuf::from);
            let folder = folder.with_context(|| format!("{variable} names no folder"))?;
            std::path::absolute(&folder).with_context(|| format!("{variable} names no folder"))
        };
        let models = folder("SELFSAME_MODELS")?;
        load(&models, PACK)?;
        let faces = folder("SELFSAME_FACES")?;
        let mut people: Vec<Vec<PathBuf>> = files(&faces.join("images"))?
            .iter()
            .map(|person| files(person))
            .collect::<anyhow::Result<_>>()?;
        people.retain(|photos| photos.len() > ENROLLED);
        ensure!(people.len() > 1, "`{}` shows too few people four times", faces.display());
        Ok(Self { models, people, attack: faces.join("pad/image_F1.jpg") })
    }
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read =
        || fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut files = read().with_context(|| format!("failed to look into `{}`", folder.display()))?;
    files.sort();
    Ok(files)
}

fn read(photos: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    photos
        .iter()
        .map(|path| fs::read(path).with_context(|| format!("failed to read `{}`", path.display())))
        .collect()
}

/// Eve, with the photos that were not enrolled, and somebody else's.
struct Eve {
    unused: Vec<Vec<u8>>,
    stranger: Vec<Vec<u8>>,
}

/// Enrols Eve, lets her pay by a photo that was not enrolled, and tries what must not work.
pub async fn show(
    stage: &Stage<'_>,
    processes: &Processes<'_>,
    data: &FaceData,
    people: &mut People,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let eve = enrol(stage, processes, data, people, screen).await?;
    let paid = pay(stage, &eve, people).await;
    screen.check("1 to 5, by face", paid)?;
    screen.check("a stranger's face", stranger(stage, &eve).await)?;
    screen.check("the right face, wrong digits", wrong_digits(stage, &eve).await)?;
    screen.check("a photo of a photo", attack(stage, data).await)
}

async fn enrol(
    stage: &Stage<'_>,
    processes: &Processes<'_>,
    data: &FaceData,
    people: &mut People,
    screen: &mut Screen,
) -> anyhow::Result<Eve> {
    let account = face_account(stage, DIGITS).await?;
    people.top_up(stage, account, 2_000, "demo-top-up-eve").await?;
    people.others.push((account, "Eve"));
    let consent = consent(stage, account).await?;
    let desk = EnrolmentDesk { identity: processes.desk()?, operator: &stage.operator };
    for (number, photos) in data.people.iter().enumerate().take(PEOPLE_MAX) {
        let (enrolled, unused) = photos.split_at(ENROLLED);
        let enrolment = desk.open(account, consent, Modality::Face, 0).await.map_err(explain)?;
        let frames: Vec<SampleFrame> =
            read(enrolled)?.into_iter().map(|photo| SampleFrame::face(photo, 0)).collect();
        match desk.submit(&enrolment, SensorGrade::Simulated, &frames).await {
            Ok(active) => {
                let text = format!(
                    "consent {consent}; {} frames enrolled, others are kept for paying",
                    active.templates
                );
                screen.check("Eve (..0123)", Ok(text))?;
                let other = &data.people[(number + 1) % data.people.len()];
                return Ok(Eve { unused: read(unused)?, stranger: read(other)? });
            }
            // The desk would ask for another picture; here another person takes her place.
            Err(EnrolError::Server(error)) if error.problem().is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("of {PEOPLE_MAX} people nobody's photos could be enrolled")
}

/// A session from request to outcome, with these photos before the camera one after the other.
async fn look(
    stage: &Stage<'_>,
    request_id: &str,
    types: Identifier,
    photos: &[Vec<u8>],
) -> anyhow::Result<Session> {
    let new = NewSession {
        modality: Modality::Face,
        identifier: Some(types),
        ..request(request_id, RegisterKind::Return, HandoverMode::OnRequest)?
    };
    let mut session = stage.at.request(&new).await.map_err(explain_terminal)?;
    let mut shown = photos.iter().cycle();
    let give_up = Instant::now() + TIMEOUT;
    while session.state != SessionState::Done {
        ensure!(Instant::now() < give_up, "{} came to no end", session.id);
        let mut wait = TIMEOUT / 10;
        if session.state == SessionState::Capturing {
            let photo = shown.next().context("no photos are left")?;
            let answer = stage.at.show(photo.clone(), 0).await.map_err(explain_terminal)?;
            if answer.is_none_or(|answer| !answer.enough) {
                wait = PAUSE;
            }
        }
        session = stage.at.next(&session, wait).await.map_err(explain_terminal)?;
    }
    Ok(session)
}

async fn pay(stage: &Stage<'_>, eve: &Eve, people: &mut People) -> Checked {
    let session = look(stage, "demo-eve-1", last4(DIGITS), &eve.unused).await?;
    ensure!(session.outcome == Some(Outcome::Passed), "Eve was not verified: {}", ending_words(&session));
    let handed = stage.at.hand_over(&session, &HandoverRequest::default()).await.map_err(explain_terminal)?;
    let (_, digits) = handed_digits(&handed)?;
    let charge = Charge { key: "merchant", amount: "6.40", order_ref: "T1-0008", digits: &digits };
    let (payment, _) = charge.run(stage.site).await?.paid()?;
    people.rows += 1;
    let took =
        |stage: Timed| session.timings.get(stage).map(milliseconds).context("a stage was not measured");
    Ok(format!(
        "Eve types {DIGITS} and looks into the camera; PAID {}, {}. Face found in {}, looked at for attacks in {}, \
         described in {}",
        payment.amount,
        payment.id,
        took(Timed::Detection)?,
        took(Timed::AttackDetection)?,
        took(Timed::Extraction)?
    ))
}

fn declined(session: &Session) -> anyhow::Result<()> {
    ensure!(
        session.outcome == Some(Outcome::Declined),
        "the verification ended as {}",
        ending_words(session)
    );
    Ok(())
}

async fn stranger(stage: &Stage<'_>, eve: &Eve) -> Checked {
    declined(&look(stage, "demo-face-stranger", last4(DIGITS), &eve.stranger).await?)?;
    declined_because(stage, "no_match", "three looks, and not Eve").await
}

async fn wrong_digits(stage: &Stage<'_>, eve: &Eve) -> Checked {
    declined(&look(stage, "demo-face-digits", last4("0142"), &eve.unused).await?)?;
    declined_because(stage, "not_enrolled", "nobody with these digits is enrolled by face").await
}

async fn attack(stage: &Stage<'_>, data: &FaceData) -> Checked {
    let photo = read(std::slice::from_ref(&data.attack))?;
    declined(&look(stage, "demo-face-attack", last4(DIGITS), &photo).await?)?;
    declined_because(stage, "attack", "whoever it shows").await
}
