//! `selfsame bench`: how many payments a second this machine takes and what a verification by face costs, as ratios to
//! something known that is measured in the same minute; and what a till waits for at the terminal.

mod baseline;
mod beside;
mod client;
mod face;
mod load;
mod plot;
mod queue;
mod statistics;
mod terminal;
mod till;
mod world;

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::bench::baseline::Baseline;
use crate::bench::load::Figures;
use crate::bench::world::{Engine, World};
use crate::output;
use crate::process::start_log_to_file;

/// Measure how fast this machine pays and verifies
#[derive(Args, Debug)]
pub struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Payments(Payments),
    Face(face::Face),
    Terminal(terminal::Terminal),
    Till(till::Till),
    Queue(queue::Queue),
}

/// Payments a second: pgbench TPC-B as the baseline, the store path in process, and the HTTP edge
///
/// Everything is made in a temporary folder and thrown away. The main loads run in rounds, right after the baseline,
/// because a disk's speed changes from minute to minute; what counts is the median of the ratios. Payments over HTTP
/// come from a lean client of the benchmark's own, on one thread: 256 kept connections, one request at a time on each.
/// It shares the cores with the server, as that of pgbench does with PostgreSQL. The server writes its log, as on a
/// site. Processor time is told for each payment; the baseline needs PostgreSQL's programs, and without them it is left
/// out and only absolute figures are told.
#[derive(Args, Debug)]
pub struct Payments {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of the main measurements
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// Keep the site in PostgreSQL, on the server that is started for the baseline
    #[arg(long)]
    postgres: bool,
    /// Writers of payments, with --postgres
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8), requires = "postgres")]
    writers: u8,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// In flight in the main measurements.
const IN_FLIGHT: usize = 256;

/// Names of the main measurements.
const STORE_PATH: &str = "store path, 256 in flight";
const HTTP_EDGE: &str = "HTTP edge, 256 in flight";

/// Payments a second of the open loop.
const OPEN_LOOP_PER_SECOND: u32 = 200;

impl Bench {
    /// Runs it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Payments(payments) => payments.run().await,
            Command::Face(face) => face.run().await,
            Command::Terminal(terminal) => terminal.run().await,
            Command::Till(till) => till.run().await,
            Command::Queue(queue) => queue.run(),
        }
    }
}

fn tell(name: &str, figures: &Figures, baseline: Option<u64>) {
    let per_second = figures.per_second();
    let ratio = baseline.map(|tps| format!("  {}x pgbench TPC-B", Ratio::of(per_second, tps)));
    let [p50, p99, p999] = figures.percentiles_us();
    let cpu = match figures.cpu_us() {
        [0, _] => String::new(),
        [all, 0] => format!("  processor {all} us each"),
        [server, clients] => format!("  processor {server} us each, clients {clients} us"),
    };
    let log = figures.log_bytes_each().map(|bytes| format!("  log {bytes} bytes each")).unwrap_or_default();
    output::note(format_args!(
        "{name:<40} {per_second:>7}/s  p50 {p50} us  p99 {p99} us  p99.9 {p999} us  refused {}{cpu}{log}{}",
        figures.refused,
        ratio.unwrap_or_default()
    ));
}

fn document(figures: &Figures, baseline: Option<u64>) -> Value {
    let [p50_us, p99_us, p999_us] = figures.percentiles_us();
    // Not measured is absent, not zero.
    let [cpu_us, cpu_clients_us] = figures.cpu_us().map(|cpu_us| (cpu_us > 0).then_some(cpu_us));
    json!({
        "per_second": figures.per_second(),
        "p50_us": p50_us,
        "p99_us": p99_us,
        "p999_us": p999_us,
        "paid": figures.latencies_us.len(),
        "refused": figures.refused,
        "log_bytes": figures.log_bytes_each(),
        "cpu_us": cpu_us,
        "cpu_clients_us": cpu_clients_us,
        "ratio_to_baseline": baseline.map(|tps| Ratio::of(figures.per_second(), tps).to_string()),
    })
}

