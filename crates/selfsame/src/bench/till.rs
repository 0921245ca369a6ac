//! `selfsame bench till`: does the payer wait for the merchant? Whole payments in five flows, on the real processes,
//! while order processing and network of a stand-in merchant are slowed down.

mod chart;
mod clip;
mod flow;
mod merchant;
mod payer;
mod proxy;
mod record;
mod register;
mod report;
mod setting;
mod stages;
mod tables;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use selfsame_domain::sensor::SensorGrade;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bench::till::clip::Clip;
use crate::bench::till::flow::{Ended, Flow};
use crate::bench::till::merchant::{AMOUNT_MINOR, Merchant};
use crate::bench::till::payer::{Body, Payer};
use crate::bench::till::record::Record;
use crate::bench::till::report::Report;
pub use crate::bench::till::setting::Chance;
use crate::bench::till::setting::Setting;
use crate::connection::{TIMEOUT, client, explain};
use crate::demo::Stage;
use crate::demo::faces::FaceData;
use crate::demo::people::{People, Person};
use crate::demo::processes::{DemoSite, Processes};
use crate::demo::screen::Screen;
use crate::output;
use crate::site::Site;

/// Tries of a payment in which the payer was not recognised, before it is left out.
const TRIES_MAX: u32 = 4;

/// Payments of a run for one setting and flow by a short and by a long run.
const REPETITIONS: u32 = 5;
const REPETITIONS_SHORT: u32 = 2;

/// Does the payer wait for the merchant? Five flows, from the request to PAID, with a slow merchant
///
/// Starts server, matcher, terminal, verification program and a till on sites of its own in a temporary folder, and a
/// stand-in for the merchant's system behind a network that delays. Two knobs: how long the merchant's system works on an
/// order, and a round trip over the merchant's network; each is turned while the other is at none, and both at once are
/// drawn from a heavy-tailed mix. All flows come in random order in one run and meet the same draws. Nothing in the
/// product sleeps. The payer types digits at a stated speed and then touches a reader, or looks into a camera, of 15
/// pictures a second.
///
/// The payer's wait runs from the last item, when the payer is asked to pay, until the till says PAID. What is written
/// into the folder: till.json with every stage of every payment, till.md with the tables, wait.svg and .png,
/// stages-processing and stages-network.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame bench till --short                      a minute or two
  selfsame bench till --out target/bench/till      every setting, five payments each
  selfsame bench till --faces photos/ --repetitions 2     by face; SELFSAME_MODELS names the folder of the pack")]
pub struct Till {
    /// Fewer settings and payments: a minute or two
    #[arg(long)]
    short: bool,
    /// Payments for each setting and flow [default: 5, short: 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    repetitions: Option<u32>,
    /// Delays that each knob is turned to, in milliseconds [default: 0,50,200,500,1000,2000,5000; short: 0,1000]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u64).range(0..=8_000))]
    delays_ms: Vec<u64>,
    /// How long the payer takes for a digit, in milliseconds
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(0..=3_000))]
    digit_ms: u64,
    /// How long the cashier scans goods, in milliseconds
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(0..=30_000))]
    basket_ms: u64,
    /// Tills that work at the same time, each at a site of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    tills: u8,
    /// Seed of draws and order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Payers by face before a camera, with attack detection: photos of people, images/PERSON/*.jpg
    #[arg(long, value_name = "DIR")]
    faces: Option<PathBuf>,
    /// Folder for figures and plots
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// A payment that is to be made.
#[derive(Clone, Copy)]
struct Job {
    setting: usize,
    flow: Flow,
    repetition: u32,
}

