//! `selfsame evaluate`: how often the comparison is wrong, on an operator's own pictures or on synthetic fingers.

pub mod face;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use selfsame_biometrics::accuracy::{Impostors, Impression, Point, Rate, Scores};
use selfsame_biometrics::finger::{ALGORITHM, VERSION};
use selfsame_biometrics::image::{GrayImage, decode_png};
use selfsame_biometrics::score::Score;
use selfsame_biometrics::synthetic::Master;
use serde_json::json;

use crate::output::{self, Usage, progress_bar};

/// False match rates at which false non-match rates are told.
const FMR_MAX: [f64; 5] = [0.1, 0.01, 0.001, 0.000_1, 0.0];

/// Most pictures of one evaluation: all pairs of their templates are kept in memory.
const IMPRESSIONS_MAX: usize = 100_000;

/// Measure the accuracy of a comparison
#[derive(Args, Debug)]
pub struct Evaluate {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Subcommand, Debug)]
enum Measure {
    Finger(Finger),
    Face(face::Face),
    Pad(face::Pad),
}

/// Measure the finger algorithm
///
/// Genuine comparisons are all pairs of impressions of one finger; impostor comparisons are those of the first
/// impressions across fingers (the protocol of the FVC contests). Few fingers support few claims: the output says
/// below which false match rate the data cannot speak.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame evaluate finger --images prints/ --dpi 500        (files FINGER_IMPRESSION.png, like 101_1.png)
  selfsame evaluate finger --synthetic 50 --presses 4 --json")]
pub struct Finger {
    /// Folder of pictures named FINGER_IMPRESSION.png
    #[arg(long, value_name = "DIR", required_unless_present = "synthetic", requires = "dpi")]
    images: Option<PathBuf>,
    /// Resolution of the pictures in dots per inch
    #[arg(long)]
    dpi: Option<u16>,
    /// Number of synthetic fingers to measure instead
    #[arg(long, value_name = "FINGERS", conflicts_with = "images", value_parser = clap::value_parser!(u64).range(2..=10_000))]
    synthetic: Option<u64>,
    /// Presses of each synthetic finger
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..=100))]
    presses: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<()> {
        match self.measure {
            Measure::Finger(finger) => finger.run(),
            Measure::Face(face) => face.run(),
            Measure::Pad(pad) => pad.run(),
        }
    }
}

/// Where an impression comes from.
enum Source {
    File { path: PathBuf, finger: String, impression: String },
    Synthetic { finger: u64, presses: u64 },
}

/// Impressions with what making their templates took.
#[derive(Default)]
struct Acquired {
    impressions: Vec<Impression>,
    rejected: Vec<String>,
    extraction: Duration,
}

impl Finger {
    fn run(self) -> anyhow::Result<()> {
        let (sources, number) = match (&self.images, self.synthetic) {
            (Some(folder), _) => {
                let sources = files(folder)?;
                let number = sources.len();
                (sources, number)
            }
            (None, Some(fingers)) => {
                let source = |finger| Source::Synthetic { finger, presses: self.presses };
                let number = usize::try_from(fingers * self.presses).unwrap_or(usize::MAX);
                ((0..fingers).map(source).collect(), number)
            }
            (None, None) => return Err(Usage("give --images or --synthetic".to_owned()).into()),
        };
        if number > IMPRESSIONS_MAX {
            return Err(Usage(format!("{number} impressions are more than {IMPRESSIONS_MAX}")).into());
        }
        let acquired = acquire(&sources, number, self.dpi.unwrap_or(500))?;
        let bar = progress_bar("comparing", 0);
        let started = Instant::now();
        let scores = Scores::collect(&acquired.impressions, Impostors::FirstImpressions, |progress| {
            bar.set_length(length(progress.total));
            bar.set_position(length(progress.done));
        });
        let comparison = started.elapsed();
        bar.finish_and_clear();
        if scores.genuine().is_empty() || scores.impostor().is_empty() {
            bail!(
                "nothing can be said: {} genuine and {} impostor comparisons. At least two fingers with two usable \
                 impressions each are needed",
                scores.genuine().len(),
                scores.impostor().len()
            );
        }
        let report = Report { acquired: &acquired, scores: &scores, comparison };
        if self.json { report.print_json() } else { report.print_text() }
    }
}

/// The pictures of a folder.
fn files(folder: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("failed to read the folder `{}`", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("failed to read the folder `{}`", folder.display()))?.path();
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let parts =
            name.rsplit_once('_').filter(|(finger, impression)| !finger.is_empty() && !impression.is_empty());
        let Some((finger, impression)) = parts else {
            bail!("`{}` is not named FINGER_IMPRESSION.png, for example 101_1.png", path.display());
        };
        // Padded, so that impression 2 comes before impression 10.
        let (finger, impression) = (finger.to_owned(), format!("{impression:0>12}"));
        sources.push(Source::File { path, finger, impression });
    }
    if sources.is_empty() {
        bail!("there are no pictures named FINGER_IMPRESSION.png in `{}`", folder.display());
    }
    Ok(sources)
}

