//! Tortures the real server as a process, on a real database file, with real clients over HTTP:
//! `cargo xtask torture` builds it and runs this. See `docs/torture.md` for what each scenario proves.

mod load;
mod scenario;
mod site;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use selfsame_domain::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::scenario::{Scenario, Tally, Torture};
use crate::site::Site;

/// Rounds of the long form, each scenario.
const ROUNDS_LONG: usize = 50;

/// Torture the payment server: kill it, freeze it, take its disk and its clock away, and check every answer
#[derive(Parser)]
struct Torment {
    /// Rounds of each scenario
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
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
        "{:<12} {:>6} {:>9} {:>13} {:>8} {:>8} {:>13} {:>15} {:>5} {:>8} {:>10} {:>11}",
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
            "{:<12} {:>6} {:>9} {:>13} {:>8} {:>8} {:>13} {:>15} {:>5} {:>8} {:>10} {:>11}",
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
        "wrong": tally.wrong(),
    })
}

async fn run(torment: Torment) -> anyhow::Result<bool> {
    let program = torment.program.map_or_else(beside, Ok)?;
    let seed = torment.seed.unwrap_or_else(|| SystemClock.now().as_millis().unsigned_abs());
    let rounds = if torment.long { ROUNDS_LONG } else { torment.rounds.into() };
    let scenarios = if torment.only.is_empty() { Scenario::value_variants() } else { &torment.only };
    eprintln!("seed {seed}, {rounds} rounds of each scenario, `{}`", program.display());
    let started = Instant::now();
    let mut rows: Vec<(Scenario, Tally)> = Vec::new();
    for scenario in scenarios {
        let mut site = Site::new(&program).await?;
        let tally = Torture::new(*scenario, &mut site, seed).run(rounds).await;
        if !tally.as_ref().is_ok_and(|tally| tally.wrong().is_empty()) {
            eprintln!("site, journal and log of this scenario stay in `{}`", site.keep().display());
        }
        rows.push((*scenario, tally.with_context(|| format!("scenario {}", scenario.name()))?));
    }
    let wrong: Vec<String> = rows.iter().flat_map(|(_, tally)| tally.wrong()).collect();
    if torment.json {
        let results: Vec<Value> = rows.iter().map(|(scenario, tally)| document(*scenario, tally)).collect();
        println!("{}", json!({ "seed": seed, "scenarios": results }));
    } else {
        print_table(&rows);
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
