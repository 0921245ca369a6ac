//! Colour pictures: decoding without trusting the file, cutting, turning and scaling.

mod decode;
mod encode;
mod orientation;
#[cfg(test)]
mod tests;
mod warp;

use std::fmt;

pub use decode::{Limits, decode};
pub use encode::{encode_jpeg, encode_jpeg_within};
pub use warp::{Affine, Border};

use crate::image::luminance;

/// Why bytes are no colour picture that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColorImageError {
    /// No bytes, or no pixels.
    #[error("the image is empty")]
    Empty,
    /// The file is too large. Nothing of it was read.
    #[error("the file has {bytes} bytes, at most {bytes_max} are read")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The picture says that it has too many pixels. Found before anything is decoded.
    #[error(
        "the image has {width_px} x {height_px} pixels, at most {side_px_max} a side and {px_max} in all are read"
    )]
    TooManyPixels {
        /// Width by the header.
        width_px: u32,
        /// Height by the header.
        height_px: u32,
        /// The limit of a side.
        side_px_max: u32,
        /// The limit of all.
        px_max: u32,
    },
    /// Neither JPEG nor PNG.
    #[error("the file is neither JPEG nor PNG")]
    Format,
    /// Several pictures in one: which one counts would be anybody's guess.
    #[error("animated images are not read")]
    Animated,
    /// Printing colours or unknown ones, which no camera makes.
    #[error("images with {0} colour components are not read")]
    Components(u8),
    /// Damaged, cut off, or of a kind that the decoder does not know.
    #[error("the image cannot be decoded: {0}")]
    Malformed(String),
    /// Pixels and size do not agree.
    #[error("{bytes} bytes do not fill the image")]
    Size {
        /// Number of bytes that came.
        bytes: usize,
    },
}

/// An 8-bit picture of red, green and blue, row by row from the top left. Never prints its pixels.
#[derive(Clone, PartialEq, Eq)]
pub struct ColorImage {
    width_px: u32,
    height_px: u32,
    /// Three bytes a pixel: red, green, blue.
    pixels: Vec<u8>,
}

impl fmt::Debug for ColorImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ColorImage({} x {}, ***)", self.width_px, self.height_px)
    }
}

/// A part of a picture, in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns; at least 1.
    pub width_px: u32,
    /// Rows; at least 1.
    pub height_px: u32,
}

impl ColorImage {
    /// From three bytes a pixel, red first. Sides are 1 to [`crate::image::IMAGE_SIDE_PX_MAX`].
    pub fn new(width_px: u32, height_px: u32, pixels: Vec<u8>) -> Result<Self, ColorImageError> {
        Limits::FILE.check(width_px, height_px)?;
        if pixels.len() != width_px as usize * height_px as usize * 3 {
            return Err(ColorImageError::Size { bytes: pixels.len() });
        }
        Ok(Self { width_px, height_px, pixels })
    }

    /// A picture of one colour at each place: for drawings in code.
    pub fn draw(
        width_px: u32,
        height_px: u32,
        color: impl Fn(u32, u32) -> [u8; 3],
    ) -> Result<Self, ColorImageError> {
        Limits::FILE.check(width_px, height_px)?;
        let rows = (0..height_px).flat_map(|y| (0..width_px).map(move |x| (x, y)));
        Self::new(width_px, height_px, rows.flat_map(|(x, y)| color(x, y)).collect())
    }

    /// Width in pixels.
    pub fn width_px(&self) -> u32 {
        self.width_px
    }

    /// Height in pixels.
    pub fn height_px(&self) -> u32 {
        self.height_px
    }

    /// Red, green and blue of every pixel, row by row.
    pub fn rgb(&self) -> &[u8] {
        &self.pixels
    }

    /// Luminance of every pixel (ITU-R BT.601), row by row.
    pub fn luminances(&self) -> Vec<u8> {
        self.pixels.chunks_exact(3).map(luminance).collect()
    }

    /// Cuts a part out; what lies outside of the picture is left away. `None` if nothing lies inside.
    pub fn cut(&self, area: Area) -> Option<Self> {
        let right = area.left.saturating_add(area.width_px).min(self.width_px);
        let bottom = area.top.saturating_add(area.height_px).min(self.height_px);
        let (width_px, height_px) = (right.checked_sub(area.left)?, bottom.checked_sub(area.top)?);
        if width_px == 0 || height_px == 0 {
            return None;
        }
        let row = self.width_px as usize * 3;
        let (first, last) = (area.left as usize * 3, right as usize * 3);
        let rows = self.pixels.chunks_exact(row).take(bottom as usize).skip(area.top as usize);
        let mut pixels = Vec::with_capacity((last - first) * height_px as usize);
        rows.for_each(|row| pixels.extend_from_slice(&row[first..last]));
        Some(Self { width_px, height_px, pixels })
    }
}
