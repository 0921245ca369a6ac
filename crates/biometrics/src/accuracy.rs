//! How often the comparison is wrong, with how sure that is (ISO/IEC 19795-1).
//!
//! The evaluation command reads pictures or draws synthetic ones, makes an [`Impression`] of each, has them compared
//! by [`Scores::collect`], and prints the rates. Files, words and progress bars are its own.

use std::ops::Range;

use crate::finger::{Prepared, Rejection, Template, extract};
use crate::image::GrayImage;
use crate::score::Score;
use crate::synthetic;

/// One impression of one finger, as acquired.
#[derive(Debug)]
pub struct Impression {
    /// Which finger.
    pub finger: String,
    /// Which impression of it; the first in the order of these names stands for the finger among impostors.
    pub impression: String,
    /// Its template, or why there is none: a failure to acquire.
    pub template: Result<Template, Rejection>,
}

impl Impression {
    /// Makes the template of a picture.
    pub fn acquire(finger: String, impression: String, image: &GrayImage) -> Self {
        let template = extract(image).map(|extracted| extracted.template);
        Self { finger, impression, template }
    }

    /// Impressions of synthetic fingers, made one at a time as they are asked for (about 50 ms each).
    pub fn synthetic(fingers: Range<u64>, presses: Range<u64>) -> impl Iterator<Item = Self> {
        synthetic::presses(fingers, presses)
            .map(|press| Self::acquire(press.finger.to_string(), press.press.to_string(), &press.image))
    }
}

/// Which pairs of different fingers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impostors {
    /// First impressions across fingers, as in the FVC protocol: few, but nearly independent.
    FirstImpressions,
    /// Every impression with every one of another finger: many, but not independent.
    AllPairs,
}

/// How far a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Pairs that are done, with those that could not be compared.
    pub done: usize,
    /// Pairs of the protocol.
    pub total: usize,
}

/// Scores of all comparisons of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scores {
    genuine: Vec<Score>,
    impostor: Vec<Score>,
    genuine_failed: usize,
    failures_to_acquire: usize,
}

/// A rate as counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How often it went wrong.
    pub errors: usize,
    /// How often it was tried.
    pub trials: usize,
}

impl Rate {
    /// Errors per trial, 0 to 1. Without a trial nothing is known, which counts as 1: the worst.
    pub fn share(self) -> f64 {
        if self.trials == 0 { 1.0 } else { self.errors as f64 / self.trials as f64 }
    }

    /// 95 % interval (C. Clopper and E. Pearson, 1934), which takes trials as independent. Comparisons that share a
    /// finger are not: the true interval is wider.
    pub fn interval(self) -> (f64, f64) {
        clopper_pearson(self.errors, self.trials)
    }
}

/// Error rates at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Scores from here on match. One above [`Score::MAX`] if even that is no match.
    pub threshold: Score,
    /// False match rate: impostor comparisons at or above the threshold.
    pub fmr: Rate,
    /// False non-match rate: genuine comparisons below the threshold, with those that failed to acquire.
    pub fnmr: Rate,
}

impl Scores {
    /// Takes scores in any order. `genuine_failed`: genuine pairs of which a template was missing; they count as not
    /// matched. `failures_to_acquire`: impressions of which no template could be made.
    pub fn new(
        mut genuine: Vec<Score>,
        mut impostor: Vec<Score>,
        genuine_failed: usize,
        failures_to_acquire: usize,
    ) -> Self {
        genuine.sort_unstable();
        impostor.sort_unstable();
        Self { genuine, impostor, genuine_failed, failures_to_acquire }
    }

    /// Compares by protocol: genuine are all pairs of a finger, impostors as told. The order of the impressions does
    /// not matter. `progress` is called after each impression.
    pub fn collect(
        impressions: &[Impression],
        impostors: Impostors,
        mut progress: impl FnMut(Progress),
    ) -> Self {
        let mut sorted: Vec<&Impression> = impressions.iter().collect();
        sorted.sort_by(|a, b| (&a.finger, &a.impression).cmp(&(&b.finger, &b.impression)));
        let fingers = ranges(&sorted);
        let total = fingers.iter().enumerate().map(|(number, finger)| {
            let others = partners(&fingers, number, finger.start, impostors).count();
            let rest = partners(&fingers, number, finger.end, impostors).count();
            finger.len() * (finger.len() - 1) / 2 + others + (finger.len() - 1) * rest
        });
        let (total, mut done) = (total.sum(), 0);
        let (mut genuine, mut impostor, mut genuine_failed) = (Vec::new(), Vec::new(), 0);
        for (number, finger) in fingers.iter().enumerate() {
            for first in finger.clone() {
                let prepared = sorted[first].template.as_ref().ok();
                let prepared = prepared.map(|template| Prepared::new(vec![template.clone()]));
                let compare = |other: usize| {
                    let template = sorted[other].template.as_ref().ok()?;
                    prepared.as_ref().map(|prepared| prepared.score(template))
                };
                let mates = (first + 1..finger.end).map(compare);
                let before = genuine.len();
                genuine.extend(mates.flatten());
                let mates = finger.end - first - 1;
                genuine_failed += mates - (genuine.len() - before);
                let others = partners(&fingers, number, first, impostors);
                done += mates;
                impostor.extend(others.inspect(|_| done += 1).filter_map(compare));
                progress(Progress { done, total });
            }
        }
        let failed = impressions.iter().filter(|impression| impression.template.is_err()).count();
        Self::new(genuine, impostor, genuine_failed, failed)
    }

