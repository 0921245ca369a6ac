//! The short form of the simulation; the long form is `cargo run --release -p selfsame-sim --example simulate`.

mod differential;

use selfsame_sim::oracle::{Oracle, Verdict};
use selfsame_sim::{Episode, Step, run};

/// Episodes of the short form: some seconds unoptimised.
const EPISODES: u64 = 30_000;

#[test]
fn no_episode_breaks_the_core() {
    let tally = run(20_261_125, EPISODES).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(tally.episodes, EPISODES);
    // The story must be rich enough to mean something.
    assert!(tally.operations > 20 * EPISODES && tally.faults > EPISODES / 2 && tally.rows > 5 * EPISODES);
}

#[test]
fn a_seed_is_one_story_for_ever() {
    let (first, again) = (Episode::from_seed(7), Episode::from_seed(7));
    assert_eq!(first.steps, again.steps);
    assert_eq!(first.play(), again.play());
    assert_ne!(first.steps, Episode::from_seed(8).steps);
}

#[test]
fn a_failure_is_cut_down_to_the_steps_that_it_needs() {
    // A model that knows of no money foretells the wrong answer to the first charge; shrinking is tried on a story
    // whose failure does not depend on the core: every step is needed or it is gone.
    let episode = Episode::from_seed(3);
    let failure = episode.shrunk("nothing fails".to_owned());
    assert_eq!(failure.steps, episode.steps);
    assert_eq!(failure.reason, "nothing fails");
}

#[test]
fn the_plain_model_foretells_by_the_documents() {
    use selfsame_sim::episode::Ask;
    let mut oracle = Oracle::default();
    let now = selfsame_sim::store::start();
    let charge = Ask::Charge { code: 0, order: 1, minor: 100, hold: false };
    assert_eq!(oracle.ask(&charge, now), Verdict::Refused("insufficient_funds"));
    assert_eq!(oracle.ask(&Ask::TopUp { reference: 0, payer: 0, minor: 150 }, now), Verdict::Done);
    assert_eq!(oracle.ask(&charge, now), Verdict::Done);
    assert_eq!(oracle.ask(&charge, now), Verdict::Replayed);
    assert_eq!(oracle.ask(&Ask::Reverse { order: 1 }, now), Verdict::Reversed);
    assert_eq!(oracle.ask(&charge, now), Verdict::Refused("order_reversed"));
    assert_eq!(oracle.wallets()[0], (150, 0));
    assert!(matches!(Episode::from_seed(1).steps[0], Step::Send(_)));
}
