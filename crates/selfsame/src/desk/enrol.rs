//! Enrolment at a staffed desk: several samples of one finger, sealed on this machine.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use selfsame_api::client::{Client, ClientError};
use selfsame_api::configuration::Language;
use selfsame_api::enrolment::{Enrolment, EnrolmentState, NewEnrolment, enrolment_samples};
use selfsame_api::guidance::guidance_of;
use selfsame_api::problem::ProblemCode;
use selfsame_api::serve::{bind_unix, serve_unix};
use selfsame_biometrics::synthetic::Master;
use selfsame_domain::clock::SystemClock;
use selfsame_domain::id::{AccountId, ConsentId, EnrolmentId};
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::terminal::Purpose;
use selfsame_terminal::capture::reader::synthetic_sample;
use selfsame_terminal::capture::{CaptureSource, SampleFrame};
use selfsame_terminal::device::DeviceIdentity;
use selfsame_terminal::enrolment::{EnrolError, submit_enrolment, take_samples};

use crate::connection::{TIMEOUT, explain, insist, pause_before_retry};
use crate::desk::Counter;
use crate::output::{self, Usage};
use crate::process::stop;
use crate::site::CaptureSourceKind;
use crate::verifier::capture_source;

/// How long the reader's driver may take to go once all presses are taken.
const DRIVER_TIMEOUT: Duration = Duration::from_secs(1);

/// How often all presses are taken again after a sample that cannot be used.
const TRIES_MAX: usize = 3;

/// Enrol a person's finger or face
///
/// On a machine that was activated as a desk. The person's consent must have been recorded. Takes several presses of
/// one finger, or frames of a face in at least three poses (it says how to turn the head), from the source in
/// `selfsame.toml` (a reader's driver or a camera's page posts them to `run/verifier.sock`), seals them to the matcher
/// and sends them. If somebody enrolled looks much alike, the enrolment waits for `selfsame desk approve`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame desk enrol acct_... cns_... --samples 3
  selfsame desk enrol acct_... cns_... --finger-position 2          (2: right index finger, ISO/IEC 19794-2)
  selfsame desk enrol acct_... cns_... --face                       (frames of the face, from the camera)
On test sites also:
  selfsame desk enrol acct_... cns_... --finger 7 --presses 1,2,3   (presses of synthetic finger 7)
  selfsame desk enrol acct_... cns_... --images a.png b.png --dpi 500
  selfsame desk enrol acct_... cns_... --face --images a.jpg b.jpg c.jpg")]
pub struct Enrol {
    /// Who is enrolled
    account: AccountId,
    /// The consent that allows it
    consent: ConsentId,
    /// Enrol the face instead of a finger
    #[arg(long, conflicts_with_all = ["finger", "finger_position"])]
    face: bool,
    /// Presses or frames to take
    #[arg(long, default_value_t = 3)]
    samples: usize,
    /// Which finger: 1 (right thumb) to 10 (left little finger), 0 unknown
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=10))]
    finger_position: u8,
    /// Test sites: presses of this synthetic finger
    #[arg(long, value_name = "NUMBER", requires = "presses")]
    finger: Option<u64>,
    /// Test sites: which presses
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', requires = "finger")]
    presses: Vec<u64>,
    /// Test sites: pictures
    #[arg(long, value_name = "FILES", num_args = 1.., conflicts_with = "finger")]
    images: Vec<PathBuf>,
    /// Dots per inch of those pictures
    #[arg(long, default_value_t = 500, requires = "images")]
    dpi: u16,
}

/// A desk: this machine's identity, and the operator's key.
pub struct EnrolmentDesk<'a> {
    /// Who this machine is.
    pub identity: &'a DeviceIdentity,
    /// The server, with the operator's key.
    pub operator: &'a Client,
}

