//! A simulation of the payment core, its queue and its store, with faults, that a seed repeats exactly.
//!
//! An [`Episode`] is a short story in a tiny key space (3 wallets, 5 codes, 4 orders), so that collisions are the
//! rule. Clients send requests, the queue cuts them into batches, and the store fails before the commit, fails after
//! it, loses its epoch to another writer, or meets two batches that were decided from the same state. The clock jumps
//! both ways. Three things watch that share no rule with the decision: [`oracle`], a plain model that foretells every
//! answer; the auditor of `domain`, which checks every row; and the journal of what clients were told.
//!
//! [`journal`] is for the other half, `examples/torture`: the real server as a process, whose clients write down what
//! they were told.
//!
//! A failing episode is cut down to the steps that it needs, and printed with its seed.

pub mod episode;
pub mod journal;
pub mod oracle;
pub mod random;
pub mod store;

pub use episode::{Episode, Failure, Step};

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Episodes played.
    pub episodes: u64,
    /// Requests that were decided; one that is decided again after a failed commit counts again.
    pub operations: u64,
    /// Commits that were made to fail.
    pub faults: u64,
    /// Ledger rows written.
    pub rows: u64,
}

/// Plays episodes from a seed on; stops at the first that fails, cut down to what it needs.
pub fn run(seed: u64, episodes: u64) -> Result<Tally, Box<Failure>> {
    let mut tally = Tally::default();
    for number in 0..episodes {
        let episode = Episode::from_seed(seed.wrapping_add(number));
        match episode.play() {
            Ok(one) => {
                tally.episodes += 1;
                tally.operations += one.operations;
                tally.faults += one.faults;
                tally.rows += one.rows;
            }
            Err(reason) => return Err(Box::new(episode.shrunk(reason))),
        }
    }
    Ok(tally)
}
