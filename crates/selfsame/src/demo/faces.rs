//! The same way by face, where a model pack and photos are there. Photos are a developer's data, never ours to ship:
//! whoever is shown is called Eve or Finn here, and no photo that was enrolled ever pays.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use selfsame_api::account::Identifier;
use selfsame_api::client::ClientError;
use selfsame_api::enrolment::EnrolmentState;
use selfsame_api::interface::{HandoverMode, HandoverRequest, NewSession, Outcome, RegisterKind, Session};
use selfsame_api::problem::ProblemCode;
use selfsame_biometrics::color_image::{ColorImage, encode_jpeg};
use selfsame_domain::id::AccountId;
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::timing::{Stage as Timed, Timings};
use selfsame_terminal::capture::SampleFrame;
use selfsame_terminal::enrolment::EnrolError;

use crate::connection::{TIMEOUT, explain, explain_terminal};
use crate::demo::Stage;
use crate::demo::payment::{bare_milliseconds, handed_digits, request};
use crate::demo::people::{People, consent, face_account, last4};
use crate::demo::processes::Processes;
use crate::demo::refusals::{declined_because, operators_reason, samples_taken};
use crate::demo::screen::{Checked, Screen};
use crate::demo::till::Charge;
use crate::desk::enrol::EnrolmentDesk;
use crate::models::load;
use crate::verify::ending_words;

/// The pack of the demo.
pub const PACK: &str = "face-default";

/// Photos by which a person is enrolled.
const ENROLLED: usize = 3;

/// People whose photos the quality gate may refuse before the demo gives up.
const PEOPLE_MAX: usize = 20;

/// Longest time that one payer may look into the camera, in milliseconds.
const DEADLINE_MS: u64 = 15_000;

/// Pause before a photo is shown again that was not awaited yet.
const PAUSE: Duration = Duration::from_millis(20);

/// Strangers who may look into the camera: one living face in fourteen is taken for an attack, and then another one
/// shows that it would not have passed as Eve either.
const STRANGERS_MAX: usize = 3;

/// The two who pay: name, last four digits, what they spend, and for which order.
const EVE: Payer = Payer { name: "Eve", digits: "0123", amount: "6.40", order_ref: "T1-0008" };
const FINN: Payer = Payer { name: "Finn", digits: "0155", amount: "3.20", order_ref: "T1-0009" };

/// What the face adds to the stages of a payment.
const STAGES: [(Timed, &str, &str); 5] = [
    (Timed::Capture, "capture", "until a frame was good enough (terminal)"),
    (Timed::Detection, "detection", "face and its landmarks found, quality judged (matcher)"),
    (Timed::AttackDetection, "attacks", "looked at for a picture or a mask (matcher)"),
    (Timed::Extraction, "extraction", "aligned face to template (matcher)"),
    (Timed::Comparison, "comparison", "with the candidates' templates (matcher)"),
];

struct Payer {
    name: &'static str,
    digits: &'static str,
    amount: &'static str,
    order_ref: &'static str,
}

/// Where packs and photos are.
pub struct FaceData {
    /// Folder of the packs.
    pub models: PathBuf,
    /// Photos of people with more than are enrolled, one list a person.
    people: Vec<Vec<PathBuf>>,
    /// A photo of a photo.
    attack: PathBuf,
    /// Where the till's terminal has its frames from, as its settings name it.
    pub source: &'static str,
}

impl FaceData {
    /// Packs by the variable SELFSAME_MODELS, photos as named; `Err` says what is missing.
    pub fn find(faces: Option<&Path>) -> anyhow::Result<Self> {
        let models = std::env::var_os("SELFSAME_MODELS").context("SELFSAME_MODELS names no folder")?;
        let models = std::path::absolute(models).context("SELFSAME_MODELS names no folder")?;
        load(&models, PACK)?;
        let faces = faces.context("neither --faces nor SELFSAME_FACES names a folder")?;
        let mut people: Vec<Vec<PathBuf>> = files(&faces.join("images"))?
            .iter()
            .map(|person| files(person))
            .collect::<anyhow::Result<_>>()?;
        people.retain(|photos| photos.len() > ENROLLED);
        ensure!(people.len() > 2, "`{}` shows too few people four times", faces.display());
        Ok(Self { models, people, attack: faces.join("pad/image_F1.jpg"), source: "posted" })
    }

    /// The same before a camera: what comes from there is asked for several frames, and looked at for attacks as on a
    /// site that is live.
    pub fn before_a_camera(self) -> Self {
        Self { source: "browser", ..self }
    }

