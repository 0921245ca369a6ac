//! From picture to ridges: resolution, contact area, ridge flow, and oriented filters that bring the ridges out.

use std::f32::consts::{PI, TAU};

use super::{COHERENCE_MIN, CONTACT_PX_MIN, Rejection};
use crate::image::GrayImage;

/// Everything inside works at this resolution, in dots per inch.
const RESOLUTION_DPI: f32 = 500.0;

/// Half the window over which contrast is evened out, in pixels: a ridge and a valley on each side.
const CONTRAST_RADIUS: usize = 12;

/// Half the window of the ridge flow, in pixels.
const FLOW_RADIUS: usize = 9;

/// Directions in which ridges are filtered.
const DIRECTIONS: usize = 32;

/// Half the side of the filter, in pixels.
const FILTER_RADIUS: usize = 8;

/// Ridge periods that are tried, in pixels at 500 dpi. Fingers of grown people have 8 to 11, small ones from 6.
const PERIODS_PX: [f32; 4] = [6.8, 8.2, 9.8, 11.6];

/// The ridges of a print at 500 dpi.
pub(super) struct Ridges {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Direction of the ridge at each pixel, radians in 0..PI.
    pub(super) direction: Vec<f32>,
    /// Clearness of the direction, 0 to 1.
    pub(super) clearness: Vec<f32>,
    /// Distance to the border of the contact area in pixels, counted in steps; 0 outside.
    pub(super) inside: Vec<u16>,
    /// Filtered ridges: above zero on a ridge.
    pub(super) response: Vec<f32>,
    /// Size of the contact area.
    pub(super) contact_px: usize,
    /// Mean clearness of the direction over the contact area.
    pub(super) coherence: f32,
}

/// A picture of numbers.
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Plane {
    fn map(&self, other: &Plane, combine: impl Fn(f32, f32) -> f32) -> Plane {
        let values = self.values.iter().zip(&other.values).map(|(a, b)| combine(*a, *b)).collect();
        Plane { width: self.width, height: self.height, values }
    }

    /// Mean over a square window; at the border over what is there. Running sums: the same cost for any radius.
    fn blur(&self, radius: usize) -> Plane {
        let across = blur_rows(&self.values, self.width, radius);
        let turned = transpose(&across, self.width);
        let down = blur_rows(&turned, self.height, radius);
        Plane { width: self.width, height: self.height, values: transpose(&down, self.height) }
    }
}

fn transpose(values: &[f32], width: usize) -> Vec<f32> {
    let height = values.len() / width;
    let mut turned = Vec::with_capacity(values.len());
    for x in 0..width {
        turned.extend((0..height).map(|y| values[y * width + x]));
    }
    turned
}

fn blur_rows(values: &[f32], width: usize, radius: usize) -> Vec<f32> {
    let mut blurred = Vec::with_capacity(values.len());
    let mut sums = vec![0.0f64; width + 1];
    for row in values.chunks_exact(width) {
        for (x, value) in row.iter().enumerate() {
            sums[x + 1] = sums[x] + f64::from(*value);
        }
        blurred.extend((0..width).map(|x| {
            let (from, to) = (x.saturating_sub(radius), (x + radius + 1).min(width));
            ((sums[to] - sums[from]) / (to - from) as f64) as f32
        }));
    }
    blurred
}

/// Brings a picture to 500 dpi; dark becomes high, because ridges are dark.
fn normalised(image: &GrayImage) -> Plane {
    let (w, h) = (image.width_px() as usize, image.height_px() as usize);
    let pixels = image.pixels();
    let scale = f32::from(image.resolution_dpi()) / RESOLUTION_DPI;
    if (scale - 1.0).abs() < 0.01 {
        let values = pixels.iter().map(|pixel| 255.0 - f32::from(*pixel)).collect();
        return Plane { width: w, height: h, values };
    }
    let (width, height) = (((w as f32 / scale) as usize).max(1), ((h as f32 / scale) as usize).max(1));
    let mut values = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let (sx, sy) =
                (((x as f32 + 0.5) * scale - 0.5).max(0.0), ((y as f32 + 0.5) * scale - 0.5).max(0.0));
            let (x0, y0) = ((sx as usize).min(w - 1), (sy as usize).min(h - 1));
            let (x1, y1) = ((x0 + 1).min(w - 1), (y0 + 1).min(h - 1));
            let (fx, fy) = (sx - x0 as f32, sy - y0 as f32);
            let at = |x: usize, y: usize| f32::from(pixels[y * w + x]);
            let top = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
            let bottom = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
            values.push(255.0 - (top * (1.0 - fy) + bottom * fy));
        }
    }
    Plane { width, height, values }
}

