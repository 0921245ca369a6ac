//! From picture to ridges: contrast, contact area, ridge flow, and oriented filters that bring the ridges out.

use std::f32::consts::PI;

use super::contact::{contact, distances};
use super::plane::{Plane, size_at_500_dpi};
use super::{COHERENCE_MIN, CONTACT_PX_MIN, PICTURE_PX_MAX, Rejection};
use crate::elementary::{atan2, sin_cos};
use crate::image::GrayImage;
use crate::oriented::{Oriented, Shape, nearest};

/// Half the window over which contrast is evened out, in pixels: a ridge and a valley on each side.
const CONTRAST_RADIUS: usize = 12;

/// Half the window of the ridge flow, in pixels, on the picture itself.
const FLOW_RADIUS: usize = 9;

/// By how much the flow that tells contact from dirt is smoothed further.
const FLOW_RADIUS_COARSE: usize = 15;

/// Half the window of the ridge flow once ridges are smoothed along themselves: less is needed.
const FLOW_RADIUS_FINE: usize = 7;

/// How far ridges are smoothed along themselves, in pixels each way: closes pores, and leaves minutiae alone.
const ALONG_PX: i32 = 6;

/// Directions in which ridges are filtered.
const DIRECTIONS: usize = 32;

/// Half the side of the filter, in pixels.
const FILTER_RADIUS: usize = 8;

/// Reach of the filter along and across the ridge, in pixels (standard deviations).
const FILTER_REACH_PX: (f32, f32) = (4.5, 3.6);

/// Ridge periods that are tried, in pixels at 500 dpi. Fingers of grown people have 8 to 11, small ones from 6.
const PERIODS_PX: [f32; 4] = [6.8, 8.2, 9.8, 11.6];

/// Side of the cells in which one period is taken, in pixels: it changes slowly over a finger.
const CELL_PX: usize = 6;

/// Cells each way over which the strength of a period is averaged.
const CELL_RADIUS: usize = 5;

/// A filter that cleans ridges; its rows of 17 are padded to 20.
type Cleaning = Oriented<FILTER_RADIUS, 20>;

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

impl Ridges {
    /// Finds the ridges of a picture, or says why there are none to be used.
    pub(super) fn find(image: &GrayImage) -> Result<Self, Rejection> {
        let (width, height) = size_at_500_dpi(image);
        if width * height > PICTURE_PX_MAX {
            return Err(Rejection::TooLarge);
        }
        if width <= 4 * FILTER_RADIUS || height <= 4 * FILTER_RADIUS {
            return Err(Rejection::PartialContact);
        }
        let plane = Plane::of(image);
        let centred = plane.zip(&plane.blur(CONTRAST_RADIUS), |value, mean| value - mean);
        let variance = centred.zip(&centred, |a, b| a * b).blur(CONTRAST_RADIUS);
        let even = centred.zip(&variance, |value, variance| value / (variance.max(0.0).sqrt() + 4.0));
        let soft = even.soften().soften();
        let flow = Flow::of(&soft, FLOW_RADIUS);
        let (mask, contact_px) = contact(&variance, &flow.blur(FLOW_RADIUS_COARSE).clearness());
        if contact_px < CONTACT_PX_MIN / 4 {
            return Err(Rejection::NoFinger);
        }
        if contact_px < CONTACT_PX_MIN {
            return Err(Rejection::PartialContact);
        }
        let coherence = mean_inside(&flow.clearness(), &mask, contact_px);
        if coherence < COHERENCE_MIN {
            return Err(Rejection::Unclear);
        }
        let fine = Flow::of(&along(&soft, &flow.direction(&mask), &mask), FLOW_RADIUS_FINE);
        let direction = fine.direction(&mask);
        let inside = distances(&mask, width, height);
        let response = enhance(even, &direction, &inside);
        let clearness = fine.clearness().values;
        Ok(Self {
            width,
            height,
            direction: direction.values,
            clearness,
            inside,
            response,
            contact_px,
            coherence,
        })
    }
}

fn mean_inside(plane: &Plane, mask: &[bool], inside_px: usize) -> f32 {
    let inside = plane.values.iter().zip(mask).filter(|(_, inside)| **inside);
    inside.map(|(value, _)| *value).sum::<f32>() / inside_px.max(1) as f32
}

/// The ridge flow as a smoothed structure tensor: the cosine and sine of twice the gradient's angle, weighted by its
/// square, and their sum.
struct Flow {
    cos: Plane,
    sin: Plane,
    sum: Plane,
}

