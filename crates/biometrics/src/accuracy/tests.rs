use std::sync::OnceLock;

use super::*;
use crate::finger::calibration;

fn scores(genuine: &[u16], impostor: &[u16]) -> Scores {
    let scores = |values: &[u16]| values.iter().copied().map(Score).collect();
    Scores::new(scores(genuine), scores(impostor), 0, 0)
}

const FINGERS: u64 = 14;
const PRESSES: u64 = 4;

/// Fourteen fingers with four presses each, made once for all tests. No calibration was measured on them.
fn synthetic() -> &'static [Impression] {
    static IMPRESSIONS: OnceLock<Vec<Impression>> = OnceLock::new();
    IMPRESSIONS.get_or_init(|| Impression::synthetic(0..FINGERS, 0..PRESSES).collect())
}

fn threshold_at(fmr_ppb: u32) -> Score {
    let strict_enough = calibration().iter().filter(|point| point.fmr_ppb <= fmr_ppb);
    strict_enough.map(|point| point.threshold).min().unwrap()
}

#[test]
fn rates_count_the_threshold_itself_as_a_match() {
    let scores = scores(&[40, 10, 30, 20], &[20, 5]);
    assert_eq!(scores.fnmr(Score(20)), Rate { errors: 1, trials: 4 });
    assert_eq!(scores.fmr(Score(20)), Rate { errors: 1, trials: 2 });
    assert_eq!(scores.fnmr(Score(21)), Rate { errors: 2, trials: 4 });
    assert_eq!(scores.fmr(Score(21)), Rate { errors: 0, trials: 2 });
    assert_eq!(scores.point(0.0), scores.at(Score(21)));
    assert_eq!(scores.point(0.5).threshold, Score(6));
    assert_eq!(scores.point(1.0).threshold, Score(0));
}

#[test]
fn a_threshold_above_every_score_is_found_when_strangers_reach_the_highest() {
    let point = scores(&[10_000], &[10_000]).point(0.0);
    assert_eq!((point.threshold, point.fnmr.errors), (Score(10_001), 1));
}

#[test]
fn the_equal_error_rate_agrees_with_one_counted_by_hand() {
    // At 5, one of four strangers (6) passes and one of four genuine pairs (3) fails.
    assert_eq!(scores(&[3, 5, 7, 9], &[1, 2, 4, 6]).eer(), Some(0.25));
    assert_eq!(scores(&[50, 60], &[10, 20]).eer(), Some(0.0));
    assert_eq!(scores(&[10, 20], &[10, 20]).eer(), Some(0.5));
    assert_eq!(scores(&[10, 20], &[30, 40]).eer(), Some(1.0));
    assert_eq!(scores(&[], &[1]).eer(), None);
    assert_eq!(scores(&[1], &[]).eer(), None);
}

#[test]
fn failures_to_acquire_are_non_matches_at_every_threshold() {
    let scores = Scores::new(vec![Score(50); 9], vec![Score(10); 10], 1, 1);
    assert_eq!(scores.fnmr(Score(0)), Rate { errors: 1, trials: 10 });
    assert_eq!(scores.fnmr(Score(51)), Rate { errors: 10, trials: 10 });
    // No threshold separates the one that failed: 0 of 10 strangers against 1 of 10.
    assert_eq!(scores.eer(), Some(0.05));
}

#[test]
fn intervals_agree_with_published_ones() {
    // Two-sided 95 %, from tables of the exact binomial interval.
    for (errors, trials, low, high) in [
        (3, 3_000, 0.000_206, 0.002_920),
        (0, 3_000, 0.0, 0.001_229),
        (0, 10, 0.0, 0.308_498),
        (1, 10, 0.002_529, 0.445_016),
        (5, 10, 0.187_086, 0.812_914),
        (9, 10, 0.554_984, 0.997_471),
        (10, 10, 0.691_502, 1.0),
        (0, 0, 0.0, 1.0),
    ] {
        let found = Rate { errors, trials }.interval();
        assert!(
            (found.0 - low).abs() < 2e-6 && (found.1 - high).abs() < 2e-6,
            "{errors}/{trials}: {found:?}"
        );
    }
    let (low, high) = Rate { errors: 500_000, trials: 1_000_000 }.interval();
    assert!((low - 0.499_02).abs() < 1e-5 && (high - 0.500_98).abs() < 1e-5, "{low} {high}");
}