/// Direction and clearness of the ridge flow by the structure tensor.
fn flow(plane: &Plane) -> (Plane, Plane) {
    let (w, h) = (plane.width, plane.height);
    let mut xx = vec![0.0; w * h];
    let mut yy = vec![0.0; w * h];
    let mut xy = vec![0.0; w * h];
    for y in 1..h.saturating_sub(1) {
        for x in 1..w.saturating_sub(1) {
            let at = |dx: usize, dy: usize| plane.values[(y + dy - 1) * w + x + dx - 1];
            let gx = at(2, 0) + 2.0 * at(2, 1) + at(2, 2) - at(0, 0) - 2.0 * at(0, 1) - at(0, 2);
            let gy = at(0, 2) + 2.0 * at(1, 2) + at(2, 2) - at(0, 0) - 2.0 * at(1, 0) - at(2, 0);
            let index = y * w + x;
            (xx[index], yy[index], xy[index]) = (gx * gx, gy * gy, gx * gy);
        }
    }
    // Twice a box is nearly a bell.
    let smooth = |values| Plane { width: w, height: h, values }.blur(FLOW_RADIUS).blur(FLOW_RADIUS);
    let (xx, yy, xy) = (smooth(xx), smooth(yy), smooth(xy));
    let mut direction = Vec::with_capacity(w * h);
    let mut clearness = Vec::with_capacity(w * h);
    for index in 0..w * h {
        let (difference, mixed) = (xx.values[index] - yy.values[index], 2.0 * xy.values[index]);
        let sum = xx.values[index] + yy.values[index];
        // The gradient stands across the ridge.
        direction.push((0.5 * mixed.atan2(difference) + PI / 2.0).rem_euclid(PI));
        let length = (difference * difference + mixed * mixed).sqrt();
        clearness.push(if sum > 1.0 { length / sum } else { 0.0 });
    }
    (Plane { width: w, height: h, values: direction }, Plane { width: w, height: h, values: clearness })
}

/// Steps to the border of the contact area, by a two-pass chamfer.
fn distances(mask: &[bool], w: usize, h: usize) -> Vec<u16> {
    let mut distance: Vec<u16> = mask.iter().map(|inside| if *inside { u16::MAX - 1 } else { 0 }).collect();
    for y in 0..h {
        for x in 0..w {
            let index = y * w + x;
            let left = if x > 0 { distance[index - 1] } else { 0 };
            let above = if y > 0 { distance[index - w] } else { 0 };
            distance[index] = distance[index].min(left.min(above).saturating_add(1));
        }
    }
    for y in (0..h).rev() {
        for x in (0..w).rev() {
            let index = y * w + x;
            let right = if x + 1 < w { distance[index + 1] } else { 0 };
            let below = if y + 1 < h { distance[index + w] } else { 0 };
            distance[index] = distance[index].min(right.min(below).saturating_add(1));
        }
    }
    distance
}

/// The largest connected part of a mask, with its size.
fn largest_part(mask: &[bool], w: usize) -> (Vec<bool>, usize) {
    let mut label = vec![0u32; mask.len()];
    let mut best = (0u32, 0usize);
    let mut labels = 0;
    let mut stack = Vec::new();
    for start in 0..mask.len() {
        if !mask[start] || label[start] != 0 {
            continue;
        }
        labels += 1;
        let mut size = 0;
        label[start] = labels;
        stack.push(start);
        while let Some(index) = stack.pop() {
            size += 1;
            let x = index % w;
            let neighbours = [
                (x > 0).then(|| index - 1),
                (x + 1 < w).then_some(index + 1),
                index.checked_sub(w),
                (index + w < mask.len()).then_some(index + w),
            ];
            for next in neighbours.into_iter().flatten() {
                if mask[next] && label[next] == 0 {
                    label[next] = labels;
                    stack.push(next);
                }
            }
        }
        if size > best.1 {
            best = (labels, size);
        }
    }
    (label.iter().map(|label| best.0 != 0 && *label == best.0).collect(), best.1)
}

/// A wave across the ridge under a bell, without response to flat grey.
fn filter(direction: f32, period_px: f32) -> Vec<f32> {
    let radius = FILTER_RADIUS as i32;
    let (sin, cos) = direction.sin_cos();
    let (along_sigma, across_sigma) = (4.5f32, 3.6f32);
    let mut weights = Vec::with_capacity((2 * FILTER_RADIUS + 1).pow(2));
    for dy in -radius..=radius {
        for dx in -radius..=radius {
            let (x, y) = (dx as f32, dy as f32);
            let (along, across) = (cos * x + sin * y, -sin * x + cos * y);
            let bell = -0.5 * ((along / along_sigma).powi(2) + (across / across_sigma).powi(2));
            weights.push(bell.exp() * (TAU * across / period_px).cos());
        }
    }
    let mean = weights.iter().sum::<f32>() / weights.len() as f32;
    weights.iter_mut().for_each(|weight| *weight -= mean);
    let norm = weights.iter().map(|weight| weight * weight).sum::<f32>().sqrt();
    weights.iter_mut().for_each(|weight| *weight /= norm);
    weights
}

/// Answers of one pixel's surroundings to a filter; `start` is their first pixel.
fn respond(values: &[f32], width: usize, start: usize, weights: &[f32]) -> f32 {
    let side = 2 * FILTER_RADIUS + 1;
    let mut sum = 0.0;
    for (row, weights) in weights.chunks_exact(side).enumerate() {
        let from = start + row * width;
        sum +=
            values[from..from + side].iter().zip(weights).map(|(value, weight)| value * weight).sum::<f32>();
    }
    sum
}