/// Makes the templates, on all cores.
fn acquire(sources: &[Source], number: usize, dpi: u16) -> anyhow::Result<Acquired> {
    let bar = progress_bar("extracting", number);
    let next = AtomicUsize::new(0);
    let acquired = Mutex::new(anyhow::Ok(Acquired::default()));
    let work = || {
        while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
            let part = acquire_one(source, dpi, &bar);
            let mut all = acquired.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            match (&mut *all, part) {
                (Ok(all), Ok(part)) => {
                    all.impressions.extend(part.impressions);
                    all.rejected.extend(part.rejected);
                    all.extraction += part.extraction;
                }
                (Ok(_), Err(error)) => *all = Err(error),
                (Err(_), _) => return,
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    bar.finish_and_clear();
    let mut acquired = acquired.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())?;
    acquired.rejected.sort();
    Ok(acquired)
}

fn acquire_one(source: &Source, dpi: u16, bar: &ProgressBar) -> anyhow::Result<Acquired> {
    let mut acquired = Acquired::default();
    match source {
        Source::File { path, finger, impression } => {
            let bytes =
                std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
            let image =
                decode_png(&bytes, dpi).with_context(|| format!("failed to read `{}`", path.display()))?;
            acquired.add(finger.clone(), impression.clone(), &image);
            bar.inc(1);
        }
        Source::Synthetic { finger, presses } => {
            let master = Master::grow(*finger);
            for press in 1..=*presses {
                acquired.add(format!("{finger:06}"), format!("{press:06}"), &master.press(press));
                bar.inc(1);
            }
        }
    }
    Ok(acquired)
}

impl Acquired {
    fn add(&mut self, finger: String, impression: String, image: &GrayImage) {
        let started = Instant::now();
        let acquired = Impression::acquire(finger, impression, image);
        self.extraction += started.elapsed();
        if let Err(rejection) = &acquired.template {
            let (finger, impression) = (&acquired.finger, acquired.impression.trim_start_matches('0'));
            self.rejected.push(format!("{finger}_{impression}: {rejection}"));
        }
        self.impressions.push(acquired);
    }

    fn fingers(&self) -> usize {
        let fingers: std::collections::BTreeSet<_> =
            self.impressions.iter().map(|impression| &impression.finger).collect();
        fingers.len()
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

struct Report<'a> {
    acquired: &'a Acquired,
    scores: &'a Scores,
    comparison: Duration,
}

impl Report<'_> {
    fn points(&self) -> Vec<(f64, Point)> {
        FMR_MAX.into_iter().map(|fmr_max| (fmr_max, self.scores.point(fmr_max))).collect()
    }

    fn extraction_ms(&self) -> f64 {
        self.acquired.extraction.as_secs_f64() * 1e3 / self.acquired.impressions.len().max(1) as f64
    }

    fn comparison_us(&self) -> f64 {
        let count = self.scores.genuine().len() + self.scores.impostor().len();
        self.comparison.as_secs_f64() * 1e6 / count.max(1) as f64
    }

    fn print_json(&self) -> anyhow::Result<()> {
        let scores = self.scores;
        let floor = scores.fmr_floor();
        let point = |(fmr_max, point): &(f64, Point)| {
            json!({
                "fmr_max": fmr_max,
                "fmr": point.fmr.share(),
                "fnmr": point.fnmr.share(),
                "threshold": point.threshold.0,
                "fnmr_interval": [point.fnmr.interval().0, point.fnmr.interval().1],
                "below_floor": *fmr_max < floor,
            })
        };
        output::json(&json!({
            "algorithm": ALGORITHM,
            "version": VERSION,
            "eer": scores.eer(),
            "points": self.points().iter().map(point).collect::<Vec<_>>(),
            "fmr_floor": floor,
            "fingers": self.acquired.fingers(),
            "impressions": self.acquired.impressions.len(),
            "failures_to_acquire": scores.failures_to_acquire(),
            "genuine_comparisons": scores.fnmr(Score(0)).trials,
            "impostor_comparisons": scores.impostor().len(),
            "extraction_ms_mean": self.extraction_ms(),
            "comparison_us_mean": self.comparison_us(),
        }))
    }

    fn print_text(&self) -> anyhow::Result<()> {
        let (acquired, scores) = (self.acquired, self.scores);
        let percent = |rate: f64| format!("{:.2} %", 100.0 * rate);
        output::line(format_args!("algorithm             {ALGORITHM} version {VERSION}"))?;
        output::line(format_args!("fingers               {}", acquired.fingers()))?;
        output::line(format_args!("impressions           {}", acquired.impressions.len()))?;
        let failed = Rate { errors: scores.failures_to_acquire(), trials: acquired.impressions.len() };
        let (low, high) = failed.interval();
        output::line(format_args!(
            "failures to acquire   {}  (95 % interval {} to {})",
            scores.failures_to_acquire(),
            percent(low),
            percent(high)
        ))?;
        acquired
            .rejected
            .iter()
            .try_for_each(|text| output::line(format_args!("                      {text}")))?;
        output::line(format_args!(
            "comparisons           {} genuine (failures to acquire among them count as not matched), {} impostor",
            scores.fnmr(Score(0)).trials,
            scores.impostor().len()
        ))?;
        output::line(format_args!("extraction            {:.1} ms each", self.extraction_ms()))?;
        output::line(format_args!("comparison            {:.0} us each", self.comparison_us()))?;
        output::line(format_args!("equal error rate      {}", percent(scores.eer().unwrap_or(1.0))))?;
        output::line("")?;
        output::line("false match rate   false non-match rate (95 % interval)   threshold")?;
        let floor = scores.fmr_floor();
        for (fmr_max, point) in self.points() {
            let (low, high) = point.fnmr.interval();
            let fnmr = format!("{:>8} ({} to {})", percent(point.fnmr.share()), percent(low), percent(high));
            let mark = if fmr_max < floor { "  *" } else { "" };
            let fmr = format!("<= {}", 100.0 * fmr_max);
            output::line(format_args!("{fmr:>8} %         {fnmr:37}  {:>9}{mark}", point.threshold.0))?;
        }
        output::line("")?;
        output::line(format_args!(
            "* {} impostor comparisons say nothing about false match rates below {} (rule of three);",
            scores.impostor().len(),
            percent(floor)
        ))?;
        output::line(
            "  intervals take comparisons as independent, which those of few fingers are not: true ones are wider.",
        )
    }
}