impl EnrolmentDesk<'_> {
    /// Opens an enrolment for this desk.
    pub async fn open(
        &self,
        account: AccountId,
        consent: ConsentId,
        modality: Modality,
        finger_position: u8,
    ) -> Result<Enrolment, ClientError> {
        let new = NewEnrolment {
            account,
            consent,
            terminal: self.identity.terminal.terminal,
            modality,
            instance: finger_position,
        };
        insist(self.operator, "/v1/enrolments", &new).await
    }

    /// Sends samples. Where storage or matcher are too slow to say what came of them, once more, to another enrolment, which
    /// takes the place of the first: so does any second one of the same finger or face, and nobody has to press again.
    pub async fn submit(
        &self,
        enrolment: &mut Enrolment,
        grade: SensorGrade,
        samples: &[SampleFrame],
    ) -> Result<Enrolment, EnrolError> {
        let link = self.identity.link(Arc::new(SystemClock));
        let since = Instant::now();
        loop {
            match submit_enrolment(self.identity, &link, enrolment, grade, samples).await {
                Err(EnrolError::Server(error)) if pause_before_retry(&error, since).await => {}
                done => return done,
            }
            let Enrolment { account, consent, modality, instance, .. } = *enrolment;
            *enrolment = self.open(account, consent, modality, instance).await?;
        }
    }
}

/// Presses of a synthetic finger.
pub fn synthetic_samples(finger: u64, presses: &[u64]) -> Vec<SampleFrame> {
    let master = Master::grow(finger);
    presses.iter().flat_map(|press| synthetic_sample(&master, *press)).collect()
}

impl Enrol {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let identity = DeviceIdentity::load(&counter.site.device())?;
        if identity.terminal.purpose != Purpose::Desk {
            bail!(
                "this machine was activated as a till, and people are enrolled at a staffed desk only: run this on a \
                 desk, in its folder (--site)"
            );
        }
        let wanted = self.wanted_samples()?;
        let desk = EnrolmentDesk { identity: &identity, operator: &counter.client };
        let opened = desk.open(self.account, self.consent, self.modality(), self.finger_position).await;
        let mut enrolment = opened.map_err(|error| explain_open(error, self.account))?;
        for number in 1.. {
            let (grade, samples) = self.samples(counter, &identity, wanted).await?;
            let error = match desk.submit(&mut enrolment, grade, &samples).await {
                Ok(enrolled) => return print_enrolled(counter, &enrolled),
                Err(EnrolError::Server(error)) => error,
                Err(error) => return Err(error.into()),
            };
            let rejected = error.problem().filter(|problem| problem.code == ProblemCode::SampleRejected);
            match rejected {
                Some(problem) if self.can_press_again() && number < TRIES_MAX => {
                    let why = words(problem.detail.as_deref().unwrap_or("unusable"));
                    output::note(format_args!("not usable ({why}): once more, please"));
                    let path = format!("/v1/enrolments/{}", enrolment.id);
                    enrolment = counter.client.get(&path, TIMEOUT).await.map_err(explain)?;
                }
                _ => return Err(explain(error)),
            }
        }
        unreachable!("the loop ends by its returns")
    }

    fn modality(&self) -> Modality {
        if self.face { Modality::Face } else { Modality::Finger }
    }

    fn wanted_samples(&self) -> anyhow::Result<usize> {
        let wanted = match (self.presses.len(), self.images.len()) {
            (0, 0) => self.samples,
            (0, images) => images,
            (presses, _) => presses,
        };
        let samples = enrolment_samples(self.modality());
        if samples.contains(&wanted) {
            return Ok(wanted);
        }
        let (fewest, most) = (samples.start(), samples.end());
        Err(Usage(format!("such an enrolment takes {fewest} to {most} samples, not {wanted}")).into())
    }

    fn can_press_again(&self) -> bool {
        self.finger.is_none() && self.images.is_empty()
    }

    async fn samples(
        &self,
        counter: &Counter<'_>,
        identity: &DeviceIdentity,
        wanted: usize,
    ) -> anyhow::Result<(SensorGrade, Vec<SampleFrame>)> {
        if let Some(finger) = self.finger {
            return Ok((SensorGrade::Simulated, synthetic_samples(finger, &self.presses)));
        }
        if !self.images.is_empty() {
            let read = |path: &PathBuf| {
                let bytes =
                    std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
                Ok(match self.modality() {
                    Modality::Finger => SampleFrame::finger(bytes, self.dpi),
                    Modality::Face => SampleFrame::face(bytes, 0),
                })
            };
            let samples: anyhow::Result<Vec<SampleFrame>> = self.images.iter().map(read).collect();
            return Ok((SensorGrade::Simulated, samples?));
        }
        let settings = counter.site.settings()?;
        if !self.face && settings.capture.source == CaptureSourceKind::Synthetic {
            output::note("settings say `source = \"synthetic\"`: presses are awaited at run/verifier.sock");
        }
        let source = capture_source(counter.site, identity, self.modality())?;
        take_presses(counter, &source, wanted).await
    }
}

