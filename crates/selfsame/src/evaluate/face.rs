//! Faces: the comparison alone, the whole way end to end, and attack detection.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail, ensure};
use clap::Args;
use selfsame_api::enrolment::enrolment_samples;
use selfsame_biometrics::accuracy::{Rate, Scores};
use selfsame_biometrics::color_image::{Limits, decode};
use selfsame_biometrics::face::accuracy::{Sample, Settings, end_to_end, scores, sort};
use selfsame_biometrics::face::{CalibrationMethod, FacePipeline, Gates, calibrate, held_out};
use selfsame_biometrics::model_pack::ModelPack;
use selfsame_domain::enrolment::{Pose, check_poses};
use selfsame_domain::sensor::Modality;
use selfsame_domain::verification::AttackPolicy;
use serde_json::{Value, json};

use crate::models::PackOptions;
use crate::output::{self, progress_bar};

/// False match rates at which false non-match rates are told.
const FMR_MAX: [f64; 4] = [0.01, 0.001, 0.000_1, 0.000_01];

/// False match rate of the threshold by which one photo is compared with one template, in parts per billion.
const ONE_TO_ONE_PPB: u32 = 100_000;

/// Threads that photos are looked at on, one pipeline each.
const WORKERS: usize = 2;

/// Groups of persons that thresholds are tried on, each with the thresholds of the others.
const FOLDS: usize = 5;

/// Most photos of one evaluation: all pairs of their templates are compared.
const PHOTOS_MAX: usize = 20_000;

/// What said people should know of these figures.
const CAVEAT: &str = "Intervals take comparisons as independent; those that share a person are not, so true intervals are \
                      wider. Gates, thresholds and the live score of the shipped pack were chosen by cross-validation over \
                      the persons of a development set: on those photos the figures are optimistic.";

/// Measure the face algorithm
///
/// Genuine comparisons are all pairs of a person's photos, impostor comparisons all pairs of photos of two persons,
/// with quality gates and attack detection off. With --end-to-end they are on, and what a payer meets is counted:
/// refused at the first and second photo, and by which reason; and of how many persons an enrolment by their photos would
/// be refused because they hold their head alike. With --calibrate the thresholds of a pack are found, and
/// how often people who were left out pass them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame evaluate face --images photos/ --models models/            (one folder a person)
  selfsame evaluate face --images photos/ --end-to-end --json
  selfsame evaluate face --images photos/ --calibrate        (the table of a pack.toml)")]