#[test]
fn what_was_never_tried_is_not_known_to_be_good() {
    let same = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(same(Rate { errors: 0, trials: 0 }.share(), 1.0));
    assert!(same(scores(&[], &[]).fmr_floor(), 1.0));
    assert!(same(scores(&[], &[0; 300]).fmr_floor(), 0.01));
}

#[test]
fn synthetic_fingers_are_told_apart() {
    let scores = Scores::collect(synthetic(), Impostors::AllPairs, |_| {});
    assert_eq!((scores.genuine().len(), scores.impostor().len()), (14 * 6, 91 * 16));
    assert_eq!(scores.failures_to_acquire(), 0);
    assert!(scores.eer().unwrap() <= 0.02, "{:?}", scores.eer());
}

#[test]
fn genuine_pairs_pass_and_strangers_do_not_at_the_calibrated_thresholds() {
    let scores = Scores::collect(synthetic(), Impostors::AllPairs, |_| {});
    // 1,456 comparisons: none is expected at 1 in 100,000, and about 1 at 1 in 1,000, so 15 would be a broken tail.
    assert_eq!(scores.fmr(threshold_at(10_000)).errors, 0);
    assert!(scores.fmr(threshold_at(1_000_000)).errors <= 15);
    // Single pairs at the rate of ten comparisons, and of 256 candidates with three templates each.
    assert!(scores.fnmr(threshold_at(10_000)).share() <= 0.05);
    assert!(scores.fnmr(threshold_at(130)).share() <= 0.10);
}

#[test]
fn a_press_matches_the_best_of_three_enrolled_ones_among_256_candidates() {
    let template = |impression: &Impression| impression.template.clone().unwrap();
    let mut missed = 0;
    for finger in synthetic().chunks_exact(PRESSES as usize) {
        let probe = Prepared::new(vec![template(&finger[3])]);
        let best = finger[..3].iter().map(|enrolled| probe.score(&template(enrolled))).max().unwrap();
        missed += usize::from(best < threshold_at(130));
    }
    assert_eq!(missed, 0);
}

#[test]
fn first_impressions_stand_for_their_finger_among_impostors() {
    let scores = Scores::collect(synthetic(), Impostors::FirstImpressions, |_| {});
    assert_eq!((scores.genuine().len(), scores.impostor().len()), (14 * 6, 91));
}

#[test]
fn the_order_of_impressions_does_not_matter_and_progress_ends_at_the_total() {
    let forth: Vec<Impression> = Impression::synthetic(3..6, 0..3).collect();
    let back: Vec<Impression> =
        Impression::synthetic(3..6, 0..3).collect::<Vec<_>>().into_iter().rev().collect();
    for impostors in [Impostors::FirstImpressions, Impostors::AllPairs] {
        let mut seen = Vec::new();
        let scores = Scores::collect(&forth, impostors, |progress| seen.push(progress));
        assert!(scores == Scores::collect(&back, impostors, |_| {}));
        assert!(seen.is_sorted_by_key(|progress| progress.done));
        let last = seen.last().unwrap();
        assert_eq!(last.done, last.total);
        assert_eq!(last.total, scores.genuine().len() + scores.impostor().len());
    }
}

#[test]
fn an_impression_without_a_template_is_a_failure_to_acquire() {
    let mut impressions: Vec<Impression> = Impression::synthetic(0..2, 0..2).collect();
    impressions[1].template = Err(Rejection::NoFinger);
    let scores = Scores::collect(&impressions, Impostors::AllPairs, |_| {});
    assert_eq!((scores.genuine().len(), scores.impostor().len(), scores.failures_to_acquire()), (1, 2, 1));
    assert_eq!(scores.fnmr(Score(0)), Rate { errors: 1, trials: 2 });
    assert_eq!(Scores::collect(&[], Impostors::AllPairs, |_| {}), Scores::new(vec![], vec![], 0, 0));
}