/// A ratio in hundredths, without floating point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ratio(u64);

impl Ratio {
    fn of(value: u64, base: u64) -> Self {
        Self(value * 100 / base.max(1))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:02}", self.0 / 100, self.0 % 100))
    }
}

/// The one in the middle, or the lower one of two.
fn middle<T>(mut values: Vec<T>, by: impl Fn(&T) -> u64) -> Option<T> {
    values.sort_by_key(by);
    let place = values.len().checked_sub(1)? / 2;
    Some(values.swap_remove(place))
}

/// Ratios of the same two loads in all rounds, sorted.
struct Ratios(Vec<Ratio>);

impl Ratios {
    fn new(ratios: impl Iterator<Item = Ratio>) -> Self {
        let mut sorted: Vec<Ratio> = ratios.collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    fn median(&self) -> Option<Ratio> {
        middle(self.0.clone(), |ratio| ratio.0)
    }

    fn tell(&self, name: &str) {
        if let (Some(median), Some(least), Some(most)) = (self.median(), self.0.first(), self.0.last()) {
            let rounds = self.0.len();
            output::note(format_args!("{name:<40} {median:>7}x  median of {rounds}, from {least} to {most}"));
        }
    }

    fn document(&self) -> Value {
        let all: Vec<String> = self.0.iter().map(Ratio::to_string).collect();
        json!({ "median": self.median().map(|median| median.to_string()), "all": all })
    }
}

/// A load with the baseline that was measured just before.
struct Measured {
    baseline: Option<u64>,
    figures: Figures,
}

impl Measured {
    fn ratio(&self) -> Option<Ratio> {
        Some(Ratio::of(self.figures.per_second(), self.baseline?))
    }

    fn document(&self) -> Value {
        let mut document = document(&self.figures, self.baseline);
        document["pgbench_tpcb_per_second"] = json!(self.baseline);
        document
    }
}

/// The main loads, measured one right after the other.
struct Round {
    store: Measured,
    edge: Measured,
}

impl Payments {
    async fn run(self) -> anyhow::Result<()> {
        // A line for each request, as on a site: what it costs is the server's.
        start_log_to_file(tempfile::tempfile().context("failed to make a file for the log")?)?;
        let baseline = match Baseline::start().await {
            Ok(baseline) => Some(baseline),
            Err(error) => {
                output::note(format_args!("baseline left out: {error:#}"));
                None
            }
        };
        let measured = self.measure(baseline.as_ref()).await?;
        if self.json {
            output::json(&measured)?;
        }
        Ok(())
    }

    async fn measure(&self, baseline: Option<&Baseline>) -> anyhow::Result<Value> {
        let rounds = self.rounds(baseline).await?;
        let mut results = self.other_loads(baseline).await?;
        let of_both = |round: &Round| {
            Some(Ratio::of(round.edge.figures.per_second(), round.store.figures.per_second()))
        };
        let ratios = [
            (
                "store path to pgbench TPC-B",
                Ratios::new(rounds.iter().filter_map(|round| round.store.ratio())),
            ),
            ("HTTP edge to pgbench TPC-B", Ratios::new(rounds.iter().filter_map(|round| round.edge.ratio()))),
            ("HTTP edge to store path", Ratios::new(rounds.iter().filter_map(of_both))),
        ];
        for (name, ratios) in &ratios {
            ratios.tell(name);
        }
        let ratios: serde_json::Map<_, _> =
            ratios.iter().map(|(name, ratios)| ((*name).to_owned(), ratios.document())).collect();
        let (store, edge): (Vec<_>, Vec<_>) =
            rounds.into_iter().map(|round| (round.store, round.edge)).unzip();
        let baselines = store.iter().chain(&edge).filter_map(|measured| measured.baseline);
        let tps = middle(baselines.collect(), |tps| *tps);
        for (name, measured) in [(STORE_PATH, store), (HTTP_EDGE, edge)] {
            let all: Vec<Value> = measured.iter().map(Measured::document).collect();
            let Some(measured) = middle(measured, |measured| measured.figures.per_second()) else { continue };
            let mut document = measured.document();
            document["rounds"] = all.into();
            results.insert(name.to_owned(), document);
        }
        Ok(json!({ "pgbench_tpcb_per_second": tps, "ratios": ratios, "results": results }))
    }

