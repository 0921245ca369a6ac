//! Filters that answer to ridges of one direction and period (D. Gabor's wave under a bell, without response to flat
//! grey). Synthetic ridges grow under them, and prints are cleaned by them.

use std::f32::consts::{PI, TAU};

use crate::elementary::{exp, sin_cos};

/// A square filter of `2 * RADIUS + 1` rows, each padded with zeros to `LANES` weights: sums over lanes that do not
/// depend on each other keep the processor's vector units busy, and their order is fixed for ever.
pub(crate) struct Oriented<const RADIUS: usize, const LANES: usize> {
    weights: Vec<[f32; LANES]>,
}

/// The shape of a filter, all in pixels.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Distance from ridge to ridge.
    pub(crate) period_px: f32,
    /// Reach of the bell along the ridge (standard deviation).
    pub(crate) along_px: f32,
    /// Reach of the bell across the ridge (standard deviation).
    pub(crate) across_px: f32,
}

impl<const RADIUS: usize, const LANES: usize> Oriented<RADIUS, LANES> {
    /// The filter for ridges that run in a direction (radians). Its weights sum to zero and their squares to one.
    pub(crate) fn new(direction: f32, shape: Shape) -> Self {
        const { assert!(2 * RADIUS < LANES, "a row must fit its lanes") };
        let side = 2 * RADIUS + 1;
        let (sin, cos) = sin_cos(direction);
        let mut weights = vec![[0.0f32; LANES]; side];
        for (row, weights) in weights.iter_mut().enumerate() {
            for (column, weight) in weights.iter_mut().take(side).enumerate() {
                let (x, y) = (column as f32 - RADIUS as f32, row as f32 - RADIUS as f32);
                let (along, across) = (cos * x + sin * y, -sin * x + cos * y);
                let (far_along, far_across) = (along / shape.along_px, across / shape.across_px);
                let bell = exp(-0.5 * (far_along * far_along + far_across * far_across));
                *weight = bell * sin_cos(TAU * across / shape.period_px).1;
            }
        }
        let used = || weights.iter().flat_map(|row| &row[..side]);
        let mean = used().sum::<f32>() / (side * side) as f32;
        let norm = used().map(|weight| (weight - mean) * (weight - mean)).sum::<f32>().sqrt();
        for weight in weights.iter_mut().flat_map(|row| &mut row[..side]) {
            *weight = (*weight - mean) / norm;
        }
        Self { weights }
    }

    /// Filters of one shape in `count` directions over half a turn, from 0 on.
    pub(crate) fn fan(count: usize, shape: Shape) -> Vec<Self> {
        (0..count).map(|index| Self::new(index as f32 * PI / count as f32, shape)).collect()
    }

    /// Sum of the absolute weights: the answer to the pattern of -1 and 1 that fits best.
    pub(crate) fn gain(&self) -> f32 {
        self.weights.iter().flatten().map(|weight| weight.abs()).sum()
    }

    /// The answer around a pixel of a picture; `start` is the first pixel that the filter covers, `RADIUS` above and
    /// to the left. `LANES` pixels are read of each row, so the picture must go on after the last one needed.
    pub(crate) fn respond(&self, values: &[f32], width: usize, start: usize) -> f32 {
        let mut sums = [0.0f32; LANES];
        for (row, weights) in self.weights.iter().enumerate() {
            let from = start + row * width;
            for ((sum, value), weight) in sums.iter_mut().zip(&values[from..from + LANES]).zip(weights) {
                *sum += value * weight;
            }
        }
        sums.iter().sum()
    }
}

/// The one of `count` directions over half a turn that is nearest to a direction (radians).
pub(crate) fn nearest(direction: f32, count: usize) -> usize {
    let index = (direction / PI * count as f32).round() as i64;
    index.rem_euclid(count as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_answers_to_ridges_in_its_direction_and_not_to_others_or_to_flat_grey() {
        let shape = Shape { period_px: 9.0, along_px: 4.0, across_px: 4.0 };
        let fan = Oriented::<7, 16>::fan(8, shape);
        let stripes = |direction: f32| -> Vec<f32> {
            let (sin, cos) = sin_cos(direction);
            let wave = |index: usize| {
                let (x, y) = ((index % 16) as f32 - 7.0, (index / 16) as f32 - 7.0);
                sin_cos(TAU * (-sin * x + cos * y) / 9.0).1
            };
            (0..16 * 16).map(wave).collect()
        };
        let mine = stripes(nearest(0.4, 8) as f32 * PI / 8.0);
        let answers: Vec<f32> = fan.iter().map(|filter| filter.respond(&mine, 16, 0)).collect();
        let best = (0..8).max_by(|a, b| answers[*a].total_cmp(&answers[*b])).unwrap();
        assert_eq!(best, nearest(0.4, 8));
        assert!(answers[(best + 4) % 8].abs() < 0.1 * answers[best]);
        assert!(fan[0].respond(&[7.0; 256], 16, 0).abs() < 1e-3);
        assert_eq!((nearest(PI, 8), nearest(-0.01, 8)), (0, 0));
    }
}
