//! The long form: `cargo run --release -p selfsame-sim --example simulate -- [SEED] [EPISODES]`.
//! Prints the seed, so that a failure can be repeated, and how fast it went.

use std::process::ExitCode;
use std::time::Instant;

/// Episodes unless asked for otherwise: a few million requests.
const EPISODES: u64 = 100_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (seed, episodes) = (arguments.next(), arguments.next());
    let (Ok(seed), Ok(episodes)) = (seed.unwrap_or(Ok(1)), episodes.unwrap_or(Ok(EPISODES))) else {
        eprintln!("usage: simulate [SEED] [EPISODES]");
        return ExitCode::from(2);
    };
    println!("seed {seed}, {episodes} episodes");
    let started = Instant::now();
    match selfsame_sim::run(seed, episodes) {
        Ok(tally) => {
            let seconds = started.elapsed().as_secs().max(1);
            println!("{tally:?}");
            println!("{} operations a minute", tally.operations * 60 / seconds);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
