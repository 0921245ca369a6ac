//! `selfsame bench payments`: how many payments a second this machine takes, as ratios to something known that is
//! measured in the same minute.

mod parts;
mod report;

use anyhow::{Context, bail};
use clap::Args;

use crate::bench::baseline::{self, Baseline};
use crate::bench::payments::parts::{Extent, Part, Run};
pub use crate::bench::payments::report::{document, tell};
use crate::bench::postgres::Server;
use crate::bench::world::Size;
use crate::output::{self, Usage};
use crate::process::start_log_to_file;
use crate::supervise::shutdown_signal;

/// In flight in the main measurements.
const IN_FLIGHT: usize = 256;

/// Payments a second: pgbench TPC-B as the baseline, the store path in process, and the HTTP edge
///
/// Everything is made for the run and thrown away. Loads that are compared run in rounds, right after the baseline,
/// because a disk's speed changes from minute to minute; what counts is the median of the ratios. Payments over HTTP
/// come from a lean client of the benchmark's own, on one thread: 256 kept connections, one request at a time on each.
/// It shares the cores with the server, as that of pgbench does with PostgreSQL. The server writes its log, as on a
/// site. Processor time is told for each payment.
///
/// By default the sites are in SQLite, and without PostgreSQL's programs there is no baseline and only absolute figures
/// are told. With --postgres they are on a PostgreSQL that is started for the run; with --database on yours, where the
/// benchmark makes databases of its own, named selfsame_bench_..., and drops them at its end, also if it fails or is
/// interrupted. Do not let it run beside what people pay with: it takes all that the server has.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame bench payments
  selfsame bench payments --postgres --seconds 2
  selfsame bench payments --postgres --only writers,servers --rounds 5
  selfsame bench payments --database postgres://bench:...@db.example/postgres --json > bench.json")]
pub struct Payments {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// Keep the sites in a PostgreSQL that is started for the run
    #[arg(long, group = "server")]
    postgres: bool,
    /// Keep the sites in databases of their own at this PostgreSQL server; the role must be allowed to make databases
    #[arg(
        long,
        value_name = "URL",
        group = "server",
        env = "SELFSAME_BENCH_DATABASE",
        hide_env_values = true
    )]
    database: Option<String>,
    /// Writers of payments, with --postgres or --database
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8), requires = "server")]
    writers: u8,
    /// Measure only these parts; can be repeated
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Seed of the order in which loads come
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So small that the figures mean nothing: for tests
    #[arg(long, hide = true)]
    tiny: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Payments {
    pub async fn run(self) -> anyhow::Result<()> {
        let parts = self.parts()?;
        // A line for each request, as on a site: what it costs is the server's.
        start_log_to_file(tempfile::tempfile().context("failed to make a file for the log")?)?;
        let stopped = shutdown_signal(false)?;
        // What was made at the operator's server goes when this is dropped, however it ends.
        let run = tokio::select! {
            run = self.measure(&parts) => run?,
            () = stopped => bail!("interrupted"),
        };
        if self.json {
            output::note(run.report.text());
            output::json(&run.report.document())
        } else {
            output::line(run.report.text())
        }
    }

    fn is_postgres(&self) -> bool {
        self.postgres || self.database.is_some()
    }

    /// The wanted parts, in their order.
    fn parts(&self) -> anyhow::Result<Vec<Part>> {
        let mut parts = self.only.clone();
        parts.sort_unstable();
        parts.dedup();
        if parts.is_empty() {
            parts = <Part as clap::ValueEnum>::value_variants().to_vec();
            parts.retain(|part| self.is_postgres() || part.is_for_sqlite());
        }
        if !self.is_postgres() && parts.iter().any(|part| !part.is_for_sqlite()) {
            bail!(Usage(
                "writers, away, open and servers are measured with --postgres or --database".to_owned()
            ));
        }
        Ok(parts)
    }

    fn extent(&self) -> Extent {
        let Self { seconds, rounds, .. } = *self;
        if self.tiny {
            return Extent { seconds, rounds, in_flight: 16, size: Size::TINY, thinned: 25 };
        }
        let size = if self.is_postgres() { Size::POSTGRES } else { Size::SQLITE };
        Extent { seconds, rounds, in_flight: IN_FLIGHT, size, thinned: 1 }
    }

    async fn measure(&self, parts: &[Part]) -> anyhow::Result<Run> {
        let scale = if self.tiny { 1 } else { baseline::SCALE };
        let server = match &self.database {
            Some(url) => Server::of_operator(url),
            None => Server::throw_away().await,
        };
        let made = match server {
            Ok(server) => Baseline::new(&server, scale).await.map(|baseline| (server, baseline)),
            Err(error) => Err(error),
        };
        let (server, baseline) = match made {
            Ok((server, baseline)) => (Some(server).filter(|_| self.is_postgres()), Some(baseline)),
            Err(error) if self.is_postgres() => return Err(error),
            Err(error) => {
                output::note(format_args!("baseline left out: {error:#}"));
                (None, None)
            }
        };
        let mut run = Run::new(self.extent(), server, self.writers.into(), baseline, self.seed);
        let kept = match (&self.database, self.postgres) {
            (Some(_), _) => "PostgreSQL of the operator",
            (None, true) => "PostgreSQL, throw-away",
            (None, false) => "SQLite",
        };
        run.report.fact("database", kept);
        if self.tiny {
            run.report.fact("tiny", true);
        }
        for part in parts {
            run.measure(*part).await?;
        }
        Ok(run)
    }
}