impl Flow {
    fn of(plane: &Plane, radius: usize) -> Self {
        let (w, h) = (plane.width, plane.height);
        let (mut cos, mut sin, mut sum) = (vec![0.0; w * h], vec![0.0; w * h], vec![0.0; w * h]);
        for y in 1..h.saturating_sub(1) {
            let [above, here, below] = [y - 1, y, y + 1].map(|y| &plane.values[y * w..(y + 1) * w]);
            for x in 1..w.saturating_sub(1) {
                // I. Sobel's gradient.
                let right = above[x + 1] + 2.0 * here[x + 1] + below[x + 1];
                let left = above[x - 1] + 2.0 * here[x - 1] + below[x - 1];
                let lower = below[x - 1] + 2.0 * below[x] + below[x + 1];
                let upper = above[x - 1] + 2.0 * above[x] + above[x + 1];
                let (gx, gy) = (right - left, lower - upper);
                let index = y * w + x;
                (cos[index], sin[index], sum[index]) = (gx * gx - gy * gy, 2.0 * gx * gy, gx * gx + gy * gy);
            }
        }
        let plane = |values| Plane { width: w, height: h, values };
        // Twice a box is nearly a bell.
        Self { cos: plane(cos), sin: plane(sin), sum: plane(sum) }.blur(radius).blur(radius)
    }

    fn blur(&self, radius: usize) -> Self {
        Self { cos: self.cos.blur(radius), sin: self.sin.blur(radius), sum: self.sum.blur(radius) }
    }

    /// Direction of the ridges inside a mask, radians in 0..PI; 0 outside.
    fn direction(&self, mask: &[bool]) -> Plane {
        let directions = self.cos.values.iter().zip(&self.sin.values).zip(mask);
        // The gradient stands across the ridge.
        let direction = |((cos, sin), inside): ((&f32, &f32), &bool)| {
            if *inside { (0.5 * atan2(*sin, *cos) + PI / 2.0).rem_euclid(PI) } else { 0.0 }
        };
        Plane { width: self.cos.width, height: self.cos.height, values: directions.map(direction).collect() }
    }

    /// How much the gradients around each pixel agree, 0 to 1.
    fn clearness(&self) -> Plane {
        let length = self.cos.zip(&self.sin, |cos, sin| (cos * cos + sin * sin).sqrt());
        // Below one grey step there is nothing to agree on.
        length.zip(&self.sum, |length, sum| if sum > 1e-3 { (length / sum).min(1.0) } else { 0.0 })
    }
}

/// Mean along the ridge: closes pores and small breaks, so that the flow shows also in dry prints.
fn along(plane: &Plane, direction: &Plane, mask: &[bool]) -> Plane {
    let (w, h) = (plane.width as i32, plane.height as i32);
    let mut values = plane.values.clone();
    for y in ALONG_PX..h - ALONG_PX {
        for x in ALONG_PX..w - ALONG_PX {
            let index = (y * w + x) as usize;
            if !mask[index] {
                continue;
            }
            let (sin, cos) = sin_cos(direction.values[index]);
            let at = |step: i32| {
                let (dx, dy) = ((step as f32 * cos).round() as i32, (step as f32 * sin).round() as i32);
                plane.values[((y + dy) * w + x + dx) as usize]
            };
            values[index] = (-ALONG_PX..=ALONG_PX).map(at).sum::<f32>() / (2 * ALONG_PX + 1) as f32;
        }
    }
    Plane { width: plane.width, height: plane.height, values }
}

/// Filters the ridges along their flow, at the period that answers best around each place. Nothing (-1) outside.
fn enhance(even: Plane, direction: &Plane, inside: &[u16]) -> Vec<f32> {
    let (w, h) = (even.width, even.height);
    let mut padded = even.values;
    // The filter's rows are padded: the last one reads a little further than the picture.
    padded.resize(padded.len() + 4, 0.0);
    let (along_px, across_px) = FILTER_REACH_PX;
    let fans =
        PERIODS_PX.map(|period_px| Cleaning::fan(DIRECTIONS, Shape { period_px, along_px, across_px }));
    let answer = |period: usize, x: usize, y: usize| {
        let reachable =
            x >= FILTER_RADIUS && y >= FILTER_RADIUS && x + FILTER_RADIUS < w && y + FILTER_RADIUS < h;
        let index = y * w + x;
        (reachable && inside[index] > 0).then(|| {
            let filter = &fans[period][nearest(direction.values[index], DIRECTIONS)];
            filter.respond(&padded, w, (y - FILTER_RADIUS) * w + x - FILTER_RADIUS)
        })
    };
    let (columns, rows) = (w.div_ceil(CELL_PX), h.div_ceil(CELL_PX));
    let strengths: [Plane; PERIODS_PX.len()] = std::array::from_fn(|period| {
        let cell = |index: usize| {
            let answer = answer(period, index % columns * CELL_PX, index / columns * CELL_PX);
            answer.map_or(0.0, |answer| answer * answer)
        };
        let values = (0..columns * rows).map(cell).collect();
        Plane { width: columns, height: rows, values }.blur(CELL_RADIUS)
    });
    let strength = |period: usize, cell: usize| strengths[period].values[cell];
    let best = |cell: usize| {
        let periods = 0..PERIODS_PX.len();
        periods.max_by(|a, b| strength(*a, cell).total_cmp(&strength(*b, cell))).unwrap_or(0)
    };
    let periods: Vec<usize> = (0..columns * rows).map(best).collect();
    let mut response = Vec::with_capacity(w * h);
    for y in 0..h {
        let cells = &periods[y / CELL_PX * columns..];
        response.extend((0..w).map(|x| answer(cells[x / CELL_PX], x, y).unwrap_or(-1.0)));
    }
    response
}
