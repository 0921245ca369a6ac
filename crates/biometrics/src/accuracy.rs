//! How often the comparison is wrong, with how sure that is (ISO/IEC 19795-1).

use std::ops::Range;

use crate::finger::{Prepared, Score, Template};

/// One impression of one finger, as acquired; `None` if no template could be made of it.
#[derive(Debug)]
pub struct Impression {
    /// Which finger.
    pub finger: String,
    /// Which impression of it; the first by this order stands for the finger among impostors.
    pub impression: String,
    /// Its template.
    pub template: Option<Template>,
}

/// Which pairs of different fingers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impostors {
    /// First impressions across fingers, as in the FVC protocol: few, but nearly independent.
    FirstImpressions,
    /// Every impression with every one of another finger: many, but not independent.
    AllPairs,
}

/// Scores of all comparisons of a protocol.
#[derive(Clone, Debug)]
pub struct Scores {
    /// Two impressions of one finger, ascending.
    pub genuine: Vec<Score>,
    /// Impressions of two fingers, ascending.
    pub impostor: Vec<Score>,
    /// Impressions of which no template could be made; they are in no comparison.
    pub failures_to_acquire: usize,
}

/// Error rates at one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// False match rate: share of impostor comparisons at or above the threshold.
    pub fmr: f64,
    /// False non-match rate: share of genuine comparisons below the threshold.
    pub fnmr: f64,
    /// Lowest threshold with that false match rate.
    pub threshold: Score,
    /// 95 % interval of the false non-match rate (Clopper and Pearson), taking comparisons as independent.
    pub fnmr_interval: (f64, f64),
}

impl Scores {
    /// Compares by protocol: genuine = all pairs of a finger. `progress` is told the number of comparisons done.
    pub fn collect(
        impressions: &[Impression],
        impostors: Impostors,
        mut progress: impl FnMut(usize),
    ) -> Self {
        let mut sorted: Vec<&Impression> = impressions.iter().collect();
        sorted.sort_by(|a, b| (&a.finger, &a.impression).cmp(&(&b.finger, &b.impression)));
        let fingers = ranges(&sorted);
        let (mut genuine, mut impostor, mut done) = (Vec::new(), Vec::new(), 0);
        for (number, finger) in fingers.iter().enumerate() {
            for first in finger.clone() {
                let Some(template) = &sorted[first].template else { continue };
                let prepared = Prepared::new(vec![template.clone()]);
                let mut compare = |other: usize, scores: &mut Vec<Score>| {
                    if let Some(template) = &sorted[other].template {
                        scores.push(prepared.score(template));
                        done += 1;
                    }
                };
                (first + 1..finger.end).for_each(|other| compare(other, &mut genuine));
                let others = &fingers[number + 1..];
                match impostors {
                    Impostors::FirstImpressions if first == finger.start => {
                        others.iter().for_each(|other| compare(other.start, &mut impostor));
                    }
                    Impostors::FirstImpressions => {}
                    Impostors::AllPairs => {
                        others.iter().cloned().flatten().for_each(|other| compare(other, &mut impostor))
                    }
                }
                progress(done);
            }
        }
        genuine.sort_unstable();
        impostor.sort_unstable();
        let failures_to_acquire =
            impressions.iter().filter(|impression| impression.template.is_none()).count();
        Self { genuine, impostor, failures_to_acquire }
    }

    /// Share of genuine comparisons below a threshold.
    pub fn fnmr(&self, threshold: Score) -> f64 {
        share(self.genuine.partition_point(|score| *score < threshold), self.genuine.len())
    }

    /// Share of impostor comparisons at or above a threshold.
    pub fn fmr(&self, threshold: Score) -> f64 {
        let below = self.impostor.partition_point(|score| *score < threshold);
        share(self.impostor.len() - below, self.impostor.len())
    }

    /// Equal error rate: where the two rates meet, the mean of both. `None` without comparisons of both kinds.
    pub fn eer(&self) -> Option<f64> {
        if self.genuine.is_empty() || self.impostor.is_empty() {
            return None;
        }
        let rates = (0..=Score::MAX.0 + 1).map(|value| (self.fmr(Score(value)), self.fnmr(Score(value))));
        let apart = |rates: &(f64, f64)| (rates.0 - rates.1).abs();
        rates.min_by(|a, b| apart(a).total_cmp(&apart(b))).map(|(fmr, fnmr)| (fmr + fnmr) / 2.0)
    }

    /// Error rates at the lowest threshold whose false match rate is at most `fmr_max`.
    pub fn point(&self, fmr_max: f64) -> Point {
        let values = (0..=Score::MAX.0 + 1).map(Score);
        let threshold = values.into_iter().find(|threshold| self.fmr(*threshold) <= fmr_max);
        let threshold = threshold.unwrap_or(Score(Score::MAX.0 + 1));
        let missed = self.genuine.partition_point(|score| *score < threshold);
        Point {
            fmr: self.fmr(threshold),
            fnmr: self.fnmr(threshold),
            threshold,
            fnmr_interval: clopper_pearson(missed, self.genuine.len()),
        }
    }

    /// Lowest false match rate that this many impostor comparisons can support at all: with no error among n, the
    /// rate is below 3/n with 95 % confidence ("rule of three"), if they were independent.
    pub fn fmr_floor(&self) -> f64 {
        if self.impostor.is_empty() { 1.0 } else { (3.0 / self.impostor.len() as f64).min(1.0) }
    }
}

