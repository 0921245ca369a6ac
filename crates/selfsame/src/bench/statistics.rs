//! Figures of what was measured, with how sure they are.

use serde::Serialize;

/// How often a 95 % interval is wrong, on either side.
const TAIL: f64 = 0.025;

/// A quantile that was measured, with the 95 % interval of the true one. An end that so few values cannot bound is
/// absent: of twenty values, nothing says how large the 99th percentile may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantile {
    /// The smallest value that so many of the values do not exceed.
    pub value: f64,
    /// Where the interval begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Where it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
}

/// Values in order.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Of values in any order.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }

    /// The largest.
    pub fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// Standard deviation by mean; 0 of fewer than two values.
    #[cfg(test)]
    pub fn variation(&self) -> f64 {
        let (mean, count) = (self.mean(), self.0.len());
        if count < 2 {
            return 0.0;
        }
        let squares = self.0.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        (squares / (count - 1) as f64).sqrt() / mean
    }

    /// The quantile `share` (0 to 1). Its interval is that of the order statistics, which supposes nothing of how the
    /// values are distributed: the number of values below the true quantile is binomial.
    pub fn quantile(&self, share: f64) -> Option<Quantile> {
        let count = self.0.len();
        let place = ((count as f64 * share).ceil() as usize).clamp(1, count.max(1)) - 1;
        let value = *self.0.get(place)?;
        // By logarithms: the chance that none of many values lies below is too small for a number otherwise.
        let (mut below, mut log_chance) = (0.0, count as f64 * (1.0 - share).ln());
        let (mut from, mut to) = (None, None);
        for successes in 0..=count {
            // `below` is the chance that fewer than `successes` values lie under the true quantile.
            if below <= TAIL && successes >= 1 {
                from = self.0.get(successes - 1).copied();
            }
            if to.is_none() && below >= 1.0 - TAIL {
                to = self.0.get(successes.saturating_sub(1)).copied();
            }
            below += log_chance.exp();
            log_chance +=
                ((count - successes) as f64 / (successes + 1) as f64).ln() + share.ln() - (1.0 - share).ln();
        }
        Some(Quantile { value, from, to })
    }

    /// The one in the middle, with its interval.
    pub fn median(&self) -> Option<Quantile> {
        self.quantile(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(count: u32) -> Sample {
        Sample::new((1..=count).rev().map(f64::from))
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sample = to(200);
        let values = [0.5, 0.95, 0.99].map(|share| sample.quantile(share).unwrap().value as u64);
        assert_eq!(values, [100, 190, 198]);
        assert!(Sample::new([]).quantile(0.5).is_none());
    }

    #[test]
    fn the_interval_of_the_median_is_that_of_the_tables() {
        // Order statistics for the median of 10 and of 20: second to ninth, sixth to fifteenth.
        for (count, from, to_) in [(10, 2.0, 9.0), (20, 6.0, 15.0)] {
            let median = to(count).median().unwrap();
            assert_eq!((median.from, median.to), (Some(from), Some(to_)), "of {count}");
        }
    }

    #[test]
    fn too_few_values_leave_an_end_of_the_interval_open() {
        let median = to(5).median().unwrap();
        assert_eq!((median.from, median.to), (None, None));
        let high = to(20).quantile(0.95).unwrap();
        assert!(high.from.is_some() && high.to.is_none());
    }

    #[test]
    fn intervals_of_many_values_are_around_what_was_measured() {
        let sample = to(2_000);
        for share in [0.5, 0.95, 0.99] {
            let quantile = sample.quantile(share).unwrap();
            let (from, to) = (quantile.from.unwrap(), quantile.to.unwrap());
            assert!(from < quantile.value && quantile.value < to, "{quantile:?}");
            // Two standard deviations of the binomial on either side.
            let deviation = (2_000.0 * share * (1.0 - share)).sqrt();
            assert!((to - from - 3.92 * deviation).abs() < 4.0, "{quantile:?}");
        }
    }

    #[test]
    fn an_interval_holds_the_true_value_nineteen_times_of_twenty() {
        // A simple generator with a fixed seed: the same samples each time.
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let held = (0..2_000).filter(|_| {
            let median = Sample::new((0..15).map(|_| next())).median().unwrap();
            median.from.is_some_and(|from| from <= 0.5) && median.to.is_some_and(|to| to >= 0.5)
        });
        let held = held.count();
        assert!((1_880..=1_980).contains(&held), "{held} of 2000");
    }
}
