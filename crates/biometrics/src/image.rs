//! Grey pictures, and reading and writing them as PNG without trusting what the file says about itself.

use std::fmt;
use std::io::Cursor;

/// Largest PNG file, in bytes: a raw 8-bit picture of the largest finger reader (four fingers at 500 dpi) fits.
pub const IMAGE_BYTES_MAX: usize = 2 << 20;

/// Longest side, in pixels.
pub const IMAGE_SIDE_PX_MAX: u32 = 4096;

/// Most pixels: 16 million.
pub const IMAGE_PX_MAX: u32 = 16 << 20;

/// Resolutions that are accepted, in dots per inch. Finger readers have 500, some 250 to 1,000.
pub const RESOLUTION_DPI: std::ops::RangeInclusive<u16> = 200..=1200;

/// An 8-bit grey picture, row by row from the top left; 0 is black.
#[derive(Clone, PartialEq, Eq)]
pub struct GrayImage {
    width_px: u32,
    height_px: u32,
    resolution_dpi: u16,
    pixels: Vec<u8>,
}

/// Why bytes are no picture that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No bytes, or no pixels.
    #[error("the image is empty")]
    Empty,
    /// The file is too large.
    #[error("the file has {bytes} bytes, at most {IMAGE_BYTES_MAX} are read")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
    },
    /// The picture says that it has too many pixels. Found before anything is decoded.
    #[error(
        "the image has {width_px} x {height_px} pixels, at most {IMAGE_SIDE_PX_MAX} a side and {IMAGE_PX_MAX} in all are read"
    )]
    TooManyPixels {
        /// Width by the header.
        width_px: u32,
        /// Height by the header.
        height_px: u32,
    },
    /// Not a PNG file, damaged, or cut off.
    #[error("the image cannot be decoded: {0}")]
    Malformed(String),
    /// The resolution cannot be right.
    #[error("{0} dots per inch is outside {RESOLUTION_DPI:?}")]
    Resolution(u16),
    /// Pixels and size do not agree.
    #[error("{pixels} pixels do not fill the image")]
    Size {
        /// Number of pixels that came.
        pixels: usize,
    },
}

impl fmt::Debug for GrayImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrayImage({} x {}, {} dpi, ***)", self.width_px, self.height_px, self.resolution_dpi)
    }
}

fn check_size(width_px: u32, height_px: u32) -> Result<(), ImageError> {
    if width_px == 0 || height_px == 0 {
        return Err(ImageError::Empty);
    }
    let fits = width_px.max(height_px) <= IMAGE_SIDE_PX_MAX
        && u64::from(width_px) * u64::from(height_px) <= u64::from(IMAGE_PX_MAX);
    if fits { Ok(()) } else { Err(ImageError::TooManyPixels { width_px, height_px }) }
}

impl GrayImage {
    /// Takes pixels row by row from the top left, 0 is black.
    ///
    /// # Errors
    ///
    /// [`ImageError::Empty`], [`ImageError::TooManyPixels`], [`ImageError::Resolution`] or [`ImageError::Size`].
    pub fn new(
        width_px: u32,
        height_px: u32,
        resolution_dpi: u16,
        pixels: Vec<u8>,
    ) -> Result<Self, ImageError> {
        check_size(width_px, height_px)?;
        if !RESOLUTION_DPI.contains(&resolution_dpi) {
            return Err(ImageError::Resolution(resolution_dpi));
        }
        if pixels.len() != width_px as usize * height_px as usize {
            return Err(ImageError::Size { pixels: pixels.len() });
        }
        Ok(Self { width_px, height_px, resolution_dpi, pixels })
    }

    /// Width in pixels.
    pub fn width_px(&self) -> u32 {
        self.width_px
    }

    /// Height in pixels.
    pub fn height_px(&self) -> u32 {
        self.height_px
    }

    /// Dots per inch.
    pub fn resolution_dpi(&self) -> u16 {
        self.resolution_dpi
    }

    /// The pixels, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

/// Reads a PNG file of any colour type and depth as grey; transparency is ignored. Size and dimensions are checked
/// before anything is allocated for the pixels. The resolution is that of the reader, not what the file says.
///
/// # Errors
///
/// [`ImageError::Empty`], [`ImageError::TooLarge`], [`ImageError::TooManyPixels`], [`ImageError::Malformed`] or
/// [`ImageError::Resolution`].
pub fn decode_png(bytes: &[u8], resolution_dpi: u16) -> Result<GrayImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > IMAGE_BYTES_MAX {
        return Err(ImageError::TooLarge { bytes: bytes.len() });
    }
    let malformed = |error: png::DecodingError| ImageError::Malformed(error.to_string());
    let limits = png::Limits { bytes: IMAGE_PX_MAX as usize * 8 };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let header = decoder.read_header_info().map_err(malformed)?;
    check_size(header.width, header.height)?;
    let mut reader = decoder.read_info().map_err(malformed)?;
    let size = reader.output_buffer_size().ok_or(ImageError::Empty)?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(malformed)?;
    let samples = &buffer[..frame.buffer_size()];
    let pixels = match frame.color_type {
        png::ColorType::Grayscale => samples.to_vec(),
        png::ColorType::GrayscaleAlpha => samples.chunks_exact(2).map(|pixel| pixel[0]).collect(),
        png::ColorType::Rgb => samples.chunks_exact(3).map(luminance).collect(),
        png::ColorType::Rgba => samples.chunks_exact(4).map(luminance).collect(),
        png::ColorType::Indexed => {
            return Err(ImageError::Malformed("a palette was not expanded".to_owned()));
        }
    };
    GrayImage::new(frame.width, frame.height, resolution_dpi, pixels)
}

