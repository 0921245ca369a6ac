//! `selfsame bench queue`: a lunch break at tills, with the seconds that people take by each way to pay. Computed from
//! stated figures, not measured; ours are those that `selfsame bench till` measured.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bench::plot::{Anchor, Chart, Colour, Curve, Drawing};
use crate::bench::statistics::Sample;
use crate::bench::till::Chance;
use crate::output;

/// Most tills that are tried.
const TILLS_MAX: usize = 12;

/// Tills of the table.
const TILLS_TOLD: [usize; 4] = [2, 3, 4, 6];

/// Tills of the plot: with one everybody waits for most of an hour, with nine nobody does.
const TILLS_PLOTTED: std::ops::RangeInclusive<usize> = 2..=8;

/// How much longer or shorter than the mean people take: standard deviation by mean. An assumption.
const VARIATION: f64 = 0.4;

/// Ways to pay that others measured: name, mean seconds from the amount being said until receipt or drawer closed, and of
/// what. Source: docs/sources.md, [Bundesbank23] in food retail; [JP-QR19], the middle of 12 to 32 seconds.
const OTHERS: [(&str, f64); 5] = [
    ("phone or watch, contactless", 11.8),
    ("card, contactless without PIN", 13.2),
    ("cash", 18.1),
    ("card, contactless with PIN", 18.2),
    ("QR code (Japan 2019, middle of the range)", 22.0),
];

/// What of a contactless cycle is the tap itself, in seconds. The rest, talk and receipt, is the same for us.
const TAP_SECONDS: f64 = 1.5;

/// The lunch break in which people pay at tills, one queue for all of them
///
/// People come over the break, most of them in its middle (a triangle). A cashier scans the goods, then the payment runs.
/// What others measured is from the amount being said until the receipt is there; ours is that of a phone without its
/// tap, and the payer's wait as measured by `selfsame bench till`. Nothing is taken off because nobody looks for a phone.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame bench till --out target/bench/till
  selfsame bench queue --measured target/bench/till/till.json --out target/bench/queue")]
pub struct Queue {
    /// Result of `selfsame bench till`; without it our own ways are left out
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    /// People who eat
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    people: u32,
    /// Minutes in which they come
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    minutes: u32,
    /// How long the cashier scans goods, in milliseconds
    #[arg(long, default_value_t = 4_000)]
    goods_ms: u32,
    /// Days that are simulated
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    days: u32,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for figures and plot
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// How long a payment takes once the goods are scanned, in seconds.
enum Paying {
    /// Around a mean.
    Mean(f64),
    /// Talk and receipt around a mean, and one of the waits that were measured.
    Measured { around: f64, waits: Vec<f64> },
}

/// A way to pay.
struct Way {
    name: String,
    paying: Paying,
}

/// What a break with so many tills comes to.
#[derive(Clone, Debug, Serialize)]
struct Break {
    tills: usize,
    /// Wait in the queue, mean of the days' means, and the day's 95th percentile, seconds.
    wait_mean_s: f64,
    wait_p95_s: f64,
    /// How long after the end of the break the last one has paid, seconds.
    late_s: f64,
}

/// What is read of a result of `selfsame bench till`.
#[derive(Deserialize)]
struct TillResult {
    settings: Vec<TillSetting>,
    payments: Vec<TillPayment>,
}

#[derive(Deserialize)]
struct TillSetting {
    delay_ms: Option<u64>,
}

#[derive(Deserialize)]
struct TillPayment {
    setting: usize,
    flow: String,
    wait_us: u64,
}

impl Chance {
    /// A value around a mean with the assumed variation, never negative (log-normal; Box and Muller).
    fn around(&mut self, mean: f64) -> f64 {
        let variance = (1.0 + VARIATION * VARIATION).ln();
        let radius = (-2.0 * self.share().max(f64::MIN_POSITIVE).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.share()).cos();
        mean * (variance.sqrt() * normal - variance / 2.0).exp()
    }