impl Ridges {
    /// Finds the ridges of a picture, or says why there are none to be used.
    pub(super) fn find(image: &GrayImage) -> Result<Self, Rejection> {
        let plane = normalised(image);
        let (width, height) = (plane.width, plane.height);
        if width <= 4 * FILTER_RADIUS || height <= 4 * FILTER_RADIUS {
            return Err(Rejection::PartialContact);
        }
        let mean = plane.blur(CONTRAST_RADIUS);
        let centred = plane.map(&mean, |value, mean| value - mean);
        let variance = centred.map(&centred, |a, b| a * b).blur(CONTRAST_RADIUS);
        let even = centred.map(&variance, |value, variance| value / (variance.sqrt() + 4.0));
        let (direction, clearness) = flow(&even);
        let (mask, contact_px) = contact(&variance, &clearness);
        if contact_px < CONTACT_PX_MIN / 4 {
            return Err(Rejection::NoFinger);
        }
        if contact_px < CONTACT_PX_MIN {
            return Err(Rejection::PartialContact);
        }
        let clear =
            mask.iter().zip(&clearness.values).filter(|(inside, _)| **inside).map(|(_, clear)| *clear);
        let coherence = clear.sum::<f32>() / contact_px as f32;
        if coherence < COHERENCE_MIN {
            return Err(Rejection::Unclear);
        }
        let inside = distances(&mask, width, height);
        let response = enhance(&even, &direction, &inside);
        Ok(Self {
            width,
            height,
            direction: direction.values,
            clearness: clearness.values,
            inside,
            response,
            contact_px,
            coherence,
        })
    }
}

/// The contact area: enough contrast, a flow, and in one piece.
fn contact(variance: &Plane, clearness: &Plane) -> (Vec<bool>, usize) {
    let strongest = {
        // The contrast of a good part of this print, against which the rest is judged.
        let mut sample: Vec<f32> = variance.values.iter().step_by(7).copied().collect();
        sample.sort_by(f32::total_cmp);
        sample.get(sample.len() * 9 / 10).copied().unwrap_or(0.0)
    };
    let least = (strongest * 0.12).max(60.0);
    let values: Vec<f32> = variance
        .values
        .iter()
        .zip(&clearness.values)
        .map(|(variance, clear)| if *variance > least && *clear > 0.25 { 1.0 } else { 0.0 })
        .collect();
    // Majority over a window closes small holes and drops specks.
    let smooth = Plane { width: variance.width, height: variance.height, values }.blur(8);
    let mask: Vec<bool> = smooth.values.iter().map(|share| *share > 0.5).collect();
    largest_part(&mask, variance.width)
}

/// Filters the ridges along their flow, at the period that answers best around each place.
fn enhance(even: &Plane, direction: &Plane, inside: &[u16]) -> Vec<f32> {
    let (w, h) = (even.width, even.height);
    let bank: Vec<Vec<Vec<f32>>> = PERIODS_PX
        .iter()
        .map(|period| {
            (0..DIRECTIONS).map(|index| filter(index as f32 * PI / DIRECTIONS as f32, *period)).collect()
        })
        .collect();
    let index_of = |radians: f32| (radians / PI * DIRECTIONS as f32).round() as usize % DIRECTIONS;
    let reachable = |x: usize, y: usize| {
        x >= FILTER_RADIUS && y >= FILTER_RADIUS && x + FILTER_RADIUS < w && y + FILTER_RADIUS < h
    };
    let start = |x: usize, y: usize| (y - FILTER_RADIUS) * w + x - FILTER_RADIUS;
    // Strength of each period on a coarse grid, smoothed: the period changes slowly over a finger.
    const STEP: usize = 6;
    let (columns, rows) = (w.div_ceil(STEP), h.div_ceil(STEP));
    let strengths: Vec<Plane> = bank
        .iter()
        .map(|filters| {
            let mut values = vec![0.0; columns * rows];
            for (row, y) in (0..h).step_by(STEP).enumerate() {
                for (column, x) in (0..w).step_by(STEP).enumerate() {
                    if inside[y * w + x] > 0 && reachable(x, y) {
                        let filter = &filters[index_of(direction.values[y * w + x])];
                        values[row * columns + column] =
                            respond(&even.values, w, start(x, y), filter).powi(2);
                    }
                }
            }
            Plane { width: columns, height: rows, values }.blur(5)
        })
        .collect();
    let mut response = vec![-1.0; w * h];
    for y in 0..h {
        for x in 0..w {
            let index = y * w + x;
            if inside[index] == 0 || !reachable(x, y) {
                continue;
            }
            let cell = (y / STEP) * columns + x / STEP;
            let strength = |period: &usize| strengths[*period].values[cell];
            let best = (0..bank.len()).max_by(|a, b| strength(a).total_cmp(&strength(b))).unwrap_or(1);
            response[index] =
                respond(&even.values, w, start(x, y), &bank[best][index_of(direction.values[index])]);
        }
    }
    response
}
