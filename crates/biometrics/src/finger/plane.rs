//! Pictures of numbers, at the one resolution that everything behind them works at.

use crate::image::GrayImage;

/// Resolution of all pictures here, in dots per inch: that of most readers and of every figure in pixels.
pub(super) const RESOLUTION_DPI: f32 = 500.0;

/// A picture of numbers, row by row from the top left.
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f32>,
}

/// Width and height of a picture once it is brought to 500 dpi, in pixels, at least 1 each.
pub(super) fn size_at_500_dpi(image: &GrayImage) -> (usize, usize) {
    let side = |pixels: u32| {
        let scaled = u64::from(pixels) * RESOLUTION_DPI as u64 / u64::from(image.resolution_dpi());
        scaled.max(1) as usize
    };
    (side(image.width_px()), side(image.height_px()))
}

impl Plane {
    /// Brings a picture to 500 dpi; dark becomes high (0 to 255), because ridges are dark.
    pub(super) fn of(image: &GrayImage) -> Self {
        let (width, height) = size_at_500_dpi(image);
        let (w, h) = (image.width_px() as usize, image.height_px() as usize);
        let dark: Vec<f32> = image.pixels().iter().map(|pixel| 255.0 - f32::from(*pixel)).collect();
        if (w, h) == (width, height) {
            return Self { width, height, values: dark };
        }
        let scale = f32::from(image.resolution_dpi()) / RESOLUTION_DPI;
        let fine = Self { width: w, height: h, values: dark };
        // Where several pixels fall into one, their mean is taken first, so that no false ridges arise.
        let source = if scale > 1.5 { fine.blur((scale / 2.0) as usize) } else { fine };
        // Where a row of the result lies among the rows of the source: two neighbours and the way between them.
        let between = |place: usize, size: usize| {
            let exact = ((place as f32 + 0.5) * scale - 0.5).clamp(0.0, (size - 1) as f32);
            let before = exact as usize;
            (before, (before + 1).min(size - 1), exact - before as f32)
        };
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            let (above, below, down) = between(y, h);
            for x in 0..width {
                let (left, right, across) = between(x, w);
                let row = |y: usize| {
                    source.values[y * w + left] * (1.0 - across) + source.values[y * w + right] * across
                };
                values.push(row(above) * (1.0 - down) + row(below) * down);
            }
        }
        Self { width, height, values }
    }

    /// Puts two pictures of one size together, pixel by pixel.
    pub(super) fn zip(&self, other: &Plane, combine: impl Fn(f32, f32) -> f32) -> Plane {
        let values = self.values.iter().zip(&other.values).map(|(a, b)| combine(*a, *b)).collect();
        Plane { width: self.width, height: self.height, values }
    }

    /// Weights 1, 2, 1 in both directions: drops the noise of single pixels.
    pub(super) fn soften(&self) -> Plane {
        let (w, h) = (self.width, self.height);
        let mut rows = Vec::with_capacity(w * h);
        for row in self.values.chunks_exact(w) {
            let at = |x: usize| (row[x.saturating_sub(1)] + 2.0 * row[x] + row[(x + 1).min(w - 1)]) * 0.25;
            rows.extend((0..w).map(at));
        }
        let mut values = Vec::with_capacity(w * h);
        for y in 0..h {
            let line = |y: usize| &rows[y * w..(y + 1) * w];
            let (above, here, below) = (line(y.saturating_sub(1)), line(y), line((y + 1).min(h - 1)));
            values.extend(above.iter().zip(here).zip(below).map(|((a, b), c)| (a + 2.0 * b + c) * 0.25));
        }
        Plane { width: w, height: h, values }
    }

    /// Mean over a square window of `2 * radius + 1`; at the border over what is there. Running sums: the cost does
    /// not depend on the radius.
    pub(super) fn blur(&self, radius: usize) -> Plane {
        let (w, h) = (self.width, self.height);
        let window =
            |place: usize, size: usize| (place.saturating_sub(radius), (place + radius + 1).min(size));
        // Sums of the rows of the window in each column. In 64 bits, so that adding and taking away leaves no traces.
        let mut columns = vec![0.0f64; w];
        let mut sums = vec![0.0f64; w + 1];
        let mut values = Vec::with_capacity(w * h);
        let line = |y: usize| &self.values[y * w..(y + 1) * w];
        let (mut first, mut end) = (0, 0);
        for y in 0..h {
            let (from, to) = window(y, h);
            for row in end..to {
                columns.iter_mut().zip(line(row)).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            for row in first..from {
                columns.iter_mut().zip(line(row)).for_each(|(sum, value)| *sum -= f64::from(*value));
            }
            (first, end) = (from, to);
            let mut sum = 0.0;
            for (total, column) in sums[1..].iter_mut().zip(&columns) {
                sum += column;
                *total = sum;
            }
            let rows = (to - from) as f64;
            values.extend((0..w).map(|x| {
                let (left, right) = window(x, w);
                ((sums[right] - sums[left]) / (rows * (right - left) as f64)) as f32
            }));
        }
        Plane { width: w, height: h, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_is_the_mean_of_its_window_up_to_the_border() {
        let values: Vec<f32> = (0..7 * 5).map(|index| ((index * 37) % 11) as f32).collect();
        let plane = Plane { width: 7, height: 5, values };
        for radius in [0, 1, 2, 9] {
            let blurred = plane.blur(radius);
            for y in 0..5usize {
                for x in 0..7usize {
                    let near = |index: &usize| {
                        (index % 7).abs_diff(x) <= radius && (index / 7).abs_diff(y) <= radius
                    };
                    let window: Vec<f32> = (0..35).filter(near).map(|index| plane.values[index]).collect();
                    let mean = window.iter().sum::<f32>() / window.len() as f32;
                    assert!((blurred.values[y * 7 + x] - mean).abs() < 1e-4, "{radius} {x} {y}");
                }
            }
        }
    }

    #[test]
    fn resolutions_are_brought_to_500_dpi() {
        let image = |dpi| GrayImage::new(40, 20, dpi, vec![55; 800]).unwrap();
        for (dpi, width, height) in [(500, 40, 20), (250, 80, 40), (1000, 20, 10), (333, 60, 30)] {
            let plane = Plane::of(&image(dpi));
            assert_eq!((plane.width, plane.height), (width, height));
            assert!(plane.values.iter().all(|value| (value - 200.0).abs() < 1e-3));
        }
    }
}
