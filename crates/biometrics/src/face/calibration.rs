//! From impostor scores to thresholds by false match rate.

use std::ops::Range;

use super::Prepared;
use super::accuracy::Sample;
use crate::accuracy::Rate;
use crate::score::{CalibrationPoint, Score};

/// How thresholds are found.
///
/// A rate counts as measured where at least [`ERRORS_MIN`] comparisons of different people lie above its threshold.
/// Below that the tail above the strictest measured rate is taken as exponential with the mean excess found there -
/// the generalised Pareto tail with shape 0, which is heavier than that of scores that look normal or are bounded - and
/// followed for at most two decades. People are drawn anew [`Self::resamples`] times, since a person's comparisons
/// are not independent, and the threshold that suffices in 95 % of the draws is taken.
#[derive(Clone, Copy, Debug)]
pub struct CalibrationMethod {
    /// Draws of people. 200 or more.
    pub resamples: u32,
    /// Seed of the draws, so that the table can be made again.
    pub seed: u64,
}

impl CalibrationMethod {
    /// As the shipped tables were made.
    pub const SHIPPED: CalibrationMethod = CalibrationMethod { resamples: 400, seed: 1 };
}

/// Comparisons above a threshold for its rate to count as measured ("rule of 30", Doddington 2000: within 30 % at 90 %
/// confidence).
pub const ERRORS_MIN: f64 = 30.0;

/// How far below measured rates thresholds are extrapolated: two decades.
const EXTRAPOLATION: f64 = 100.0;

/// Tail that is looked at: this part of all comparisons.
const TAIL: f64 = 0.02;

/// Rates of a calibration, in parts per billion.
const RATES_PPB: [u32; 13] = [
    10_000_000, 3_000_000, 1_000_000, 300_000, 100_000, 60_000, 30_000, 10_000, 6_000, 3_000, 2_000, 1_000,
    600,
];

/// A comparison of two people in the tail.
struct Pair {
    score: f64,
    persons: (usize, usize),
}

/// Impostor comparisons with the people they are of.
struct Tail {
    /// By falling score.
    pairs: Vec<Pair>,
    photos: Vec<f64>,
}

impl Tail {
    fn of(samples: &[Sample], persons: &[Range<usize>], chosen: &[usize]) -> Self {
        let mut pairs = Vec::new();
        let found = |person: usize| samples[persons[person].clone()].iter().filter_map(|s| s.found.as_ref());
        for (number, first) in chosen.iter().enumerate() {
            for sample in found(*first) {
                let prepared = Prepared::new(vec![sample.template.clone()]);
                for (other, second) in chosen.iter().enumerate().skip(number + 1) {
                    let score = |other: &super::accuracy::Found| f64::from(prepared.score(&other.template).0);
                    pairs.extend(
                        found(*second).map(|other_sample| Pair {
                            score: score(other_sample),
                            persons: (number, other),
                        }),
                    );
                }
            }
        }
        pairs.sort_by(|a, b| b.score.total_cmp(&a.score));
        pairs.truncate((pairs.len() as f64 * TAIL) as usize);
        Self { pairs, photos: chosen.iter().map(|person| found(*person).count() as f64).collect() }
    }

    /// Number of comparisons when each person counts so often.
    fn total(&self, weights: &[f64]) -> f64 {
        let photos = || self.photos.iter().zip(weights).map(|(photos, weight)| photos * weight);
        let (sum, squares) = (photos().sum::<f64>(), photos().map(|count| count * count).sum::<f64>());
        (sum * sum - squares) / 2.0
    }

    /// Thresholds for `rates`, which fall; the first `measured` of them by counting. `None` if there is no tail.
    fn thresholds(&self, weights: &[f64], rates: &[f64], measured: usize) -> Option<Vec<f64>> {
        let total = self.total(weights);
        let weight = |pair: &Pair| weights[pair.persons.0] * weights[pair.persons.1];
        let quantile = |rate: f64| {
            let mut above = 0.0;
            let beyond = self.pairs.iter().find(|pair| {
                above += weight(pair);
                above > rate * total
            });
            // The next score up: the one found must itself be refused.
            beyond.map(|pair| pair.score + 1.0)
        };
        let mut thresholds =
            rates[..measured].iter().map(|rate| quantile(*rate)).collect::<Option<Vec<_>>>()?;
        // The mean excess is taken where ten times as many comparisons lie as at the strictest measured rate.
        let base = rates[measured - 1] * 10.0;
        let from = quantile(base)?;
        let (mut sum, mut count) = (0.0, 0.0);
        for pair in self.pairs.iter().take_while(|pair| pair.score >= from) {
            sum += (pair.score - from) * weight(pair);
            count += weight(pair);
        }
        let scale = sum / count;
        let last = thresholds[measured - 1];
        let extrapolated = |rate: &f64| {
            let fitted = from + scale * (base / rate).ln();
            fitted.max(last + scale * (rates[measured - 1] / rate).ln())
        };
        thresholds.extend(rates[measured..].iter().map(extrapolated));
        Some(thresholds)
    }
}

/// Thresholds by false match rate from the impostor comparisons of samples. Empty if there are too few for any rate.
/// Samples are sorted by [`super::accuracy::sort`], which gives `persons`.
pub fn calibrate(
    samples: &[Sample],
    persons: &[Range<usize>],
    method: CalibrationMethod,
) -> Vec<CalibrationPoint> {
    let chosen: Vec<usize> = (0..persons.len()).collect();
    calibrate_on(samples, persons, &chosen, method)
}