    /// When people come, in order, over so many seconds, most in the middle.
    fn arrivals(&mut self, people: u32, seconds: f64) -> Vec<f64> {
        let mut arrivals: Vec<f64> = (0..people)
            .map(|_| {
                let share = self.share();
                let place =
                    if share < 0.5 { (share / 2.0).sqrt() } else { 1.0 - ((1.0 - share) / 2.0).sqrt() };
                place * seconds
            })
            .collect();
        arrivals.sort_by(f64::total_cmp);
        arrivals
    }
}

/// One queue before so many tills: how long each person waits in it, and when the last one leaves.
fn queue(arrivals: &[f64], services: &[f64], tills: usize) -> (Vec<f64>, f64) {
    let mut free_at = vec![0.0f64; tills];
    let mut waits = Vec::with_capacity(arrivals.len());
    let mut last = 0.0f64;
    for (arrival, service) in arrivals.iter().zip(services) {
        let next = (0..tills).min_by(|a, b| free_at[*a].total_cmp(&free_at[*b])).unwrap_or_default();
        let begins = free_at[next].max(*arrival);
        waits.push(begins - arrival);
        free_at[next] = begins + service;
        last = last.max(free_at[next]);
    }
    (waits, last)
}

impl Paying {
    fn draw(&self, chance: &mut Chance) -> f64 {
        match self {
            Paying::Mean(mean) => chance.around(*mean),
            Paying::Measured { around, waits } => {
                let place = (chance.share() * waits.len() as f64) as usize;
                chance.around(*around) + waits.get(place).copied().unwrap_or_default()
            }
        }
    }

    fn mean(&self) -> f64 {
        match self {
            Paying::Mean(mean) => *mean,
            Paying::Measured { around, waits } => around + Sample::new(waits.iter().copied()).mean(),
        }
    }
}

impl Queue {
    /// Simulates.
    pub fn run(&self) -> anyhow::Result<()> {
        if let Some(out) = &self.out {
            std::fs::create_dir_all(out).with_context(|| format!("failed to make `{}`", out.display()))?;
        }
        let ways = self.ways()?;
        let goods = f64::from(self.goods_ms) / 1000.0;
        output::note(format_args!(
            "{} people in {} minutes, goods {goods:.1} s; {} days. Wait in the queue in seconds, mean (95th percentile)",
            self.people, self.minutes, self.days
        ));
        let mut results = Vec::new();
        for way in &ways {
            let breaks: Vec<Break> = (1..=TILLS_MAX).map(|tills| self.simulate(way, tills)).collect();
            let cycle = goods + way.paying.mean();
            let told: Vec<String> = [2, 3, 4, 6, 8]
                .iter()
                .map(|tills| {
                    let Break { wait_mean_s, wait_p95_s, .. } = &breaks[tills - 1];
                    format!("{tills} tills {wait_mean_s:>5.0} ({wait_p95_s:>4.0})")
                })
                .collect();
            output::note(format_args!(
                "{:<44} {cycle:>5.1} s each, {:>4.1} a minute and till: {}",
                way.name,
                60.0 / cycle,
                told.join("  ")
            ));
            results.push((way, cycle, breaks));
        }
        let document = json!({
            "assumptions": {
                "people": self.people, "minutes": self.minutes, "goods_ms": self.goods_ms, "days": self.days,
                "variation": VARIATION, "tap_seconds": TAP_SECONDS,
                "arrivals": "triangle, most in the middle", "queue": "one for all tills, first come first served",
            },
            "ways": results.iter().map(|(way, cycle, breaks)| json!({
                "name": way.name, "seconds_each": cycle, "per_minute_and_till": 60.0 / cycle, "tills": breaks,
            })).collect::<Vec<_>>(),
        });
        if let Some(out) = &self.out {
            let path = out.join("queue.json");
            std::fs::write(&path, serde_json::to_vec_pretty(&document)?)
                .with_context(|| format!("failed to write `{}`", path.display()))?;
            let path = out.join("queue.md");
            std::fs::write(&path, table(&results))
                .with_context(|| format!("failed to write `{}`", path.display()))?;
            plot(&results, self).save(out, "queue")?;
        }
        if self.json { output::json(&document) } else { Ok(()) }
    }

