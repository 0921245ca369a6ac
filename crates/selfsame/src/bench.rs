//! `selfsame bench`: how many payments a second this machine takes and what a verification by face costs, as ratios to
//! something known that is measured in the same minute; and what a till waits for at the terminal.

mod baseline;
mod beside;
mod face;
mod load;
mod terminal;
mod world;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::bench::load::Figures;
use crate::bench::world::World;
use crate::output;

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
}

/// Payments a second: pgbench TPC-B as the baseline, the store path in process, and the HTTP edge
///
/// Everything is made in a temporary folder and thrown away. The baseline needs PostgreSQL's programs; without them it
/// is left out and only absolute figures are told.
#[derive(Args, Debug)]
pub struct Payments {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// In flight in the main measurements.
const IN_FLIGHT: usize = 256;

/// Payments a second of the open loop.
const OPEN_LOOP_PER_SECOND: u32 = 200;

impl Bench {
    /// Runs it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Payments(payments) => payments.run().await,
            Command::Face(face) => face.run().await,
            Command::Terminal(terminal) => terminal.run().await,
        }
    }
}

fn tell(name: &str, figures: &Figures, baseline: Option<u64>) {
    let per_second = figures.per_second();
    let ratio = baseline.map(|tps| format!("  {}x pgbench TPC-B", tenths(per_second, tps)));
    let [p50, p99, p999] = figures.percentiles_us();
    output::note(format_args!(
        "{name:<40} {per_second:>7}/s  p50 {p50} us  p99 {p99} us  p99.9 {p999} us  refused {}{}",
        figures.refused,
        ratio.unwrap_or_default()
    ));
}

/// A ratio with two decimals, without floating point.
fn tenths(value: u64, base: u64) -> String {
    let hundredths = value * 100 / base.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn document(figures: &Figures, baseline: Option<u64>) -> Value {
    let [p50_us, p99_us, p999_us] = figures.percentiles_us();
    json!({
        "per_second": figures.per_second(),
        "p50_us": p50_us,
        "p99_us": p99_us,
        "p999_us": p999_us,
        "paid": figures.latencies_us.len(),
        "refused": figures.refused,
        "ratio_to_baseline": baseline.map(|tps| tenths(figures.per_second(), tps)),
    })
}

impl Payments {
    async fn run(self) -> anyhow::Result<()> {
        let length = Duration::from_secs(self.seconds);
        let baseline = match baseline::measure(self.seconds).await {
            Ok(tps) => {
                output::note(format_args!("{:<40} {tps:>7}/s", "pgbench TPC-B, 32 clients"));
                Some(tps)
            }
            Err(error) => {
                output::note(format_args!("baseline left out: {error:#}"));
                None
            }
        };
        let mut results = serde_json::Map::new();
        let mut keep = |name: &str, figures: &Figures| {
            tell(name, figures, baseline);
            results.insert(name.to_owned(), document(figures, baseline));
        };
        for (name, in_flight, merchants) in [
            ("store path, 1 in flight", 1, 50),
            ("store path, 8 in flight", 8, 50),
            ("store path, 32 in flight", 32, 50),
            ("store path, 256 in flight", IN_FLIGHT, 50),
            ("store path, 256 in flight, hot merchant", IN_FLIGHT, 1),
        ] {
            let mut world = World::new(merchants).await?;
            let codes = world.codes_for(in_flight, self.seconds).await?;
            keep(name, &load::store_path(&world, codes, in_flight, length).await?);
            world.check().await?;
        }
        let mut world = World::new(1).await?;
        let server = world.serve().await?;
        let codes = world.codes_for(IN_FLIGHT, self.seconds).await?;
        keep("HTTP edge, 256 in flight", &load::http_edge(&server, codes, IN_FLIGHT, length).await?);
        let count = OPEN_LOOP_PER_SECOND as usize * usize::try_from(self.seconds)?;
        let codes = world.codes(count).await?;
        let open = load::open_loop(&server, codes, OPEN_LOOP_PER_SECOND).await?;
        keep("HTTP edge, open loop 200/s", &open);
        world.check().await?;
        if self.json {
            output::json(&json!({ "pgbench_tpcb_per_second": baseline, "results": results }))?;
        }
        Ok(())
    }
}
