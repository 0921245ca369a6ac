//! What a verification by face costs: each stage, each network against ONNX Runtime, memory, start-up, and what
//! charges feel of it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use selfsame_api::verification::FACE_FRAMES_MIN;
use selfsame_biometrics::color_image::{ColorImage, Limits, decode};
use selfsame_biometrics::face::cost::{NetworkCost, network_costs};
use selfsame_biometrics::face::{FacePipeline, Located};
use serde::Deserialize;
use serde_json::{Value, json};

use super::beside::{self, Beside};
use super::payments::{document, tell};
use crate::evaluate::face::photos;
use crate::models::PackOptions;
use crate::output::{self, progress_bar};

/// What times networks on ONNX Runtime.
const PYTHON_SCRIPT: &str = include_str!("onnxruntime.py");

/// What a verification by face costs
///
/// Milliseconds of each stage on one thread, over photos as they come; each network against ONNX Runtime on the same
/// shapes, where Python has it; memory and start-up; and the answer times of 100 charges a second, alone and while two
/// faces a second are verified by a matcher beside them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame bench face --images photos/ --models models/
  selfsame bench face --images photos/ --python venv/bin/python --json")]
pub struct Face {
    /// Folder with photos (JPEG or PNG), also in folders
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Most photos that are looked at
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    photos: u64,
    /// Runs of each network
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rounds: u64,
    /// Seconds of each run of charges; 0 leaves them out
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=600))]
    seconds: u64,
    /// The Python that may have the package onnxruntime
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    #[command(flatten)]
    pack: PackOptions,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Times of one stage.
struct Stage {
    name: &'static str,
    times: Vec<Duration>,
}

impl Stage {
    fn new(name: &'static str) -> Self {
        Self { name, times: Vec::new() }
    }

    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let value = work();
        self.times.push(started.elapsed());
        value
    }

    /// p50 and p95.
    fn percentiles(&self) -> [Duration; 2] {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        [50, 95].map(|percent| {
            let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
            sorted.get(place).copied().unwrap_or_default()
        })
    }
}

/// The stages of verifications whose frames are all the same photo.
struct Stages {
    all: [Stage; 6],
    usable: usize,
}

impl Stages {
    fn measure(pipeline: &FacePipeline, photos: &[PathBuf]) -> anyhow::Result<Self> {
        let names = [
            "decode, 1 frame",
            "find, measure, 1 frame",
            "follow, 2 frames",
            "attack, 3 frames",
            "template",
            "whole without decode",
        ];
        let mut all = names.map(Stage::new);
        let mut usable = 0;
        let bar = progress_bar("looking", photos.len());
        for path in photos {
            bar.inc(1);
            let bytes =
                std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
            let [decoding, finding, following, attack, template, whole] = &mut all;
            let image = decoding.time(|| decode(&bytes, Limits::FILE));
            let image = image.with_context(|| format!("failed to decode `{}`", path.display()))?;
            let started = Instant::now();
            let Ok(located) = finding.time(|| pipeline.locate(&image))? else {
                // A face that is refused costs no more than this.
                continue;
            };
            verify(pipeline, &image, &located, [following, attack, template])?;
            whole.times.push(started.elapsed());
            usable += 1;
        }
        bar.finish_and_clear();
        ensure!(usable > 0, "none of {} photos shows a face that can be used", photos.len());
        Ok(Self { all, usable })
    }
}

fn verify(
    pipeline: &FacePipeline,
    image: &ColorImage,
    located: &Located,
    [following, attack, template]: [&mut Stage; 3],
) -> anyhow::Result<()> {
    following.time(|| (1..FACE_FRAMES_MIN).try_for_each(|_| pipeline.finder().follow(image).map(drop)))?;
    attack
        .time(|| (0..FACE_FRAMES_MIN).try_for_each(|_| pipeline.liveness(image, &located.face).map(drop)))?;
    template.time(|| pipeline.template(image, located).map(drop))?;
    Ok(())
}

/// What ONNX Runtime took.
#[derive(Deserialize)]
struct Reference {
    version: String,
    medians_us: Vec<u64>,
}