    fn ways(&self) -> anyhow::Result<Vec<Way>> {
        let mut ways: Vec<Way> = OTHERS
            .iter()
            .map(|(name, mean)| Way { name: (*name).to_owned(), paying: Paying::Mean(*mean) })
            .collect();
        let Some(path) = &self.measured else {
            output::note("without --measured our own ways are left out");
            return Ok(ways);
        };
        let around = OTHERS[0].1 - TAP_SECONDS;
        for (flow, name) in [
            ("general_last", "general code, from the last item"),
            ("general_first", "general code, from the first item"),
        ] {
            let waits = measured(path, flow)?;
            ways.push(Way { name: name.to_owned(), paying: Paying::Measured { around, waits } });
        }
        Ok(ways)
    }

    fn simulate(&self, way: &Way, tills: usize) -> Break {
        // The same people come on the same days, however they pay and however many tills there are.
        let mut chance = Chance::new(self.seed);
        let seconds = f64::from(self.minutes) * 60.0;
        let goods = f64::from(self.goods_ms) / 1000.0;
        let (mut means, mut highs, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.days {
            let arrivals = chance.arrivals(self.people, seconds);
            let mut hand = Chance::new(chance.whole());
            let services: Vec<f64> =
                arrivals.iter().map(|_| hand.around(goods) + way.paying.draw(&mut hand)).collect();
            let (waits, last) = queue(&arrivals, &services, tills);
            let sample = Sample::new(waits);
            means.push(sample.mean());
            highs.extend(sample.quantile(0.95).map(|quantile| quantile.value));
            late.push((last - seconds).max(0.0));
        }
        Break {
            tills,
            wait_mean_s: Sample::new(means).mean(),
            wait_p95_s: Sample::new(highs).mean(),
            late_s: Sample::new(late).mean(),
        }
    }
}

/// The waits of a flow with no delay, in seconds.
fn measured(path: &Path, flow: &str) -> anyhow::Result<Vec<f64>> {
    let text = std::fs::read(path)
        .with_context(|| format!("failed to read `{}`, see `bench till`", path.display()))?;
    let result: TillResult = serde_json::from_slice(&text)
        .with_context(|| format!("`{}` is no result of `bench till`", path.display()))?;
    let undelayed = |payment: &&TillPayment| {
        payment.flow == flow
            && result.settings.get(payment.setting).is_some_and(|setting| setting.delay_ms == Some(0))
    };
    let waits: Vec<f64> =
        result.payments.iter().filter(undelayed).map(|payment| payment.wait_us as f64 / 1e6).collect();
    ensure!(!waits.is_empty(), "`{}` has no payment of {flow} without a delay", path.display());
    Ok(waits)
}

/// The figures as Markdown, for a page like docs/benchmarks.md.
fn table(results: &[(&Way, f64, Vec<Break>)]) -> String {
    let mut text = String::from("| | seconds each | a minute and till |");
    TILLS_TOLD.iter().for_each(|tills| text.push_str(&format!(" {tills} tills |")));
    text.push_str(&format!("\n|{}\n", "---|".repeat(TILLS_TOLD.len() + 3)));
    for (way, cycle, breaks) in results {
        text.push_str(&format!("| {} | {cycle:.1} | {:.1} |", way.name, 60.0 / cycle));
        for at in breaks.iter().filter(|at| TILLS_TOLD.contains(&at.tills)) {
            text.push_str(&format!(" {:.0} ({:.0}) |", at.wait_mean_s, at.wait_p95_s));
        }
        text.push('\n');
    }
    text
}

fn plot(results: &[(&Way, f64, Vec<Break>)], queue: &Queue) -> Drawing {
    let mut drawing = Drawing::new(1_000.0, 600.0);
    let colours = [0, 1, 6, 4, 5, 2, 3];
    let curves = results.iter().zip(colours).map(|((way, cycle, breaks), colour)| Curve {
        name: format!("{}: {:.1} a minute and till", way.name, 60.0 / cycle),
        colour: Colour::SERIES[colour],
        points: breaks
            .iter()
            .filter(|at| TILLS_PLOTTED.contains(&at.tills))
            .map(|at| (at.tills as f64, at.wait_mean_s / 60.0))
            .collect(),
        band: Vec::new(),
        dashed: false,
    });
    let chart = Chart {
        title: format!("{} people in {} minutes, one queue", queue.people, queue.minutes),
        x_label: "tills".to_owned(),
        y_label: "mean wait in the queue, minutes".to_owned(),
        y_max: None,
        curves: curves.collect(),
    };
    let at = (20.0, 28.0);
    drawing.text(at, "Lunch break: waiting by way to pay (simulated)", 20.0, Anchor::Start, Colour::INK);
    chart.draw(&mut drawing, (10.0, 44.0), (990.0, 420.0));
    chart.draw_legend(&mut drawing, (68.0, 448.0));
    drawing
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exponential times, as the formulas of queueing theory suppose.
    fn exponential(chance: &mut Chance, mean: f64) -> f64 {
        -mean * (1.0 - chance.share()).ln()
    }

    fn mean_wait(tills: usize, arrivals_a_second: f64) -> f64 {
        let mut chance = Chance::new(11);
        let (mut now, mut arrivals, mut services) = (0.0, Vec::new(), Vec::new());
        for _ in 0..400_000 {
            now += exponential(&mut chance, 1.0 / arrivals_a_second);
            arrivals.push(now);
            services.push(exponential(&mut chance, 1.0));
        }
        let (waits, _) = queue(&arrivals, &services, tills);
        waits.iter().sum::<f64>() / waits.len() as f64
    }

    #[test]
    fn one_till_makes_people_wait_as_long_as_theory_says() {
        // M/M/1 with a load of 0.5: wait = load / (1 - load) services.
        let wait = mean_wait(1, 0.5);
        assert!((wait - 1.0).abs() < 0.05, "{wait}");
    }

    #[test]
    fn two_tills_make_people_wait_as_long_as_erlang_says() {
        // M/M/2 with 1.5 arrivals a service: Erlang C = 0.642857, wait = C / (2 - 1.5).
        let wait = mean_wait(2, 1.5);
        assert!((wait - 1.285_714).abs() < 0.08, "{wait}");
    }

    #[test]
    fn people_who_come_one_at_a_time_do_not_wait() {
        let (waits, last) = queue(&[0.0, 10.0, 20.0], &[5.0, 5.0, 5.0], 1);
        assert_eq!((waits, last), (vec![0.0; 3], 25.0));
        let (waits, _) = queue(&[0.0, 0.0, 0.0], &[5.0, 5.0, 5.0], 1);
        assert_eq!(waits, [0.0, 5.0, 10.0]);
    }

    #[test]
    fn drawn_times_have_the_mean_and_variation_that_are_said_of_them() {
        let mut chance = Chance::new(5);
        let sample = Sample::new((0..100_000).map(|_| chance.around(12.0)));
        assert!((sample.mean() - 12.0).abs() < 0.1, "{}", sample.mean());
        assert!((sample.variation() - VARIATION).abs() < 0.01, "{}", sample.variation());
    }

    #[test]
    fn most_people_come_in_the_middle_of_the_break() {
        let arrivals = Chance::new(5).arrivals(10_000, 100.0);
        let within = |from: f64, to: f64| arrivals.iter().filter(|at| (from..to).contains(*at)).count();
        assert!((700..=900).contains(&within(0.0, 20.0)), "{}", within(0.0, 20.0));
        assert!((3_400..=3_800).contains(&within(40.0, 60.0)), "{}", within(40.0, 60.0));
        assert!(arrivals.is_sorted() && arrivals[arrivals.len() - 1] <= 100.0);
    }
}
