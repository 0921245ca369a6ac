//! Frames: what a terminal sends of a picture, and whether two frames are really two.

use super::geometry::Rectangle;
use crate::color_image::{Affine, Area, Border, ColorImage};

/// A wide frame is the face box enlarged by this about its centre: what the widest attack detector looks at.
const WIDE: f32 = 4.0;

/// Longer side of a wide frame. The detectors see 80 x 80 pixels of it; more would only cost the network.
pub const WIDE_PX_MAX: u32 = 960;

/// Cells a side of the grid that frames are compared on: coarse enough that the noise of a camera averages out,
/// fine enough that a breath or a blink shows.
const GRID: usize = 32;

/// What a terminal sends of a picture: four times the face box, clipped to the picture, at most [`WIDE_PX_MAX`] a
/// side. Never enlarged.
pub fn wide_frame(image: &ColorImage, face: &Rectangle) -> ColorImage {
    let side = face.side() * WIDE;
    let [x, y] = face.centre();
    let span = |centre: f32, last: u32| {
        let first = (centre - side / 2.0).clamp(0.0, last.saturating_sub(1) as f32) as u32;
        let end = (centre + side / 2.0).clamp(first as f32 + 1.0, last as f32) as u32;
        (first, (end - first).max(1))
    };
    let (left, width_px) = span(x, image.width_px());
    let (top, height_px) = span(y, image.height_px());
    let cut = image.cut(Area { left, top, width_px, height_px }).unwrap_or_else(|| image.clone());
    let scale = WIDE_PX_MAX as f32 / cut.width_px().max(cut.height_px()) as f32;
    if scale >= 1.0 {
        return cut;
    }
    let shrink = |side: u32| ((side as f32 * scale) as u32).clamp(1, WIDE_PX_MAX);
    let (width_px, height_px) = (shrink(cut.width_px()), shrink(cut.height_px()));
    let whole = [0.0, 0.0, cut.width_px() as f32, cut.height_px() as f32];
    cut.warp(&Affine::scale(whole, width_px, height_px), width_px, height_px, Border::Nearest)
}

/// Mean luminance of the cells of a coarse grid over a frame, in 256ths: for [`difference`].
#[derive(Clone, PartialEq, Eq)]
pub struct Thumbprint(Vec<u16>);

impl Thumbprint {
    /// Of a frame of any size.
    pub fn of(image: &ColorImage) -> Self {
        let (width, height) = (image.width_px() as usize, image.height_px() as usize);
        let values = image.luminances();
        let cell = |index: usize| {
            let bounds = |cell: usize, side: usize| {
                let first = cell * side / GRID;
                first..((cell + 1) * side / GRID).max(first + 1).min(side)
            };
            let (rows, columns) = (bounds(index / GRID, height), bounds(index % GRID, width));
            let count = (rows.len() * columns.len()) as u64;
            let rows = rows.map(|y| &values[y * width..][columns.clone()]);
            let sum: u64 = rows.flatten().map(|value| u64::from(*value) * 256).sum();
            u16::try_from(sum / count.max(1)).unwrap_or(u16::MAX)
        };
        Self((0..GRID * GRID).map(cell).collect())
    }

    /// Mean absolute difference of the luminance of two frames, 0 to 255. Two frames of a camera differ by noise, and
    /// of a living person by more; 0 is one frame sent twice. What is too little is the caller's policy.
    pub fn difference(&self, other: &Self) -> f32 {
        let sum: u64 = self.0.iter().zip(&other.0).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f32 / 256.0 / self.0.len() as f32
    }
}

/// The smallest [`Thumbprint::difference`] between any two of some frames. `None` of fewer than two.
pub fn least_difference(frames: &[Thumbprint]) -> Option<f32> {
    let pairs =
        frames.iter().enumerate().flat_map(|(index, a)| frames[index + 1..].iter().map(move |b| (a, b)));
    pairs.map(|(a, b)| a.difference(b)).min_by(f32::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(seed: u32, width_px: u32, height_px: u32) -> ColorImage {
        let color = |x: u32, y: u32| {
            let mut value = (y * width_px + x).wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503);
            value ^= value >> 15;
            value = value.wrapping_mul(2_246_822_519);
            [(x / 2 + y / 4) as u8 / 2 + (value >> 28) as u8; 3]
        };
        ColorImage::draw(width_px, height_px, color).unwrap()
    }

    #[test]
    fn a_wide_frame_has_the_surroundings_and_no_more_than_it_may() {
        let image = noisy(1, 1280, 720);
        let middle = Rectangle { left: 600.0, top: 300.0, width: 80.0, height: 100.0 };
        let wide = wide_frame(&image, &middle);
        assert_eq!((wide.width_px(), wide.height_px()), (400, 400));
        let corner = Rectangle { left: -20.0, top: -20.0, width: 100.0, height: 100.0 };
        let wide = wide_frame(&image, &corner);
        assert_eq!((wide.width_px(), wide.height_px()), (230, 230));
        let large = Rectangle { left: 300.0, top: 0.0, width: 600.0, height: 700.0 };
        let wide = wide_frame(&image, &large);
        assert_eq!((wide.width_px(), wide.height_px()), (960, 540));
        let absurd = Rectangle { left: 1e9, top: f32::NAN, width: 1.0, height: 1.0 };
        assert!(wide_frame(&image, &absurd).width_px() >= 1);
    }

    #[test]
    fn a_frame_sent_twice_does_not_differ_and_two_frames_do() {
        let print = |seed: u32| Thumbprint::of(&noisy(seed, 320, 240));
        assert!(print(1).difference(&print(1)).abs() < f32::EPSILON);
        assert!(print(1).difference(&print(2)) > 0.05, "{}", print(1).difference(&print(2)));
        assert!(least_difference(&[print(1), print(2), print(1)]).unwrap().abs() < f32::EPSILON);
        assert!(least_difference(&[print(1)]).is_none());
        let black = ColorImage::draw(1, 1, |_, _| [0; 3]).unwrap();
        let white = ColorImage::draw(7, 3, |_, _| [255; 3]).unwrap();
        let apart = Thumbprint::of(&black).difference(&Thumbprint::of(&white));
        assert!((apart - 255.0).abs() < 1e-3, "{apart}");
    }
}