    /// Scores of two impressions of one finger, ascending.
    pub fn genuine(&self) -> &[Score] {
        &self.genuine
    }

    /// Scores of impressions of two fingers, ascending.
    pub fn impostor(&self) -> &[Score] {
        &self.impostor
    }

    /// Impressions of which no template could be made.
    pub fn failures_to_acquire(&self) -> usize {
        self.failures_to_acquire
    }

    /// False non-matches at a threshold: genuine comparisons below it, and those that failed to acquire.
    pub fn fnmr(&self, threshold: Score) -> Rate {
        let below = self.genuine.partition_point(|score| *score < threshold);
        Rate { errors: below + self.genuine_failed, trials: self.genuine.len() + self.genuine_failed }
    }

    /// False matches at a threshold: impostor comparisons at or above it.
    pub fn fmr(&self, threshold: Score) -> Rate {
        let below = self.impostor.partition_point(|score| *score < threshold);
        Rate { errors: self.impostor.len() - below, trials: self.impostor.len() }
    }

    /// Both rates at a threshold.
    pub fn at(&self, threshold: Score) -> Point {
        Point { threshold, fmr: self.fmr(threshold), fnmr: self.fnmr(threshold) }
    }

    /// Equal error rate, 0 to 1: where the two rates come nearest, the mean of both. `None` without comparisons of
    /// both kinds.
    pub fn eer(&self) -> Option<f64> {
        if self.fnmr(Score(0)).trials == 0 || self.impostor.is_empty() {
            return None;
        }
        let rates = thresholds().map(|value| (self.fmr(value).share(), self.fnmr(value).share()));
        let apart = |rates: &(f64, f64)| (rates.0 - rates.1).abs();
        rates.min_by(|a, b| apart(a).total_cmp(&apart(b))).map(|(fmr, fnmr)| (fmr + fnmr) / 2.0)
    }

    /// Error rates at the lowest threshold whose false match rate is at most `fmr_max` (0 to 1). Below
    /// [`Scores::fmr_floor`] the data say nothing about it.
    pub fn point(&self, fmr_max: f64) -> Point {
        let allowed = thresholds().find(|threshold| self.fmr(*threshold).share() <= fmr_max);
        self.at(allowed.unwrap_or(Score(Score::MAX.0 + 1)))
    }

    /// Lowest false match rate that this many impostor comparisons can support at all: with no error among n, the
    /// rate is below 3/n with 95 % confidence ("rule of three"), if they were independent.
    pub fn fmr_floor(&self) -> f64 {
        if self.impostor.is_empty() { 1.0 } else { (3.0 / self.impostor.len() as f64).min(1.0) }
    }
}

/// All thresholds, from where everything matches to where nothing does.
fn thresholds() -> impl Iterator<Item = Score> {
    (0..=Score::MAX.0 + 1).map(Score)
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

/// The impressions of later fingers that an impression of finger `number` is compared with.
fn partners(
    fingers: &[Range<usize>],
    number: usize,
    impression: usize,
    impostors: Impostors,
) -> impl Iterator<Item = usize> {
    let is_first = impression == fingers[number].start;
    let wanted = move |other: &Range<usize>| match impostors {
        Impostors::FirstImpressions if is_first => other.start..other.start + 1,
        Impostors::FirstImpressions => 0..0,
        Impostors::AllPairs => other.clone(),
    };
    fingers[number + 1..].iter().flat_map(wanted)
}

/// 95 % interval for `errors` among `trials`, by halving. All of 0 to 1 without trials.
fn clopper_pearson(errors: usize, trials: usize) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    if errors > trials / 2 {
        // Fewer terms from the other side.
        let (low, high) = clopper_pearson(trials - errors, trials);
        return (1.0 - high, 1.0 - low);
    }
    let solve = |below: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0f64, 1.0f64);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if below(middle) { low = middle } else { high = middle }
        }
        (low + high) / 2.0
    };
    let at_least = |rate: f64| 1.0 - at_most(errors - 1, trials, rate);
    let lower = if errors == 0 { 0.0 } else { solve(&|rate| at_least(rate) < 0.025) };
    (lower, solve(&|rate| at_most(errors, trials, rate) > 0.025))
}

/// Probability of at most `errors` among `trials` at a rate. Term by term in logarithms, so that nothing underflows.
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
mod tests;