    /// Enrols one person: the account, what is typed, and the photos that were not enrolled.
    pub async fn enrol_one(
        &self,
        stage: &Stage<'_>,
        processes: &Processes<'_>,
        people: &mut People,
    ) -> anyhow::Result<(AccountId, Identifier, Vec<Vec<u8>>)> {
        let desk = EnrolmentDesk { identity: processes.desk()?, operator: &stage.operator };
        let eve = enrol(stage, &desk, self, &EVE, 0, people, &mut Screen::quiet()).await?;
        Ok((eve.account, last4(EVE.digits), eve.unused))
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

/// Somebody enrolled, with the photos that were not.
struct Faced {
    payer: &'static Payer,
    account: AccountId,
    unused: Vec<Vec<u8>>,
    /// Place among the people.
    place: usize,
}

/// A payment by face.
struct PaidByFace {
    timings: Timings,
    /// The photo that passed.
    photo: Vec<u8>,
}

/// Enrols two people, lets them pay by photos that were not enrolled, and tries what must not work.
pub async fn show(
    stage: &Stage<'_>,
    processes: &Processes<'_>,
    data: &FaceData,
    people: &mut People,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let desk = EnrolmentDesk { identity: processes.desk()?, operator: &stage.operator };
    let eve = enrol(stage, &desk, data, &EVE, 0, people, screen).await?;
    let finn = enrol(stage, &desk, data, &FINN, eve.place + 1, people, screen).await?;
    let by_eve = pay(stage, &eve, people, screen).await?;
    let by_finn = pay(stage, &finn, people, screen).await?;
    print_table(screen, &by_eve.timings, &by_finn.timings)?;
    screen.check("nobody, then Eve", guided(stage, &by_eve.photo).await)?;
    screen.check("a stranger's face", stranger(stage, data, [&eve, &finn]).await)?;
    screen.check("the right face, wrong digits", wrong_digits(stage, &by_eve.photo).await)?;
    screen.check("a photo of a photo", attack(stage, data).await)
}

async fn enrol(
    stage: &Stage<'_>,
    desk: &EnrolmentDesk<'_>,
    data: &FaceData,
    payer: &'static Payer,
    from: usize,
    people: &mut People,
    screen: &mut Screen,
) -> anyhow::Result<Faced> {
    let account = face_account(stage, payer.name, payer.digits).await?;
    people.top_up(stage, account, 2_000, &format!("demo-top-up-{}", payer.digits)).await?;
    people.others.push((account, payer.name));
    let consent = consent(stage, account).await?;
    for (place, photos) in data.people.iter().enumerate().skip(from).take(PEOPLE_MAX) {
        let (enrolled, unused) = photos.split_at(ENROLLED);
        let mut enrolment = desk.open(account, consent, Modality::Face, 0).await.map_err(explain)?;
        let frames: Vec<SampleFrame> =
            read(enrolled)?.into_iter().map(|photo| SampleFrame::face(photo, 0)).collect();
        match desk.submit(&mut enrolment, SensorGrade::Simulated, &frames).await {
            Ok(active) if active.state == EnrolmentState::Active => {
                let templates = active.templates;
                let kept = unused.len();
                let text = format!("consent {consent}; {templates} photos enrolled, {kept} kept for paying");
                screen.check(&format!("{} (..{})", payer.name, payer.digits), Ok(text))?;
                return Ok(Faced { payer, account, unused: read(unused)?, place });
            }
            Ok(waiting) => bail!("the enrolment of {} is in state {}", payer.name, waiting.state),
            // The desk would ask for another picture; here another person takes this one's place.
            Err(EnrolError::Server(error)) if is_rejected(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("of {PEOPLE_MAX} people nobody's photos could be enrolled")
}

fn is_rejected(error: &ClientError) -> bool {
    error.problem().is_some_and(|problem| problem.code == ProblemCode::SampleRejected)
}

async fn open(stage: &Stage<'_>, request_id: &str, types: &str) -> anyhow::Result<Session> {
    let new = NewSession {
        modality: Modality::Face,
        identifier: Some(last4(types)),
        deadline_ms: Some(DEADLINE_MS),
        ..request(request_id, RegisterKind::Return, HandoverMode::OnRequest)?
    };
    stage.at.request(&new).await.map_err(explain_terminal)
}

/// A session from request to outcome, with these photos before the camera.
async fn look(
    stage: &Stage<'_>,
    request_id: &str,
    types: &str,
    photos: &[Vec<u8>],
) -> anyhow::Result<(Session, Option<usize>)> {
    let session = open(stage, request_id, types).await?;
    stage.at.look(session, photos, |_| {}).await
}

/// The unused photos one after the other until one passes: one in ten is refused, and a payer looks again.
async fn pay(
    stage: &Stage<'_>,
    person: &Faced,
    people: &mut People,
    screen: &mut Screen,
) -> anyhow::Result<PaidByFace> {
    let Payer { name, digits: types, amount, order_ref } = *person.payer;
    for first in 0..person.unused.len() {
        let mut photos = person.unused.clone();
        photos.rotate_left(first);
        let (session, shown) = look(stage, &format!("demo-{types}-{first}"), types, &photos).await?;
        if session.outcome != Some(Outcome::Passed) {
            screen.step(name, format!("looks once more: {}", ending_words(&session)))?;
            continue;
        }
        let shown_name = session.payer_display.clone().context("a pass without a payer")?;
        ensure!(shown_name.chars().next() == name.chars().next(), "somebody else passed: {shown_name}");
        let handed = stage.at.hand_over(&session, &HandoverRequest::default()).await;
        let handed = handed.map_err(explain_terminal)?;
        let (_, digits) = handed_digits(&handed)?;
        let charge = Charge { key: "merchant", amount, order_ref, digits: &digits };
        let (payment, replayed) = charge.run(stage.site).await?.paid()?;
        ensure!(!replayed, "it was answered from before");
        people.rows += 1;
        screen.check(
            "1 to 5, by face",
            Ok(format!(
                "{name} types {types} and looks into the camera: {shown_name} passed; the till charges {} for order \
                 {order_ref}: PAID, {}",
                payment.amount, payment.id
            )),
        )?;
        let mut timings = session.timings;
        timings.merge(&payment.timings);
        let photo = photos.swap_remove(shown.context("a pass without a photo")?);
        return Ok(PaidByFace { timings, photo });
    }
    bail!("no unused photo of {name} passed")
}

fn print_table(screen: &mut Screen, eve: &Timings, finn: &Timings) -> anyhow::Result<()> {
    screen.row(["stage, ms", EVE.name, FINN.name, ""])?;
    let mut missing = Vec::new();
    for (timed, name, what) in STAGES {
        let cells = [eve, finn].map(|timings| timings.get(timed));
        if cells.iter().any(Option::is_none) {
            missing.push(name);
        }
        let [first, second] = cells.map(|duration| duration.map_or("missing".to_owned(), bare_milliseconds));
        screen.row([name, &first, &second, what])?;
    }
    let checked = if missing.is_empty() {
        Ok(format!("{} stages that faces have, for both payments", STAGES.len()))
    } else {
        Err(anyhow::anyhow!("not measured: {}", missing.join(", ")))
    };
    screen.check("every stage was measured", checked)
}

/// A frame with nobody in it is answered at once with what to do, and costs nothing.
async fn guided(stage: &Stage<'_>, photo: &[u8]) -> Checked {
    const SIDE: u32 = 320;
    let grey = ColorImage::new(SIDE, SIDE, vec![128; (SIDE * SIDE * 3) as usize])?;
    let grey = encode_jpeg(&grey, 90);
    let before = samples_taken(stage).await?;
    let session = open(stage, "demo-face-nobody", EVE.digits).await?;
    let give_up = Instant::now() + TIMEOUT;
    let answer = loop {
        ensure!(Instant::now() < give_up, "{} never asked anybody to look", session.id);
        match stage.at.show(grey.clone(), 0).await.map_err(explain_terminal)? {
            Some(answer) => break answer,
            None => tokio::time::sleep(PAUSE).await,
        }
    };
    let guidance = answer.guidance.as_deref().unwrap_or("nothing");
    ensure!(guidance == "no_face" && !answer.kept, "an empty picture is answered with `{guidance}`");
    let (session, _) = stage.at.look(session, &[photo.to_vec()], |_| {}).await?;
    ensure!(
        session.outcome == Some(Outcome::Passed),
        "then Eve was not verified: {}",
        ending_words(&session)
    );
    let taken = samples_taken(stage).await? - before;
    ensure!(taken == 1, "{taken} samples were taken instead of Eve's one");
    Ok("an empty picture is answered with `no_face` and never sent; then Eve passes".to_owned())
}

fn declined(session: &Session) -> anyhow::Result<()> {
    let is_declined = session.outcome == Some(Outcome::Declined);
    ensure!(is_declined, "the verification ended as {}", ending_words(session));
    Ok(())
}

async fn stranger(stage: &Stage<'_>, data: &FaceData, enrolled: [&Faced; 2]) -> Checked {
    // Whoever comes behind the two, whose photos the quality gate has not refused yet; then from the start.
    let from = enrolled[1].place + 1;
    let around = data.people.iter().enumerate().cycle().skip(from).take(data.people.len());
    let strangers = around.filter(|(place, _)| enrolled.iter().all(|person| person.place != *place));
    for (number, (_, photos)) in strangers.take(STRANGERS_MAX).enumerate() {
        let request_id = format!("demo-face-stranger-{number}");
        declined(&look(stage, &request_id, EVE.digits, &read(photos)?).await?.0)?;
        if operators_reason(stage).await? != "attack" {
            return declined_because(stage, "no_match", "several looks, and not Eve").await;
        }
    }
    bail!("{STRANGERS_MAX} living people in a row were taken for an attack")
}

async fn wrong_digits(stage: &Stage<'_>, photo: &[u8]) -> Checked {
    declined(&look(stage, "demo-face-digits", FINN.digits, &[photo.to_vec()]).await?.0)?;
    declined_because(stage, "no_match", "Eve's face is only compared with whom the digits select: Finn").await
}

async fn attack(stage: &Stage<'_>, data: &FaceData) -> Checked {
    let photo = read(std::slice::from_ref(&data.attack))?;
    let (session, _) = look(stage, "demo-face-attack", EVE.digits, &photo).await?;
    declined(&session)?;
    declined_because(stage, "attack", "shown with Eve's digits; an attack is one whoever it shows").await
}