pub struct Face {
    /// Folder with one folder of photos (JPEG or PNG) a person
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Only these pairs: lines `a,b,same` with paths below the folder, and 1 or 0
    #[arg(long, value_name = "CSV", conflicts_with = "end_to_end")]
    pairs: Option<PathBuf>,
    /// With quality gates and attack detection, as payers meet them
    #[arg(long)]
    end_to_end: bool,
    /// Find the thresholds by false match rate that belong into the pack's manifest
    #[arg(long, conflicts_with_all = ["end_to_end", "pairs"])]
    calibrate: bool,
    #[command(flatten)]
    pack: PackOptions,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Measure attack detection
///
/// How many living faces are taken for an attack (BPCER) and how many attacks for a living face (APCER), at the live
/// score that a new site has. A handful of files says little: look at the intervals.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  selfsame evaluate pad --live living/ --attack prints-and-screens/")]
pub struct Pad {
    /// A photo of a living person, or a folder of them, also in folders
    #[arg(long, value_name = "DIR")]
    live: PathBuf,
    /// A photo of an attack, or a folder of them, also in folders
    #[arg(long, value_name = "DIR")]
    attack: PathBuf,
    #[command(flatten)]
    pack: PackOptions,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Photos below a folder, or the one file.
pub fn photos(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        ensure!(path.exists(), "there is no `{}`", path.display());
        return Ok(vec![path.to_owned()]);
    }
    let read =
        || fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut found = Vec::new();
    for entry in read().with_context(|| format!("failed to look into `{}`", path.display()))? {
        let extension = entry.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let is_photo = ["jpg", "jpeg", "png"].contains(&extension.to_ascii_lowercase().as_str());
        if entry.is_dir() {
            found.extend(photos(&entry)?);
        } else if is_photo {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

/// The folder of a photo is the person.
fn name_of(photo: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    (text(photo.parent().and_then(Path::file_name)), text(photo.file_name()))
}

/// Looks at every photo, some at a time, in the order of the photos.
fn look(pack: &ModelPack, photos: &[PathBuf]) -> anyhow::Result<Vec<Sample>> {
    ensure!(photos.len() <= PHOTOS_MAX, "{} photos are more than {PHOTOS_MAX}", photos.len());
    let bar = progress_bar("looking", photos.len());
    let next = AtomicUsize::new(0);
    let looked: Mutex<Vec<(usize, Sample)>> = Mutex::new(Vec::with_capacity(photos.len()));
    let work = || -> anyhow::Result<()> {
        let pipeline = FacePipeline::new(pack)?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = photos.get(index) else { return Ok(()) };
            let read = || {
                let image = decode(&fs::read(path)?, Limits::FILE)?;
                let (person, photo) = name_of(path);
                anyhow::Ok(Sample::of(&pipeline, &person, &photo, &image)?)
            };
            let sample = read().with_context(|| format!("failed to look at `{}`", path.display()))?;
            looked.lock().expect("nobody panics with it").push((index, sample));
            bar.inc(1);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    bar.finish_and_clear();
    let mut looked = looked.into_inner().expect("nobody panics with it");
    looked.sort_by_key(|(index, _)| *index);
    Ok(looked.into_iter().map(|(_, sample)| sample).collect())
}

fn percent(rate: Rate) -> String {
    if rate.trials == 0 {
        return "not tried: nobody was left".to_owned();
    }
    let (low, high) = rate.interval();
    format!(
        "{:.2} % ({:.2} to {:.2}; {} of {})",
        100.0 * rate.share(),
        100.0 * low,
        100.0 * high,
        rate.errors,
        rate.trials
    )
}

/// How many persons' first photos, as many as an enrolment takes and the gate lets pass, would be refused because the
/// head is held alike in them. Persons with too few photos are left out.
fn few_poses(samples: &[Sample], persons: &[Range<usize>]) -> Rate {
    let wanted = enrolment_samples(Modality::Face);
    let mut rate = Rate { errors: 0, trials: 0 };
    for person in persons {
        let found = samples[person.clone()].iter().filter_map(|sample| sample.gate(&Gates::DEFAULT).ok());
        let pose = found.filter_map(|found| found.pose);
        let poses: Vec<Pose> = pose
            .map(|pose| Pose { yaw_deg: pose.yaw_deg, pitch_deg: pose.pitch_deg })
            .take(*wanted.end())
            .collect();
        if wanted.contains(&poses.len()) {
            rate.trials += 1;
            rate.errors += usize::from(check_poses(&poses).is_err());
        }
    }
    rate
}

fn rate_json(rate: Rate) -> Value {
    let (low, high) = rate.interval();
    let share = (rate.trials > 0).then(|| rate.share());
    json!({ "rate": share, "errors": rate.errors, "trials": rate.trials, "interval_95": [low, high] })
}

impl Face {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let pack = self.pack.load()?;
        let photos = photos(&self.images)?;
        let mut samples = look(&pack, &photos)?;
        let persons = sort(&mut samples);
        ensure!(persons.len() > 1, "`{}` shows fewer than two people", self.images.display());
        if self.end_to_end {
            return self.print_end_to_end(&pack, &samples, &persons);
        }
        if self.calibrate {
            return self.print_calibration(&samples, &persons);
        }
        let scores = match &self.pairs {
            Some(pairs) => self.scores_of_pairs(&samples, pairs)?,
            None => {
                let bar = progress_bar("comparing", persons.len());
                let scores = scores(&samples, &persons, |done| bar.set_position(done as u64));
                bar.finish_and_clear();
                scores
            }
        };
        self.print_scores(&scores, samples.len(), persons.len())
    }

    fn scores_of_pairs(&self, samples: &[Sample], file: &Path) -> anyhow::Result<Scores> {
        let text =
            fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))?;
        let pairs =
            parse_pairs(&text).with_context(|| format!("`{}` is no list of pairs", file.display()))?;
        let find = |name: &str| {
            let (person, photo) = name_of(Path::new(name));
            let found = samples.iter().find(|sample| sample.person == person && sample.photo == photo);
            found.with_context(|| format!("`{}` names a photo that is not there", file.display()))
        };
        let (mut genuine, mut impostor, mut failed) = (Vec::new(), Vec::new(), 0);
        for (a, b, same) in pairs {
            let score = match (&find(&a)?.found, &find(&b)?.found) {
                (Some(a), Some(b)) => {
                    let prepared = selfsame_biometrics::face::Prepared::new(vec![a.template.clone()]);
                    prepared.score(&b.template)
                }
                _ => {
                    failed += usize::from(same);
                    continue;
                }
            };
            if same { genuine.push(score) } else { impostor.push(score) }
        }
        let failures_to_acquire = samples.iter().filter(|sample| sample.found.is_none()).count();
        Ok(Scores::new(genuine, impostor, failed, failures_to_acquire))
    }

    fn print_scores(&self, scores: &Scores, photos: usize, persons: usize) -> anyhow::Result<()> {
        let Some(eer) = scores.eer() else {
            bail!("nothing can be said: no genuine or no impostor comparison")
        };
        let points: Vec<_> = FMR_MAX.iter().map(|fmr| (*fmr, scores.point(*fmr))).collect();
        let counts = (scores.genuine().len(), scores.impostor().len(), scores.failures_to_acquire());
        if self.json {
            let points = points.iter().map(|(fmr, point)| {
                json!({ "fmr": fmr, "fnmr": point.fnmr.share(), "threshold": point.threshold.0,
                    "fnmr_interval_95": point.fnmr.interval() })
            });
            return output::json(&json!({
                "eer": eer,
                "points": points.collect::<Vec<_>>(),
                "photos": photos,
                "persons": persons,
                "genuine_comparisons": counts.0,
                "impostor_comparisons": counts.1,
                "failures_to_acquire": counts.2,
                "fmr_floor": scores.fmr_floor(),
                "caveat": CAVEAT,
            }));
        }
        output::line(format_args!(
            "photos            {photos} of {persons} persons, {} without a face",
            counts.2
        ))?;
        output::line(format_args!("comparisons       {} genuine, {} impostor", counts.0, counts.1))?;
        output::line(format_args!("EER               {:.2} %", 100.0 * eer))?;
        for (fmr, point) in points {
            let floor = if fmr < scores.fmr_floor() { ", below what these data can say" } else { "" };
            let fnmr = percent(point.fnmr);
            output::line(format_args!("FMR <= {fmr:<10} FNMR {fnmr} at score {}{floor}", point.threshold.0))?;
        }
        output::line(CAVEAT)
    }

    fn print_calibration(&self, samples: &[Sample], persons: &[Range<usize>]) -> anyhow::Result<()> {
        let method = CalibrationMethod::SHIPPED;
        let bar = progress_bar("drawing", 1 + FOLDS);
        let points = calibrate(samples, persons, method);
        ensure!(!points.is_empty(), "{} persons are too few to find a threshold", persons.len());
        bar.inc(1);
        let rates = held_out(samples, persons, FOLDS, method, |done| bar.set_position(1 + done as u64));
        bar.finish_and_clear();
        let held_out = |ppb: u32| rates.iter().find(|(of, _)| *of == ppb).map(|(_, rate)| *rate);
        if self.json {
            let points = points.iter().map(|point| {
                json!({ "fmr_ppb": point.fmr_ppb, "threshold": point.threshold.0,
                    "held_out": held_out(point.fmr_ppb).map(rate_json) })
            });
            return output::json(&json!({
                "calibration": points.collect::<Vec<_>>(),
                "folds": FOLDS,
                "resamples": method.resamples,
                "seed": method.seed,
                "photos": samples.len(),
                "persons": persons.len(),
            }));
        }
        output::line(format_args!("photos            {} of {} persons", samples.len(), persons.len()))?;
        for point in &points {
            let held_out = match held_out(point.fmr_ppb) {
                Some(rate) => {
                    format!("{:.1e} of left-out persons ({} of {})", rate.share(), rate.errors, rate.trials)
                }
                None => "not tried on left-out persons: a fold has too few".to_owned(),
            };
            let fmr = f64::from(point.fmr_ppb) / 1e9;
            output::line(format_args!("FMR <= {fmr:<10.1e} score {:<6} {held_out}", point.threshold.0))?;
        }
        Ok(())
    }

    fn print_end_to_end(
        &self,
        pack: &ModelPack,
        samples: &[Sample],
        persons: &[Range<usize>],
    ) -> anyhow::Result<()> {
        let calibration = pack.calibration();
        let strict = calibration.iter().filter(|point| point.fmr_ppb <= ONE_TO_ONE_PPB);
        let threshold = strict.map(|point| point.threshold).min().context("the pack has no calibration")?;
        let live_min = f32::from(AttackPolicy::DEFAULT.live_score_min) / 10_000.0;
        let settings = Settings { gates: Gates::DEFAULT, live_min, threshold };
        let bar = progress_bar("trying", persons.len());
        let result = end_to_end(samples, persons, &settings, |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        let rates = [
            ("refused_first_try", "refused at the first photo", result.first_try),
            ("refused_second_try", "refused at the second too", result.second_try),
            ("impostors_passing", "somebody else passes", result.impostor),
            ("failure_to_acquire", "refused by the gate", result.failure_to_acquire),
            ("bpcer", "taken for an attack", result.taken_for_attack),
            ("enrolments_of_few_poses", "enrolled in too few poses", few_poses(samples, persons)),
        ];
        if self.json {
            let mut document: serde_json::Map<String, Value> =
                rates.iter().map(|(key, _, rate)| ((*key).to_owned(), rate_json(*rate))).collect();
            document.insert("reasons".to_owned(), json!(result.reasons));
            document.insert("threshold".to_owned(), json!(threshold.0));
            document.insert("photos".to_owned(), json!(samples.len()));
            document.insert("persons".to_owned(), json!(persons.len()));
            document.insert("caveat".to_owned(), json!(CAVEAT));
            return output::json(&document);
        }
        output::line(format_args!(
            "photos                      {} of {} persons",
            samples.len(),
            persons.len()
        ))?;
        for (_, name, rate) in rates {
            output::line(format_args!("{name:28}{}", percent(rate)))?;
        }
        for (reason, count) in &result.reasons {
            output::line(format_args!("  by the gate: {reason:18}{count}"))?;
        }
        output::line(CAVEAT)
    }
}

/// Lines `a,b,same`; a first line that names the columns is left out.
fn parse_pairs(text: &str) -> anyhow::Result<Vec<(String, String, bool)>> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        match cells.as_slice() {
            [a, b, same @ ("0" | "1")] => pairs.push(((*a).to_owned(), (*b).to_owned(), *same == "1")),
            ["a", "b", "same"] if number == 0 => {}
            _ => bail!("line {} is not `a,b,same` with 1 or 0", number + 1),
        }
    }
    Ok(pairs)
}

impl Pad {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let pack = self.pack.load()?;
        let live_min = f32::from(AttackPolicy::DEFAULT.live_score_min) / 10_000.0;
        let mut measured = Vec::new();
        for (is_attack, path) in [(false, &self.live), (true, &self.attack)] {
            let samples = look(&pack, &photos(path)?)?;
            let found = samples
                .iter()
                .filter_map(|sample| sample.found.as_ref().map(|found| (sample, found.liveness)));
            let wrong = found.clone().filter(|(_, live)| (*live >= live_min) == is_attack).count();
            let rate = Rate { errors: wrong, trials: found.clone().count() };
            let scores: Vec<Value> =
                found.map(|(sample, live)| json!({ "file": sample.photo, "live_score": live })).collect();
            measured.push((rate, scores, samples.iter().filter(|sample| sample.found.is_none()).count()));
        }
        let [(bpcer, live, no_live), (apcer, attack, no_attack)] =
            <[_; 2]>::try_from(measured).expect("two kinds were measured");
        if self.json {
            return output::json(&json!({
                "live_score_min": live_min,
                "bpcer": rate_json(bpcer),
                "apcer": rate_json(apcer),
                "live": live,
                "attack": attack,
                "without_a_face": { "live": no_live, "attack": no_attack },
            }));
        }
        output::line(format_args!("live score at least          {live_min}"))?;
        output::line(format_args!(
            "living, taken for an attack  {} (BPCER), {no_live} without a face",
            percent(bpcer)
        ))?;
        output::line(format_args!(
            "attacks, taken for living    {} (APCER), {no_attack} without a face",
            percent(apcer)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_with_and_without_a_head() {
        let wanted = vec![
            ("p/1.jpg".to_owned(), "q/2.jpg".to_owned(), false),
            ("p/1.jpg".into(), "p/2.jpg".into(), true),
        ];
        assert_eq!(parse_pairs("a,b,same\np/1.jpg,q/2.jpg,0\n\np/1.jpg, p/2.jpg, 1\n").unwrap(), wanted);
        assert!(parse_pairs("p/1.jpg,q/2.jpg,2").is_err());
        assert!(parse_pairs("p/1.jpg,q/2.jpg").is_err());
    }

    #[test]
    fn a_photos_folder_is_its_person() {
        assert_eq!(name_of(Path::new("photos/p/1.jpg")), ("p".to_owned(), "1.jpg".to_owned()));
        assert_eq!(name_of(Path::new("1.jpg")), (String::new(), "1.jpg".to_owned()));
    }
}
