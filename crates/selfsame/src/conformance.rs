//! `selfsame conformance`: whether a till takes nothing wrong for a payment code, whatever happens on the way.
//!
//! The bulk of it is the matrix, over the real channels and the till's real decoder with simulated time. A sample of the same
//! ways is charged at a real server: with codes that a simulated terminal hands over, on a test site of its own.

mod channel;
mod matrix;
mod sample;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use selfsame_domain::payment_code::Prefix;
use selfsame_domain::site::Mode;
use serde_json::json;

use crate::conformance::channel::{Channel, Wires};
use crate::conformance::matrix::{Cell, DELAYS_MS, Loss, Random};
use crate::conformance::sample::Sample;
use crate::output;
use crate::process::{LogFormat, start_log};
use crate::till::field::payment_code;

/// Most codes a cell.
const CODES_MAX: u32 = 100_000;

/// Check that a till takes nothing wrong for a payment code, whatever happens on the way
///
/// Sends codes over every channel (keyboard with the layouts us, fr, de and the keypad; serial; TCP; screen), with every
/// pause between characters (2 to 120 ms) and every kind of loss, to the decoder of `selfsame till`, and then charges a
/// sample at a real server of a test site that it makes for itself. Times are simulated, the channels are real.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame conformance
  selfsame conformance --codes 1000 --seed 7 --json > report.json
  selfsame conformance --matrix-only

Exit codes: 0 nothing wrong was accepted and every whole code was read, 1 otherwise, 2 used wrongly.")]
pub struct Conformance {
    /// Codes a cell
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(CODES_MAX)))]
    codes: u32,
    /// Where the random numbers begin; the same number is the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave out the sample that is charged at a real server
    #[arg(long)]
    matrix_only: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Conformance {
    /// Runs everything. `folder` is where the test site is made; else it is made somewhere and removed.
    pub async fn run(self, folder: Option<PathBuf>) -> anyhow::Result<ExitCode> {
        start_log(LogFormat::Text, "error")?;
        let mut random = Random(self.seed);
        let mut wires = Wires::open()?;
        let prefix = Prefix::default_for(Mode::Test);
        let all = Channel::all().len() * DELAYS_MS.len() * Loss::ALL.len();
        let bar = output::progress_bar("cells", all);
        let codes = usize::try_from(self.codes)?;
        let judge = |text: &str, prefix: Prefix| payment_code(text, Some(prefix)).is_ok();
        let cells = matrix::run(prefix, codes, &mut random, judge, &mut wires, || bar.inc(1))?;
        bar.finish_and_clear();
        let sample = if self.matrix_only {
            None
        } else {
            Some(sample::charge(folder, &mut random, &mut wires).await?)
        };
        let is_good = cells.iter().all(Cell::is_good) && sample.as_ref().is_none_or(Sample::is_good);
        if self.json {
            let report = json!({ "good": is_good, "seed": self.seed, "cells": cells, "sample": sample });
            output::json(&report)?;
        } else {
            print(&cells, sample.as_ref(), is_good)?;
        }
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What a cell shows.
fn short(cell: &Cell) -> String {
    let bad = if cell.is_good() { "" } else { "!" };
    match (cell.right, cell.accepted_wrong) {
        (_, wrong @ 1..) => format!("{bad}{wrong} WRONG"),
        (0, _) => format!("{bad}refused"),
        (right, _) if right == cell.codes => format!("{bad}right"),
        (right, _) => format!("{bad}{right}/{}", cell.codes),
    }
}

fn print(cells: &[Cell], sample: Option<&Sample>, is_good: bool) -> anyhow::Result<()> {
    let heads: Vec<String> = Loss::ALL.iter().map(|loss| format!("{:>11}", loss.as_str())).collect();
    output::line(format_args!(
        "{:8} {:8} {:10} {:>6} {}",
        "channel",
        "layout",
        "decode",
        "delay",
        heads.join(" ")
    ))?;
    for row in cells.chunks(Loss::ALL.len()) {
        let Cell { channel, layout, decode, delay_ms, .. } = &row[0];
        let (layout, decode) = (layout.unwrap_or("-"), decode.unwrap_or("-"));
        let shown: Vec<String> = row.iter().map(|cell| format!("{:>11}", short(cell))).collect();
        output::line(format_args!(
            "{channel:8} {layout:8} {decode:10} {delay_ms:>3} ms {}",
            shown.join(" ")
        ))?;
    }
    let sum = |count: fn(&Cell) -> usize| cells.iter().map(count).sum::<usize>();
    output::line(format_args!(
        "matrix: {} codes in {} cells, real channels, simulated time: {} read right, {} refused, {} accepted wrong",
        sum(|cell| cell.codes),
        cells.len(),
        sum(|cell| cell.right),
        sum(|cell| cell.refused),
        sum(|cell| cell.accepted_wrong)
    ))?;
    if let Some(sample) = sample {
        output::line(sample)?;
    }
    output::line(if is_good {
        "GOOD: nothing wrong was accepted"
    } else {
        "NOT GOOD: see the cells with `!` or WRONG"
    })
}