fn share(count: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}

/// Where each finger's impressions lie among sorted ones.
fn ranges(sorted: &[&Impression]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (index, impression) in sorted.iter().enumerate() {
        match ranges.last_mut() {
            Some(last) if sorted[last.start].finger == impression.finger => last.end = index + 1,
            _ => ranges.push(index..index + 1),
        }
    }
    ranges
}

/// 95 % interval for `errors` among `trials` (C. Clopper and E. Pearson, 1934), by halving.
pub fn clopper_pearson(errors: usize, trials: usize) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let solve = |wanted: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0f64, 1.0f64);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if wanted(middle) { low = middle } else { high = middle }
        }
        (low + high) / 2.0
    };
    let lower =
        if errors == 0 { 0.0 } else { solve(&|rate| 1.0 - at_most(errors - 1, trials, rate) < 0.025) };
    let upper = if errors == trials { 1.0 } else { solve(&|rate| at_most(errors, trials, rate) > 0.025) };
    (lower, upper)
}

/// Probability of at most `errors` among `trials` at a rate.
fn at_most(errors: usize, trials: usize, rate: f64) -> f64 {
    if rate <= 0.0 {
        return 1.0;
    }
    if rate >= 1.0 {
        return if errors >= trials { 1.0 } else { 0.0 };
    }
    let (n, odds) = (trials as f64, (rate / (1.0 - rate)).ln());
    let mut log_term = n * (1.0 - rate).ln();
    let mut sum = log_term.exp();
    for k in 0..errors {
        log_term += ((n - k as f64) / (k as f64 + 1.0)).ln() + odds;
        sum += log_term.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finger::extract;
    use crate::synthetic::Master;

    fn scores(genuine: &[u16], impostor: &[u16]) -> Scores {
        let sorted = |values: &[u16]| {
            let mut scores: Vec<Score> = values.iter().copied().map(Score).collect();
            scores.sort_unstable();
            scores
        };
        Scores { genuine: sorted(genuine), impostor: sorted(impostor), failures_to_acquire: 0 }
    }

    #[test]
    fn separate_scores_have_no_errors_and_equal_ones_are_a_coin() {
        assert_eq!(scores(&[50, 60], &[10, 20]).eer(), Some(0.0));
        assert_eq!(scores(&[10, 20], &[10, 20]).eer(), Some(0.5));
        assert_eq!(scores(&[], &[1]).eer(), None);
    }

    #[test]
    fn rates_count_the_threshold_itself_as_a_match() {
        let scores = scores(&[10, 20, 30, 40], &[5, 20]);
        assert_eq!((scores.fnmr(Score(20)), scores.fmr(Score(20))), (0.25, 0.5));
        assert_eq!((scores.fnmr(Score(21)), scores.fmr(Score(21))), (0.5, 0.0));
        let point = scores.point(0.0);
        assert_eq!((point.threshold, point.fnmr), (Score(21), 0.5));
    }

    #[test]
    fn intervals_agree_with_published_ones() {
        // 3 of 3,000: 0.021 to 0.29 %; none of 3,000: below 0.123 % (two-sided 95 %).
        let (low, high) = clopper_pearson(3, 3_000);
        assert!((low - 0.000_206).abs() < 2e-6 && (high - 0.002_92).abs() < 2e-5, "{low} {high}");
        let (low, high) = clopper_pearson(0, 3_000);
        assert!(low.abs() < 1e-12 && (high - 0.001_229).abs() < 2e-6, "{low} {high}");
        assert_eq!(clopper_pearson(0, 0), (0.0, 1.0));
    }

    fn synthetic(fingers: u64, presses: u64) -> Vec<Impression> {
        let impression = |finger: u64, master: &Master, press: u64| Impression {
            finger: finger.to_string(),
            impression: press.to_string(),
            template: extract(&master.press(press)).ok().map(|extracted| extracted.template),
        };
        let of_finger = |finger| {
            let master = Master::grow(finger);
            (0..presses).map(|press| impression(finger, &master, press)).collect::<Vec<_>>()
        };
        (0..fingers).flat_map(of_finger).collect()
    }

    #[test]
    fn synthetic_fingers_are_told_apart() {
        // The whole bar, 50 fingers, is checked by `selfsame evaluate`; these eight keep the tests quick.
        let impressions = synthetic(8, 4);
        let scores = Scores::collect(&impressions, Impostors::AllPairs, |_| {});
        assert_eq!((scores.genuine.len(), scores.impostor.len()), (8 * 6, 28 * 16));
        assert!(scores.eer().unwrap() <= 0.02, "{:?}", scores.eer());
        let few = Scores::collect(&impressions, Impostors::FirstImpressions, |_| {});
        assert_eq!((few.genuine.len(), few.impostor.len()), (8 * 6, 28));
    }

    #[test]
    fn an_impression_without_a_template_is_a_failure_to_acquire() {
        let mut impressions = synthetic(2, 2);
        impressions[1].template = None;
        let scores = Scores::collect(&impressions, Impostors::FirstImpressions, |_| {});
        assert_eq!((scores.genuine.len(), scores.impostor.len(), scores.failures_to_acquire), (1, 1, 1));
    }
}