/// What all tills of a run share.
struct Run {
    settings: Vec<Setting>,
    basket: Duration,
    seed: u64,
    jobs: Mutex<Vec<Job>>,
    records: Mutex<Vec<Record>>,
    not_verified: Mutex<Vec<String>>,
    troubles: Mutex<Vec<String>>,
    bar: ProgressBar,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Till {
    /// Measures.
    pub async fn run(self) -> anyhow::Result<()> {
        if let Some(out) = &self.out {
            std::fs::create_dir_all(out).with_context(|| format!("failed to make `{}`", out.display()))?;
        }
        let faces = self.faces.as_deref().map(|folder| FaceData::find(Some(folder))).transpose()?;
        let faces = faces.map(FaceData::before_a_camera);
        let run = self.prepare();
        let tills = (0..self.tills).map(|number| self.at_one_till(&run, number, faces.as_ref()));
        try_join_all(tills).await?;
        run.bar.finish_and_clear();
        self.report(run)
    }

    fn prepare(&self) -> Run {
        let settings =
            if self.delays_ms.is_empty() { Setting::all(self.short) } else { Setting::of(&self.delays_ms) };
        let default = if self.short { REPETITIONS_SHORT } else { REPETITIONS };
        let repetitions = self.repetitions.unwrap_or(default);
        let mut jobs = Vec::new();
        for setting in 0..settings.len() {
            for flow in Flow::ALL {
                jobs.extend((0..repetitions).map(|repetition| Job { setting, flow, repetition }));
            }
        }
        Chance::new(self.seed).shuffle(&mut jobs);
        let bar = output::progress_bar("payments", jobs.len());
        Run {
            settings,
            basket: Duration::from_millis(self.basket_ms),
            seed: self.seed,
            jobs: Mutex::new(jobs),
            records: Mutex::default(),
            not_verified: Mutex::default(),
            troubles: Mutex::default(),
            bar,
        }
    }

    /// A site with its processes, whose one till takes payments until none is left.
    async fn at_one_till(&self, run: &Run, number: u8, faces: Option<&FaceData>) -> anyhow::Result<()> {
        let folder = tempfile::Builder::new().prefix("selfsame-bench-").tempdir()?;
        let site = Site::new(&folder.path().join("site"))?;
        let demo_site = DemoSite::make(&site, faces).await?;
        let mut processes = Processes::new(&demo_site, false);
        let paid = self.take_payments(run, number, &demo_site, &mut processes, faces).await;
        processes.stop().await;
        if paid.is_err() {
            keep_logs(folder);
        }
        paid
    }

    async fn take_payments(
        &self,
        run: &Run,
        number: u8,
        site: &DemoSite,
        processes: &mut Processes<'_>,
        faces: Option<&FaceData>,
    ) -> anyhow::Result<()> {
        let mut screen = Screen::quiet();
        processes.start(&screen).await?;
        let stage = Stage::new(site)?;
        let mut people = People::enrol(&stage, processes, &mut screen).await?;
        let money = i64::from(u32::try_from(lock(&run.jobs).len())?) * AMOUNT_MINOR * i64::from(TRIES_MAX);
        let mut payer = self.payer(&stage, processes, &mut people, faces, money.max(1)).await?;
        lift_limits(site).await?;
        let merchant = Merchant::start(client(&site.url, site.created.merchant_key.clone())).await?;
        let basket = run.basket;
        // The first payment at a till opens connections and fills caches; it counts nowhere.
        let mut warm = Chance::new(run.seed);
        for (index, flow) in Flow::ALL.into_iter().enumerate() {
            let drawn = run.settings[0].draw(&mut warm);
            let mut till = flow::Till {
                site,
                at: &stage.at,
                merchant: &merchant,
                payer: &mut payer,
                basket: Duration::ZERO,
            };
            till.pay(flow, &drawn, &format!("bench-warm-{number}-{index}")).await?;
        }
        loop {
            let Some(job) = lock(&run.jobs).pop() else { return Ok(()) };
            let mut till = flow::Till { site, at: &stage.at, merchant: &merchant, payer: &mut payer, basket };
            run.pay(&mut till, job, number).await?;
            run.bar.inc(1);
        }
    }

    async fn payer(
        &self,
        stage: &Stage<'_>,
        processes: &Processes<'_>,
        people: &mut People,
        faces: Option<&FaceData>,
        money: i64,
    ) -> anyhow::Result<Payer> {
        let digit = Duration::from_millis(self.digit_ms);
        if let Some(data) = faces {
            let (account, identifier, photos) = data.enrol_one(stage, processes, people).await?;
            people.top_up(stage, account, money, "bench-top-up").await?;
            let clips = photos.iter().zip(self.seed..).map(|(photo, seed)| Clip::of(photo, seed));
            let clips = clips.collect::<anyhow::Result<_>>()?;
            return Ok(Payer { identifier, digit, body: Body::Face { clips, next: 0 } });
        }
        let Person { account, finger, .. } = people.ben;
        people.top_up(stage, account, money, "bench-top-up").await?;
        Ok(Payer { identifier: people.ben.identifier(), digit, body: Body::finger(finger) })
    }

    fn report(&self, run: Run) -> anyhow::Result<()> {
        let troubles = run.troubles.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let lost = run.not_verified.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let records = run.records.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        ensure!(!records.is_empty(), "nobody was ever recognised: {lost:?}");
        let report = Report::new(run.settings, records, run.basket);
        report.tell();
        for trouble in &troubles {
            output::note(format_args!("made again, because it did not go through: {trouble}"));
        }
        let mut document = report.document()?;
        document["run"] = json!({
            "modality": if self.faces.is_some() { "face" } else { "finger" },
            "digit_ms": self.digit_ms,
            "basket_ms": self.basket_ms,
            "tills": self.tills,
            "seed": self.seed,
            "optimised": !cfg!(debug_assertions),
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "not_recognised": lost.len(),
            "made_again": troubles,
        });
        if let Some(out) = &self.out {
            let path = out.join("till.json");
            let text = serde_json::to_vec_pretty(&document).context("failed to write the result as JSON")?;
            std::fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
            let path = out.join("till.md");
            std::fs::write(&path, tables::tables(&report))
                .with_context(|| format!("failed to write `{}`", path.display()))?;
            chart::save(&report, out)?;
        }
        if self.json { output::json(&document) } else { Ok(()) }
    }
}

impl Run {
    /// Makes one payment. Whoever is not recognised tries again, and only the payment that went through counts.
    async fn pay(&self, till: &mut flow::Till<'_>, job: Job, number: u8) -> anyhow::Result<()> {
        let Job { setting, flow, repetition } = job;
        // The same for every flow of this setting and repetition.
        let seed = self.seed ^ ((setting as u64 + 1) << 32) ^ u64::from(repetition);
        let drawn = self.settings[setting].draw(&mut Chance::new(seed));
        for tries in 0..TRIES_MAX {
            let name = format!("bench-{number}-{setting}-{}-{repetition}-{tries}", flow as u8);
            match till.pay(flow, &drawn, &name).await {
                Ok(Ended::Paid(paid)) => {
                    lock(&self.records).push(Record::new(setting, flow, repetition, &drawn, &paid));
                    return Ok(());
                }
                Ok(Ended::NotVerified(words)) => lock(&self.not_verified).push(words),
                // A disk that does not answer for a second and a half, for example. Told, and made again.
                Err(error) if tries + 1 < TRIES_MAX => {
                    lock(&self.troubles).push(format!("{name}: {error:#}"))
                }
                Err(error) => return Err(error.context(format!("payment {name}"))),
            }
        }
        Ok(())
    }
}

/// A site lets somebody pay by simulated samples, or before a camera, so often a day and not more; the bench pays oftener.
async fn lift_limits(site: &DemoSite) -> anyhow::Result<()> {
    let operator = client(&site.url, site.created.operator_key.clone());
    let none = json!({});
    for grade in [SensorGrade::Simulated, SensorGrade::Rgb] {
        let put = operator.put::<Value>(&format!("/v1/limits/grades/{grade}"), &none, TIMEOUT).await;
        put.map_err(explain)?;
    }
    Ok(())
}

/// Leaves the folder of a run that broke, with what its processes said.
fn keep_logs(folder: TempDir) {
    let kept = folder.keep();
    output::note(format_args!("what the processes said is in {}/site/log", kept.display()));
}