/// Luminance by ITU-R BT.601, in integers.
pub(crate) fn luminance(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    let weighted = 299 * red + 587 * green + 114 * blue + 500;
    u8::try_from(weighted / 1000).unwrap_or(u8::MAX)
}

/// Writes a picture as an 8-bit grey PNG with its resolution.
pub fn encode_png(image: &GrayImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width_px, image.height_px);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    // 1 inch is 0.0254 m.
    let pixels_per_metre = (u32::from(image.resolution_dpi) * 10_000 + 127) / 254;
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: pixels_per_metre,
        yppu: pixels_per_metre,
        unit: png::Unit::Meter,
    }));
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&image.pixels)?;
        writer.finish()
    });
    written.expect("writing to memory cannot fail and the size was checked");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette(vec![0, 0, 0, 255, 255, 255]);
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    fn decoded(bytes: &[u8]) -> Vec<u8> {
        decode_png(bytes, 500).unwrap().pixels().to_vec()
    }

    #[test]
    fn a_picture_reads_as_it_was_written() {
        let image = GrayImage::new(3, 2, 500, vec![0, 50, 100, 150, 200, 250]).unwrap();
        assert_eq!(decode_png(&encode_png(&image), 500).unwrap(), image);
    }

    #[test]
    fn every_kind_of_png_becomes_grey() {
        use png::BitDepth::{Eight, One, Sixteen};
        use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        assert_eq!(decoded(&encode(2, 1, Grayscale, Sixteen, &[0x12, 0x34, 0xff, 0xff])), [0x12, 0xff]);
        assert_eq!(decoded(&encode(2, 1, GrayscaleAlpha, Eight, &[7, 0, 9, 255])), [7, 9]);
        assert_eq!(decoded(&encode(1, 1, Rgb, Eight, &[255, 255, 255])), [255]);
        assert_eq!(decoded(&encode(1, 1, Rgba, Eight, &[255, 0, 0, 9])), [76]);
        assert_eq!(decoded(&encode(2, 1, Indexed, One, &[0b0100_0000])), [0, 255]);
    }

    #[test]
    fn empty_and_truncated_files_are_refused() {
        let image =
            GrayImage::new(64, 64, 500, (0..64 * 64).map(|value| (value % 251) as u8).collect()).unwrap();
        let bytes = encode_png(&image);
        assert_eq!(decode_png(&[], 500), Err(ImageError::Empty));
        for length in 1..bytes.len() - 16 {
            assert!(matches!(decode_png(&bytes[..length], 500), Err(ImageError::Malformed(_))), "{length}");
        }
        assert!(decode_png(b"not a picture", 500).is_err());
    }

    #[test]
    fn a_small_file_that_claims_a_huge_picture_is_refused_by_its_header() {
        // A valid header that claims 40,000 x 40,000 pixels, and no data behind it: had anything been decoded, the
        // error would be another one.
        let mut encoder_bytes = encode(1, 1, png::ColorType::Grayscale, png::BitDepth::Eight, &[0]);
        encoder_bytes[16..24].copy_from_slice(&[0, 0, 0x9c, 0x40, 0, 0, 0x9c, 0x40]);
        let checksum = crc32(&encoder_bytes[12..29]);
        encoder_bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let expected = ImageError::TooManyPixels { width_px: 40_000, height_px: 40_000 };
        assert_eq!(decode_png(&encoder_bytes, 500), Err(expected));
    }

    #[test]
    fn impossible_resolutions_and_sizes_are_refused() {
        assert_eq!(GrayImage::new(1, 1, 72, vec![0]), Err(ImageError::Resolution(72)));
        assert_eq!(GrayImage::new(0, 1, 500, vec![]), Err(ImageError::Empty));
        assert_eq!(GrayImage::new(2, 2, 500, vec![0]), Err(ImageError::Size { pixels: 1 }));
        assert!(GrayImage::new(4097, 1, 500, vec![0; 4097]).is_err());
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let step = |crc: u32, byte: &u8| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        };
        !bytes.iter().fold(u32::MAX, step)
    }

    proptest::proptest! {
        #[test]
        fn damaged_files_never_panic(flips in proptest::collection::vec((0usize..4_000, 0u8..=255), 1..20)) {
            let pixels = (0..64 * 64).map(|value| (value % 251) as u8).collect();
            let mut bytes = encode_png(&GrayImage::new(64, 64, 500, pixels).unwrap());
            for (place, value) in flips {
                let place = place % bytes.len();
                bytes[place] = value;
            }
            let _ = decode_png(&bytes, 500);
        }
    }
}