    fn engine(&self, baseline: Option<&Baseline>) -> anyhow::Result<Engine> {
        if !self.postgres {
            return Ok(Engine::Sqlite);
        }
        let url = baseline.context("--postgres needs PostgreSQL's programs on this machine")?.url();
        Ok(Engine::Postgres { url, writers: self.writers.into() })
    }

    /// Store path and HTTP edge, each with a world that is kept over all rounds.
    async fn rounds(&self, baseline: Option<&Baseline>) -> anyhow::Result<Vec<Round>> {
        let length = Duration::from_secs(self.seconds);
        let engine = self.engine(baseline)?;
        let mut at_store = World::new(50, &engine).await?;
        let mut at_edge = World::new(1, &engine).await?;
        let till = at_edge.serve().await?;
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            // All that is to be prepared comes first, so that the measurements are neighbours.
            let store_codes = at_store.codes_for(IN_FLIGHT, self.seconds).await?;
            let edge_codes = at_edge.codes_for(IN_FLIGHT, self.seconds).await?;
            let tps = self.baseline(baseline).await?;
            let figures = load::store_path(&at_store, store_codes, IN_FLIGHT, length).await?;
            tell(STORE_PATH, &figures, tps);
            let store = Measured { baseline: tps, figures };
            let tps = self.baseline(baseline).await?;
            let figures = load::http_edge(&till, edge_codes, IN_FLIGHT, length).await?;
            tell(HTTP_EDGE, &figures, tps);
            rounds.push(Round { store, edge: Measured { baseline: tps, figures } });
        }
        at_store.check().await?;
        at_edge.check().await?;
        Ok(rounds)
    }

    /// The baseline, measured now.
    async fn baseline(&self, baseline: Option<&Baseline>) -> anyhow::Result<Option<u64>> {
        let Some(baseline) = baseline else { return Ok(None) };
        let tps = baseline.measure(self.seconds).await?;
        output::note(format_args!("{:<40} {tps:>7}/s", "pgbench TPC-B, 32 clients"));
        Ok(Some(tps))
    }

    async fn other_loads(
        &self,
        baseline: Option<&Baseline>,
    ) -> anyhow::Result<serde_json::Map<String, Value>> {
        let mut results = serde_json::Map::new();
        let engine = self.engine(baseline)?;
        let tps = self.baseline(baseline).await?;
        let mut keep = |name: &str, figures: &Figures| {
            tell(name, figures, tps);
            results.insert(name.to_owned(), document(figures, tps));
        };
        for (name, in_flight, merchants) in [
            ("store path, 256 in flight, hot merchant", IN_FLIGHT, 1),
            ("store path, 32 in flight", 32, 50),
            ("store path, 8 in flight", 8, 50),
            ("store path, 1 in flight", 1, 50),
        ] {
            let mut world = World::new(merchants, &engine).await?;
            let codes = world.codes_for(in_flight, self.seconds).await?;
            keep(name, &load::store_path(&world, codes, in_flight, Duration::from_secs(self.seconds)).await?);
            world.check().await?;
        }
        let mut world = World::new(1, &engine).await?;
        let till = world.serve().await?;
        let codes = world.codes(OPEN_LOOP_PER_SECOND as usize * usize::try_from(self.seconds)?).await?;
        keep("HTTP edge, open loop 200/s", &load::open_loop(&till, codes, OPEN_LOOP_PER_SECOND).await?);
        world.check().await?;
        Ok(results)
    }
}
