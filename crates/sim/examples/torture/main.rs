//! Tortures the real server as a process, on a real database file, with real clients over HTTP:
//! `cargo xtask torture` builds it and runs this. See `docs/torture.md` for what each scenario proves.

mod database;
mod load;
mod outage;
mod scenario;
mod site;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use selfsame_cluster::Options;
use selfsame_domain::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::database::Cluster;
use crate::scenario::{Scenario, Tally, Torture};
use crate::site::Site;

/// Rounds of the long form, each scenario.
const ROUNDS_LONG: usize = 50;

/// Rounds of the long form for scenarios that take much longer than a kill: a new standby, or a minute without database.
const ROUNDS_LONG_OF_OUTAGES: usize = 10;

/// How long the database is away: in the long form as long as a machine needs to start anew, else enough for every
/// client to be refused several times.
const ABSENCE_LONG: Duration = Duration::from_secs(60);
const ABSENCE: Duration = Duration::from_secs(4);

/// Connections that the database gives in a storm: enough for a server and for the check beside it, and no more.
const CONNECTIONS_IN_STORM: &str = "30";

/// Torture the payment server: kill it, freeze it, take its disk and its clock away, and check every answer
#[derive(Parser)]
struct Torment {
    /// Rounds of each scenario
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// On PostgreSQL: throw-away clusters are killed, promoted and cut off
    #[arg(long)]
    postgres: bool,
    /// The long form: 50 rounds of each scenario
    #[arg(long, conflicts_with = "rounds")]
    long: bool,
    /// Only this scenario; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Scenario>,
    /// Which requests are sent and when the fault strikes; printed, so that a run can be repeated as far as threads and
    /// disks allow
    #[arg(long)]
    seed: Option<u64>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// The executable [default: the one that was built beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

fn beside() -> anyhow::Result<PathBuf> {
    let examples = std::env::current_exe().context("this program has no path")?;
    let built = examples.ancestors().nth(2).context("cargo builds into folders")?;
    Ok(built.join("selfsame"))
}

fn print_table(rows: &[(Scenario, Tally)]) {
    println!(
        "{:<14} {:>6} {:>9} {:>13} {:>8} {:>8} {:>13} {:>15} {:>5} {:>8} {:>10} {:>11}",
        "scenario",
        "rounds",
        "requests",
        "acknowledged",
        "refused",
        "unknown",
        "then done",
        "then not done",
        "lost",
        "doubled",
        "overdrawn",
        "unbalanced"
    );
    for (scenario, tally) in rows {
        let found = &tally.findings;
        println!(
            "{:<14} {:>6} {:>9} {:>13} {:>8} {:>8} {:>13} {:>15} {:>5} {:>8} {:>10} {:>11}",
            scenario.name(),
            tally.rounds,
            found.requests,
            found.acknowledged,
            found.refused,
            found.unknown,
            found.unknown_done,
            found.unknown_absent,
            found.lost.len() + found.refused_but_done.len(),
            found.doubled.len(),
            found.overdrawn.len(),
            tally.unbalanced.len()
        );
    }
}

/// How long it took from the end of each fault to the next good answer.
fn print_times(rows: &[(Scenario, Tally)]) {
    for (scenario, tally) in rows {
        let mut times = tally.recoveries.clone();
        times.sort();
        let (Some(middle), Some(longest)) = (times.get(times.len() / 2), times.last()) else { continue };
        println!(
            "{:<14} good again after {} ms in the middle, {} ms at the longest, of {}",
            scenario.name(),
            middle.as_millis(),
            longest.as_millis(),
            times.len()
        );
        if tally.lost_as_expected > 0 {
            println!("{:<14} {} lost, as expected", scenario.name(), tally.lost_as_expected);
        }
    }
}

/// What a scenario runs on.
async fn database(scenario: Scenario) -> anyhow::Result<Cluster> {
    let options = match scenario {
        Scenario::Storm => Options::default().setting("max_connections", CONNECTIONS_IN_STORM),
        _ => Options::default(),
    };
    Cluster::start(options).await
}

fn document(scenario: Scenario, tally: &Tally) -> Value {
    let found = &tally.findings;
    json!({
        "scenario": scenario.name(),
        "rounds": tally.rounds,
        "requests": found.requests,
        "acknowledged": found.acknowledged,
        "refused": found.refused,
        "unknown": found.unknown,
        "unknown_done": found.unknown_done,
        "unknown_absent": found.unknown_absent,
        "lost": found.lost.len(),
        "refused_but_done": found.refused_but_done.len(),
        "doubled": found.doubled.len(),
        "overdrawn": found.overdrawn.len(),
        "unbalanced": tally.unbalanced.len(),
        "lost_as_expected": tally.lost_as_expected,
        "recoveries_ms": tally.recoveries.iter().map(Duration::as_millis).collect::<Vec<_>>(),
        "wrong": tally.wrong(),
    })
}

async fn run(torment: Torment) -> anyhow::Result<bool> {
    let program = torment.program.map_or_else(beside, Ok)?;
    let seed = torment.seed.unwrap_or_else(|| SystemClock.now().as_millis().unsigned_abs());
    let absence = if torment.long { ABSENCE_LONG } else { ABSENCE };
    let scenarios =
        if torment.only.is_empty() { Scenario::all(torment.postgres).collect() } else { torment.only };
    if let Some(other) = scenarios.iter().find(|scenario| !scenario.is_on(torment.postgres)) {
        anyhow::bail!(
            "`{}` is for {} only",
            other.name(),
            if torment.postgres { "SQLite" } else { "--postgres" }
        );
    }
    eprintln!("seed {seed}, `{}`", program.display());
    let started = Instant::now();
    let mut rows: Vec<(Scenario, Tally)> = Vec::new();
    for scenario in scenarios {
        let rounds = match scenario {
            _ if !torment.long => torment.rounds.into(),
            Scenario::Kill | Scenario::KillDatabase => ROUNDS_LONG,
            _ if torment.postgres => ROUNDS_LONG_OF_OUTAGES,
            _ => ROUNDS_LONG,
        };
        let database = if torment.postgres { Some(database(scenario).await?) } else { None };
        let mut site = Site::new(&program, database).await?;
        let tally = Torture::new(scenario, &mut site, seed, absence).run(rounds).await;
        if !tally.as_ref().is_ok_and(|tally| tally.wrong().is_empty()) {
            eprintln!("site, journal and log of this scenario stay in `{}`", site.keep().display());
        }
        rows.push((scenario, tally.with_context(|| format!("scenario {}", scenario.name()))?));
    }
    let wrong: Vec<String> = rows.iter().flat_map(|(_, tally)| tally.wrong()).collect();
    if torment.json {
        let results: Vec<Value> = rows.iter().map(|(scenario, tally)| document(*scenario, tally)).collect();
        println!("{}", json!({ "seed": seed, "scenarios": results }));
    } else {
        print_table(&rows);
        print_times(&rows);
    }
    eprintln!("seed {seed}, {} s", started.elapsed().as_secs());
    for text in &wrong {
        eprintln!("WRONG: {text}");
    }
    Ok(wrong.is_empty())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Torment::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
