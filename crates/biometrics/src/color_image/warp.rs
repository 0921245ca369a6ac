//! Pictures seen through an affine map: cutting, turning and scaling in one step.

use super::ColorImage;

/// A map from the new picture into the old one, in pixel coordinates where the centre of the first pixel is (0, 0):
/// `old_x = xx * x + xy * y + x0`, `old_y = yx * x + yy * y + y0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Change of the old column with the new column.
    pub xx: f32,
    /// Change of the old column with the new row.
    pub xy: f32,
    /// Old column of the first pixel.
    pub x0: f32,
    /// Change of the old row with the new column.
    pub yx: f32,
    /// Change of the old row with the new row.
    pub yy: f32,
    /// Old row of the first pixel.
    pub y0: f32,
}

/// What lies outside of the old picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Black.
    Black,
    /// The nearest pixel inside.
    Nearest,
}

impl Affine {
    /// The map that scales a rectangle (left, top, width, height, where the first pixel spans 0 to 1) to a new size,
    /// as image libraries define it: the edges of both coincide.
    pub fn scale(rectangle: [f32; 4], width_px: u32, height_px: u32) -> Self {
        let [left, top, width, height] = rectangle;
        let (xx, yy) = (width / width_px as f32, height / height_px as f32);
        Self { xx, xy: 0.0, x0: left + (xx - 1.0) / 2.0, yx: 0.0, yy, y0: top + (yy - 1.0) / 2.0 }
    }

    /// Where a place of the new picture lies in the old one.
    pub(crate) fn apply(&self, x: f32, y: f32) -> (f32, f32) {
        (self.xx * x + self.xy * y + self.x0, self.yx * x + self.yy * y + self.y0)
    }

    /// How many old pixels one step in the new picture spans: the larger of both directions.
    fn step(&self) -> f32 {
        self.xx.hypot(self.yx).max(self.xy.hypot(self.yy))
    }
}

/// Most samples a side that are averaged for one new pixel: enough for faces four times as large as the networks'.
const SAMPLES_MAX: f32 = 4.0;

impl ColorImage {
    /// The new picture by bilinear interpolation, one sample a pixel, as the networks were trained with
    /// (`INTER_LINEAR` of OpenCV). Sides are 1 to 4,096.
    pub fn warp(&self, map: &Affine, width_px: u32, height_px: u32, border: Border) -> ColorImage {
        self.sample(map, width_px, height_px, border, 1)
    }

    /// The same, but where the old picture is much finer, several samples are averaged: no false detail, less noise.
    pub fn warp_smooth(&self, map: &Affine, width_px: u32, height_px: u32, border: Border) -> ColorImage {
        let samples = map.step().clamp(1.0, SAMPLES_MAX) as u32;
        self.sample(map, width_px, height_px, border, samples)
    }

    fn sample(
        &self,
        map: &Affine,
        width_px: u32,
        height_px: u32,
        border: Border,
        samples: u32,
    ) -> ColorImage {
        let mut pixels = Vec::with_capacity(width_px as usize * height_px as usize * 3);
        let share = 1.0 / (samples * samples) as f32;
        for y in 0..height_px {
            for x in 0..width_px {
                let mut sum = [0.0f32; 3];
                for part in 0..samples * samples {
                    let inside = |part: u32| (part as f32 + 0.5) / samples as f32 - 0.5;
                    let (old_x, old_y) =
                        map.apply(x as f32 + inside(part % samples), y as f32 + inside(part / samples));
                    let color = self.bilinear(old_x, old_y, border);
                    sum = std::array::from_fn(|channel| sum[channel] + color[channel]);
                }
                pixels.extend(sum.map(|value| (value * share + 0.5) as u8));
            }
        }
        ColorImage { width_px, height_px, pixels }
    }

    fn bilinear(&self, x: f32, y: f32, border: Border) -> [f32; 3] {
        let (floor_x, floor_y) = (x.floor(), y.floor());
        let (right, bottom) = (x - floor_x, y - floor_y);
        let (left, top) = (floor_x as i64, floor_y as i64);
        let (width, height) = (i64::from(self.width_px), i64::from(self.height_px));
        if left >= 0 && top >= 0 && left + 1 < width && top + 1 < height {
            // Nearly always: two neighbours in two rows.
            let at = (top * width + left) as usize * 3;
            let (upper, lower) = (&self.pixels[at..at + 6], &self.pixels[at + width as usize * 3..][..6]);
            return std::array::from_fn(|channel| {
                let row = |row: &[u8]| {
                    let (a, b) = (f32::from(row[channel]), f32::from(row[channel + 3]));
                    a + (b - a) * right
                };
                let (upper, lower) = (row(upper), row(lower));
                upper + (lower - upper) * bottom
            });
        }
        let corners = [
            (self.color(left, top, border), (1.0 - right) * (1.0 - bottom)),
            (self.color(left + 1, top, border), right * (1.0 - bottom)),
            (self.color(left, top + 1, border), (1.0 - right) * bottom),
            (self.color(left + 1, top + 1, border), right * bottom),
        ];
        std::array::from_fn(|channel| {
            corners.iter().map(|(color, weight)| f32::from(color[channel]) * weight).sum()
        })
    }

    fn color(&self, x: i64, y: i64, border: Border) -> [u8; 3] {
        let (width, height) = (i64::from(self.width_px), i64::from(self.height_px));
        let inside = (0..width).contains(&x) && (0..height).contains(&y);
        if border == Border::Black && !inside {
            return [0; 3];
        }
        let at = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) as usize * 3;
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }
}
