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

    /// Whether rows stay rows and columns stay columns.
    fn is_straight(&self) -> bool {
        self.xy == 0.0 && self.yx == 0.0
    }

    /// How many old pixels one step in the new picture spans: the larger of both directions.
    fn step(&self) -> f32 {
        self.xx.hypot(self.yx).max(self.xy.hypot(self.yy))
    }
}

/// Most samples a side that are averaged for one new pixel: enough for faces four times as large as the networks'.
const SAMPLES_MAX: f32 = 4.0;

/// Where a column or row of the new picture lies in the old one.
struct Place {
    old: f32,
    /// The old column or row before it.
    first: i64,
    /// How far it is on the way to the next one, 0 to 1.
    share: f32,
}

impl Place {
    fn of(old: f32) -> Self {
        let floor = old.floor();
        Self { old, first: floor as i64, share: old - floor }
    }
}

/// The colour between two neighbours in two rows.
#[inline]
fn blend(upper: &[u8], lower: &[u8], right: f32, bottom: f32) -> [f32; 3] {
    std::array::from_fn(|channel| {
        let row = |row: &[u8]| {
            let (a, b) = (f32::from(row[channel]), f32::from(row[channel + 3]));
            a + (b - a) * right
        };
        let (upper, lower) = (row(upper), row(lower));
        upper + (lower - upper) * bottom
    })
}

impl ColorImage {
    /// The new picture by bilinear interpolation, one sample a pixel, as the networks were trained with
    /// (`INTER_LINEAR` of OpenCV). Sides are 1 to 4,096.
    pub fn warp(&self, map: &Affine, width_px: u32, height_px: u32, border: Border) -> ColorImage {
        if map.is_straight() {
            return self.scale(map, width_px, height_px, border);
        }
        self.sample(map, width_px, height_px, border, 1)
    }

    /// The same, but where the old picture is much finer, several samples are averaged: no false detail, less noise.
    pub fn warp_smooth(&self, map: &Affine, width_px: u32, height_px: u32, border: Border) -> ColorImage {
        let samples = map.step().clamp(1.0, SAMPLES_MAX) as u32;
        self.sample(map, width_px, height_px, border, samples)
    }

    /// What [`ColorImage::sample`] comes to with one sample a pixel and a straight map, to the byte, in a fraction of its
    /// time: where a column lies in the old picture is computed once and not for each row.
    fn scale(&self, map: &Affine, width_px: u32, height_px: u32, border: Border) -> ColorImage {
        let columns: Vec<Place> = (0..width_px).map(|x| Place::of(map.xx * x as f32 + map.x0)).collect();
        let (width, height) = (i64::from(self.width_px), i64::from(self.height_px));
        let mut pixels = vec![0; width_px as usize * height_px as usize * 3];
        for (y, line) in pixels.chunks_exact_mut(width_px as usize * 3).enumerate() {
            let row = Place::of(map.yy * y as f32 + map.y0);
            let is_inside = row.first >= 0 && row.first + 1 < height;
            let at = if is_inside { row.first as usize * width as usize * 3 } else { 0 };
            let (upper, lower) =
                (&self.pixels[at..], &self.pixels[at + width as usize * 3 * usize::from(is_inside)..]);
            for (new, column) in line.chunks_exact_mut(3).zip(&columns) {
                let color = if is_inside && column.first >= 0 && column.first + 1 < width {
                    let at = column.first as usize * 3;
                    blend(&upper[at..at + 6], &lower[at..at + 6], column.share, row.share)
                } else {
                    self.bilinear(column.old, row.old, border)
                };
                for (new, value) in new.iter_mut().zip(color) {
                    *new = (value + 0.5) as u8;
                }
            }
        }
        ColorImage { width_px, height_px, pixels }
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
            return blend(upper, lower, right, bottom);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_map_comes_to_the_same_pixels_the_short_way() {
        let drawn = ColorImage::draw(61, 47, |x, y| [(x * 4) as u8, (y * 5) as u8, (x * y * 7 % 251) as u8]);
        let image = drawn.unwrap();
        let maps = [
            Affine::scale([0.0, 0.0, 61.0, 47.0], 61, 47),
            Affine::scale([0.0, 0.0, 61.0, 47.0], 23, 19),
            Affine::scale([3.3, -6.2, 40.0, 71.5], 90, 33),
            // Beyond all edges, and upside down.
            Affine::scale([-20.0, -20.0, 101.0, 87.0], 64, 64),
            Affine::scale([61.0, 47.0, -61.0, -47.0], 40, 30),
        ];
        for map in maps {
            assert!(map.is_straight());
            for border in [Border::Black, Border::Nearest] {
                let short = image.warp(&map, 57, 44, border);
                let long = image.sample(&map, 57, 44, border, 1);
                assert_eq!(short.rgb(), long.rgb(), "{map:?}, {border:?}");
            }
        }
        let turned = Affine { xy: 0.01, ..maps[0] };
        assert!(!turned.is_straight());
    }
}
