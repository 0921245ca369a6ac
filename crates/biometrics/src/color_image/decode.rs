//! JPEG and PNG files become pictures. What a file claims is checked before memory is taken for it.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{ColorImage, ColorImageError, orientation};
use crate::image::{IMAGE_BYTES_MAX, IMAGE_PX_MAX, IMAGE_SIDE_PX_MAX};

/// What is read at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub bytes_max: usize,
    /// Pixels of the longer side.
    pub side_px_max: u32,
    /// Pixels in all. Bounds memory (about 10 bytes a pixel at worst) and time.
    pub px_max: u32,
}

/// Scans of a progressive JPEG. Encoders make about ten; each costs a pass over all pixels.
const SCANS_MAX: usize = 24;

impl Limits {
    /// A frame of a camera: up to 2560 x 1440, as sent by terminals. Wide frames have 960 pixels a side.
    pub const FRAME: Limits = Limits { bytes_max: 1 << 20, side_px_max: 2560, px_max: 2560 * 1440 };

    /// A photo from a file: up to 16 million pixels.
    pub const FILE: Limits =
        Limits { bytes_max: 4 * IMAGE_BYTES_MAX, side_px_max: IMAGE_SIDE_PX_MAX, px_max: IMAGE_PX_MAX };

    pub(super) fn check(&self, width_px: u32, height_px: u32) -> Result<(), ColorImageError> {
        if width_px == 0 || height_px == 0 {
            return Err(ColorImageError::Empty);
        }
        let fits = width_px.max(height_px) <= self.side_px_max
            && u64::from(width_px) * u64::from(height_px) <= u64::from(self.px_max);
        let Limits { side_px_max, px_max, .. } = *self;
        if fits {
            Ok(())
        } else {
            Err(ColorImageError::TooManyPixels { width_px, height_px, side_px_max, px_max })
        }
    }
}

/// Decodes a JPEG (baseline or progressive, grey or colour) or PNG (any kind but animated; 16 bits are cut to 8,
/// transparency is ignored), and turns it upright by its EXIF orientation.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<ColorImage, ColorImageError> {
    if bytes.is_empty() {
        return Err(ColorImageError::Empty);
    }
    if bytes.len() > limits.bytes_max {
        return Err(ColorImageError::TooLarge { bytes: bytes.len(), bytes_max: limits.bytes_max });
    }
    if bytes.starts_with(&[0xff, 0xd8]) {
        jpeg(bytes, limits)
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        png(bytes, limits)
    } else {
        Err(ColorImageError::Format)
    }
}

fn malformed(error: impl std::fmt::Display) -> ColorImageError {
    ColorImageError::Malformed(error.to_string())
}

fn jpeg(bytes: &[u8], limits: Limits) -> Result<ColorImage, ColorImageError> {
    // The decoder may take the filler at the very end for data that are missing. The marks cannot occur within data.
    let last = |mark: [u8; 2]| bytes.windows(2).rposition(|window| window == mark);
    if last([0xff, 0xd9]) < last([0xff, 0xda]) {
        return Err(malformed("the end is missing"));
    }
    check_sampling(bytes)?;
    // The decoder has had panics on files made for it (found by fuzzing). Such a file is malformed, like any other that
    // does not decode, and takes nobody else's request with it.
    catch_unwind(AssertUnwindSafe(|| checked_jpeg(bytes, limits)))
        .unwrap_or_else(|_| Err(malformed("the decoder gave up")))
}

/// Largest sampling factor of luminance; that of colour is 1. Cameras and browsers write nothing else, and the decoder
/// panics on some of the rest.
const SAMPLING_MAX: u8 = 2;

/// Looks at the frame header (ISO/IEC 10918-1, B.2.2), of which there must be one, before the decoder does.
fn check_sampling(bytes: &[u8]) -> Result<(), ColorImageError> {
    let mut rest = bytes.get(2..).unwrap_or_default();
    let mut headers = 0;
    while let [0xff, marker, after @ ..] = rest {
        match marker {
            // Filler, and markers without a segment.
            0xff => rest = &rest[1..],
            0x01 | 0xd0..=0xd7 => rest = after,
            // The scan begins.
            0xda => break,
            _ => {
                let length = after.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
                let (Some(segment), Some(next)) = (after.get(2..length), after.get(length..)) else {
                    return Err(malformed("a segment is cut off"));
                };
                // All frame headers but those of tables (C4, C8, CC), which have other content.
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    headers += 1;
                    for (place, component) in segment.get(6..).unwrap_or_default().chunks_exact(3).enumerate()
                    {
                        let most = if place == 0 { SAMPLING_MAX } else { 1 };
                        let factors = [component[1] >> 4, component[1] & 15];
                        if factors.iter().any(|factor| !(1..=most).contains(factor)) {
                            return Err(malformed("its sampling is none that cameras use"));
                        }
                    }
                }
                rest = next;
            }
        }
    }
    if headers == 1 { Ok(()) } else { Err(malformed("it has no frame header, or several")) }
}

fn checked_jpeg(bytes: &[u8], limits: Limits) -> Result<ColorImage, ColorImageError> {
    // Strict: what is cut off or damaged is an error, where browsers fill the rest with grey.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(SCANS_MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(malformed)?;
    let info = decoder.info().ok_or(ColorImageError::Empty)?;
    let (width_px, height_px) = (u32::from(info.width), u32::from(info.height));
    limits.check(width_px, height_px)?;
    if info.components != 1 && info.components != 3 {
        return Err(ColorImageError::Components(info.components));
    }
    let size = width_px as usize * height_px as usize * 3;
    if decoder.output_buffer_size() != Some(size) {
        return Err(malformed("its colours cannot be read as red, green and blue"));
    }
    let mut pixels = vec![0; size];
    decoder.decode_into(&mut pixels).map_err(malformed)?;
    let turn = decoder.exif().map_or(orientation::UPRIGHT, |exif| orientation::of_exif(exif));
    Ok(orientation::upright(ColorImage { width_px, height_px, pixels }, turn))
}

fn png(bytes: &[u8], limits: Limits) -> Result<ColorImage, ColorImageError> {
    let limit_bytes = limits.px_max as usize * 8;
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: limit_bytes });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let header = decoder.read_header_info().map_err(malformed)?;
    let (width_px, height_px) = (header.width, header.height);
    limits.check(width_px, height_px)?;
    let mut reader = decoder.read_info().map_err(malformed)?;
    if reader.info().animation_control.is_some() {
        return Err(ColorImageError::Animated);
    }
    let mut buffer = vec![0; reader.output_buffer_size().ok_or(ColorImageError::Empty)?];
    let frame = reader.next_frame(&mut buffer).map_err(malformed)?;
    let samples = &buffer[..frame.buffer_size()];
    let pixels = match frame.color_type {
        png::ColorType::Grayscale => samples.iter().flat_map(|grey| [*grey; 3]).collect(),
        png::ColorType::GrayscaleAlpha => samples.chunks_exact(2).flat_map(|pixel| [pixel[0]; 3]).collect(),
        png::ColorType::Rgb => samples.to_vec(),
        png::ColorType::Rgba => {
            samples.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
        }
        png::ColorType::Indexed => return Err(malformed("a palette was not expanded")),
    };
    // Also what comes after the pixels is read, so that a file cut off there is refused, and for the orientation.
    reader.finish().map_err(malformed)?;
    let exif = reader.info().exif_metadata.as_deref();
    let turn = exif.map_or(orientation::UPRIGHT, orientation::of_exif);
    let image = ColorImage::new(width_px, height_px, pixels)?;
    Ok(orientation::upright(image, turn))
}
