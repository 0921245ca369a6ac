//! `selfsame bench`: how many payments a second this machine takes and what a verification by face costs, as ratios to
//! something known that is measured in the same minute; and what a till waits for at the terminal.

mod baseline;
mod beside;
mod client;
mod face;
mod load;
mod payments;
mod plot;
mod postgres;
mod queue;
mod rival;
mod servers;
mod statistics;
mod terminal;
mod till;
mod world;

use clap::{Args, Subcommand};

/// Measure how fast this machine pays and verifies
#[derive(Args, Debug)]
pub struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Payments(payments::Payments),
    Face(face::Face),
    Terminal(terminal::Terminal),
    Till(till::Till),
    Queue(queue::Queue),
}

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