impl Face {
    /// Measures and prints.
    pub async fn run(self) -> anyhow::Result<()> {
        let pack = self.pack.load()?;
        let mut photos = photos(&self.images)?;
        photos.truncate(usize::try_from(self.photos)?);
        let before_kib = resident_kib();
        let mut start = Stage::new("start");
        let pipeline = start.time(|| FacePipeline::new(&pack))?;
        let stages = Stages::measure(&pipeline, &photos)?;
        let resident_kib = resident_kib().zip(before_kib).map(|(now, before)| now.saturating_sub(before));
        drop(pipeline);
        let rounds = usize::try_from(self.rounds)?;
        let bar = progress_bar("networks", 1);
        let costs = network_costs(&pack, rounds, |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        let reference = match self.reference(&costs) {
            Ok(reference) => Some(reference),
            Err(error) => {
                output::note(format_args!("ONNX Runtime left out: {error:#}"));
                None
            }
        };
        let beside = match self.seconds {
            0 => None,
            seconds => Some(beside::measure(&self.pack, &photos, Duration::from_secs(seconds)).await?),
        };
        let report = Report { stages, start: start.times[0], resident_kib, costs, reference, beside };
        if self.json { output::json(&report.document()) } else { report.print() }
    }

    fn reference(&self, costs: &[NetworkCost]) -> anyhow::Result<Reference> {
        let job = |cost: &NetworkCost| {
            json!({ "path": self.pack.folder().join(&cost.pack).join(&cost.file), "input": cost.input,
                "height": cost.height, "width": cost.width, "rounds": self.rounds })
        };
        let jobs: Vec<Value> = costs.iter().map(job).collect();
        let shown = self.python.display();
        let mut child = Command::new(&self.python)
            .args(["-c", PYTHON_SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start `{shown}`"))?;
        let mut input = child.stdin.take().context("the child has an input")?;
        // A Python without the package ends before it reads; that is told by what it says.
        let _ = input.write_all(&serde_json::to_vec(&jobs)?);
        drop(input);
        let answer = child.wait_with_output()?;
        if !answer.status.success() {
            let said = String::from_utf8_lossy(&answer.stderr);
            bail!("`{shown}` said: {}", said.lines().last().unwrap_or("nothing"));
        }
        let reference: Reference = serde_json::from_slice(&answer.stdout).context("no JSON came back")?;
        ensure!(reference.medians_us.len() == costs.len(), "an answer is missing");
        Ok(reference)
    }
}

struct Report {
    stages: Stages,
    start: Duration,
    resident_kib: Option<u64>,
    costs: Vec<NetworkCost>,
    reference: Option<Reference>,
    beside: Option<Beside>,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds with one decimal.
fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

impl Report {
    /// All networks of one verification, in microseconds: ours and ONNX Runtime's.
    fn networks_us(&self) -> (u64, Option<u64>) {
        let ours = self.costs.iter().map(|cost| u64::from(cost.runs) * micros(cost.median)).sum();
        let theirs = self.reference.as_ref().map(|reference| {
            let runs = self.costs.iter().map(|cost| u64::from(cost.runs));
            runs.zip(&reference.medians_us).map(|(runs, median)| runs * median).sum()
        });
        (ours, theirs)
    }

    /// p99 of charges beside verifications by p99 without, where both were measured.
    fn charges_ratio(&self) -> Option<f64> {
        let Beside { alone, verifying, .. } = self.beside.as_ref()?;
        let [[_, alone, _], [_, verifying, _]] = [alone, verifying].map(super::load::Figures::percentiles_us);
        Some(verifying as f64 / alone.max(1) as f64)
    }

    fn print(&self) -> anyhow::Result<()> {
        for stage in &self.stages.all {
            let [p50, p95] = stage.percentiles().map(ms);
            output::line(format_args!("{:<40} p50 {p50:>9}  p95 {p95:>9}", stage.name))?;
        }
        output::line(format_args!(
            "{:<40} {} of {} photos",
            "usable",
            self.stages.usable,
            self.stages.all[0].times.len()
        ))?;
        for (place, cost) in self.costs.iter().enumerate() {
            let name =
                format!("{}, {} x {}, {} a verification", cost.file, cost.width, cost.height, cost.runs);
            let theirs = self.reference.as_ref().map(|reference| reference.medians_us[place]);
            let theirs =
                theirs.map(|median_us| format!("  ONNX Runtime {}", ms(Duration::from_micros(median_us))));
            output::line(format_args!("{name:<62} {:>9}{}", ms(cost.median), theirs.unwrap_or_default()))?;
        }
        let (ours, theirs) = self.networks_us();
        let all = ms(Duration::from_micros(ours));
        match (&self.reference, theirs) {
            (Some(reference), Some(theirs)) => output::line(format_args!(
                "{:<40} {all}, ONNX Runtime {} {}: {:.2} times as long",
                "all networks of one verification",
                reference.version,
                ms(Duration::from_micros(theirs)),
                ours as f64 / theirs.max(1) as f64
            ))?,
            _ => output::line(format_args!("{:<40} {all}", "all networks of one verification"))?,
        }
        output::line(format_args!("{:<40} {}", "load one pipeline", ms(self.start)))?;
        if let Some(kib) = self.resident_kib {
            output::line(format_args!("{:<40} {} MiB", "memory of one pipeline", kib / 1024))?;
        }
        if let (Some(beside), Some(ratio)) = (&self.beside, self.charges_ratio()) {
            tell("100 charges/s alone", &beside.alone, None);
            tell("100 charges/s beside verifications", &beside.verifying, None);
            output::line(format_args!(
                "{:<40} {ratio:.2} times as long, {} verifications, each {}",
                "p99 of charges beside verifications",
                beside.verifications.len(),
                ms(beside.median())
            ))?;
        }
        Ok(())
    }

    fn document(&self) -> Value {
        let stage = |stage: &Stage| {
            let [p50, p95] = stage.percentiles().map(micros);
            json!({ "stage": stage.name, "p50_us": p50, "p95_us": p95, "runs": stage.times.len() })
        };
        let (ours, theirs) = self.networks_us();
        let network = |(place, cost): (usize, &NetworkCost)| {
            json!({ "file": cost.file, "width": cost.width, "height": cost.height, "runs": cost.runs,
                "median_us": micros(cost.median),
                "onnxruntime_us": self.reference.as_ref().map(|reference| reference.medians_us[place]) })
        };
        let beside = self.beside.as_ref().map(|beside| {
            json!({ "alone": document(&beside.alone, None), "verifying": document(&beside.verifying, None),
                "p99_ratio": self.charges_ratio(), "verifications": beside.verifications.len(),
                "verification_median_us": micros(beside.median()) })
        });
        json!({
            "stages": self.stages.all.iter().map(stage).collect::<Vec<_>>(),
            "usable": self.stages.usable,
            "networks": self.costs.iter().enumerate().map(network).collect::<Vec<_>>(),
            "networks_us": ours,
            "onnxruntime_us": theirs,
            "onnxruntime_version": self.reference.as_ref().map(|reference| &reference.version),
            "load_us": micros(self.start),
            "resident_kib": self.resident_kib,
            "charges": beside,
        })
    }
}

/// What this process has in memory now, in KiB; `None` where the system does not tell.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}