fn calibrate_on(
    samples: &[Sample],
    persons: &[Range<usize>],
    chosen: &[usize],
    method: CalibrationMethod,
) -> Vec<CalibrationPoint> {
    let tail = Tail::of(samples, persons, chosen);
    let total = tail.total(&vec![1.0; chosen.len()]);
    let floor = ERRORS_MIN / total;
    let all = RATES_PPB.map(|ppb| f64::from(ppb) / 1e9);
    let measured = all.iter().filter(|rate| **rate >= floor).count();
    let rates: Vec<f64> = all.into_iter().filter(|rate| *rate * EXTRAPOLATION >= floor).collect();
    if measured == 0 {
        return Vec::new();
    }
    let mut state = method.seed;
    let mut draws = Vec::new();
    for _ in 0..method.resamples {
        let mut weights = vec![0.0; chosen.len()];
        for _ in 0..chosen.len() {
            weights[draw(&mut state, chosen.len())] += 1.0;
        }
        draws.extend(tail.thresholds(&weights, &rates, measured));
    }
    let mut points: Vec<CalibrationPoint> = Vec::new();
    for (index, rate) in rates.iter().enumerate() {
        let mut values: Vec<f64> = draws.iter().map(|draw| draw[index]).collect();
        values.sort_by(f64::total_cmp);
        let Some(value) = values.get(values.len() * 95 / 100) else { break };
        let rounded = (value / 10.0).ceil() * 10.0;
        if rounded > f64::from(Score::MAX.0) {
            break;
        }
        points.push(CalibrationPoint {
            fmr_ppb: (rate * 1e9).round() as u32,
            threshold: Score(rounded as u16),
        });
    }
    points
}

/// SplitMix64 (Steele, Lea, Flood 2014): a draw among `count`.
fn draw(state: &mut u64, count: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^= value >> 31;
    ((u128::from(value) * count as u128) >> 64) as usize
}

/// Cross-validation over persons: the people are dealt into `folds` groups; each group's impostor comparisons among
/// themselves are counted against the thresholds that the other groups give. One entry for each rate that all folds
/// could measure or extrapolate, strictest last. `progress` is told how many groups are done.
pub fn held_out(
    samples: &[Sample],
    persons: &[Range<usize>],
    folds: usize,
    method: CalibrationMethod,
    progress: impl Fn(usize),
) -> Vec<(u32, Rate)> {
    let mut rates: Vec<(u32, Rate)> = Vec::new();
    for fold in 0..folds {
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..persons.len()).partition(|person| person % folds == fold);
        let points = calibrate_on(samples, persons, &outside, method);
        let tail = Tail::of(samples, persons, &inside);
        let trials = tail.total(&vec![1.0; inside.len()]) as usize;
        if fold == 0 {
            rates = points.iter().map(|point| (point.fmr_ppb, Rate { errors: 0, trials: 0 })).collect();
        }
        rates.retain(|(ppb, _)| points.iter().any(|point| point.fmr_ppb == *ppb));
        for (ppb, rate) in &mut rates {
            let Some(point) = points.iter().find(|point| point.fmr_ppb == *ppb) else { continue };
            let above = tail.pairs.iter().filter(|pair| pair.score >= f64::from(point.threshold.0));
            rate.errors += above.count();
            rate.trials += trials;
        }
        progress(fold + 1);
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::super::accuracy::{sort, tests::crowd};
    use super::*;

    const METHOD: CalibrationMethod = CalibrationMethod { resamples: 60, seed: 1 };

    #[test]
    fn thresholds_rise_as_rates_fall_and_stop_after_two_decades() {
        let mut samples = crowd(150, 2, 0.6);
        let persons = sort(&mut samples);
        let points = calibrate(&samples, &persons, METHOD);
        // 44,700 comparisons: 30 of them are 6.7e-4, two decades below is 6.7e-6.
        assert_eq!(points.first().map(|point| point.fmr_ppb), Some(10_000_000));
        assert_eq!(points.last().map(|point| point.fmr_ppb), Some(10_000));
        assert!(points.windows(2).all(|pair| pair[0].threshold < pair[1].threshold), "{points:?}");
        let again = calibrate(&samples, &persons, METHOD);
        let values = |points: &[CalibrationPoint]| {
            points.iter().map(|point| (point.fmr_ppb, point.threshold)).collect::<Vec<_>>()
        };
        assert_eq!(values(&points), values(&again));
    }

    #[test]
    fn rates_hold_on_people_left_out() {
        let mut samples = crowd(240, 2, 0.6);
        let persons = sort(&mut samples);
        let rates = held_out(&samples, &persons, 3, METHOD, |_| {});
        assert!(rates.len() >= 4);
        for (ppb, rate) in rates {
            assert!(rate.share() <= f64::from(ppb) / 1e9 * 1.5 + 2e-4, "{ppb} {rate:?}");
        }
    }

    #[test]
    fn too_few_people_give_no_calibration() {
        let mut samples = crowd(5, 2, 0.6);
        let persons = sort(&mut samples);
        assert!(calibrate(&samples, &persons, METHOD).is_empty());
        assert!(calibrate(&[], &[], METHOD).is_empty());
    }
}