fn print_enrolled(counter: &Counter<'_>, enrolled: &Enrolment) -> anyhow::Result<()> {
    let Enrolment { id, account, templates, .. } = enrolled;
    if enrolled.state == EnrolmentState::Review {
        output::note(format_args!(
            "somebody enrolled looks much alike. Be sure who stands before you, then: selfsame desk approve {id}"
        ));
        return counter.print(enrolled, format_args!("{id}  in review, of {account}"));
    }
    counter.print(enrolled, format_args!("{id}  {templates} templates of {account}"))
}

/// Takes an enrolment in review into use.
pub async fn approve(counter: &Counter<'_>, enrolment: EnrolmentId) -> anyhow::Result<()> {
    let path = format!("/v1/enrolments/{enrolment}/approve");
    let approved: Enrolment =
        counter.client.post(&path, &serde_json::json!({}), TIMEOUT).await.map_err(explain)?;
    counter.print(&approved, format_args!("{}  {}, of {}", approved.id, approved.state, approved.account))
}

/// Takes presses from a reader, whose driver posts them to the socket where a till's verification program listens.
async fn take_presses(
    counter: &Counter<'_>,
    source: &CaptureSource,
    wanted: usize,
) -> anyhow::Result<(SensorGrade, Vec<SampleFrame>)> {
    let (stopper, stopped) = stop();
    let serving = match source {
        CaptureSource::File(_) => None,
        _ => {
            let socket = counter.site.socket("verifier.sock")?;
            let listener =
                bind_unix(&socket).with_context(|| format!("failed to listen on `{}`", socket.display()))?;
            Some(tokio::spawn(serve_unix(listener, source.routes(), stopped.wait())))
        }
    };
    // What was said last is not said again while it goes on being true.
    let said = Mutex::new((0, ""));
    let tell = |number: usize, guidance: &'static str| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said == (number, guidance) {
            return;
        }
        let is_next = said.0 != number;
        *said = (number, guidance);
        output::note(match (source.modality(), is_next) {
            (Modality::Finger, true) => {
                format!("press {number} of {wanted}: touch the reader with the same finger")
            }
            (Modality::Face, true) => format!("picture {number} of {wanted}: {}", words(guidance)),
            (_, false) => words(guidance),
        });
    };
    let samples = take_samples(source, wanted, tell).await?;
    stopper.stop();
    if let Some(serving) = serving {
        // A driver that keeps its connection open does not hold us up.
        let _ = tokio::time::timeout(DRIVER_TIMEOUT, serving).await;
    }
    Ok((source.grade(), samples))
}

/// Guidance in the words of our own screens. What is no code of theirs is plain enough without underscores.
fn words(guidance: &str) -> String {
    let known = guidance_of(guidance).map(|guidance| guidance.text(Language::En).to_lowercase());
    known.unwrap_or_else(|| guidance.replace('_', " "))
}

fn explain_open(error: ClientError, account: AccountId) -> anyhow::Error {
    let missing = error.problem().is_some_and(|problem| problem.code == ProblemCode::ConsentMissing);
    let error = explain(error);
    if missing {
        error.context(format!(
            "nothing was captured: record the person's consent first, with `selfsame desk consent give {account}`"
        ))
    } else {
        error
    }
}
