//! Kinds of pictures that a camera offers: which one is asked for, and how it becomes a JPEG. No device is touched here.

use std::fmt;

use selfsame_api::sealing::FRAME_BYTES_MAX;
use selfsame_biometrics::color_image::{ColorImage, ColorImageError, Limits, encode_jpeg_within};
use zeroize::Zeroizing;

/// Four characters that name a coding, as in `videodev2.h`.
pub(super) type FourCc = [u8; 4];

/// Motion JPEG, and single JPEG pictures.
pub(super) const MJPG: FourCc = *b"MJPG";
pub(super) const JPEG: FourCc = *b"JPEG";

/// Luminance of every pixel, colour of every second, 8 bits each.
pub(super) const YUYV: FourCc = *b"YUYV";

/// Width and height in pixels.
pub(super) type Size = (u32, u32);

/// Wanted of compressed pictures. A face at arm's length is 200 to 300 pixels wide in it.
const COMPRESSED: Size = (1280, 720);

/// Second best; all that USB 2 carries uncompressed at 30 frames a second.
const SMALL: Size = (640, 480);

/// In less a face that is near enough is too small for the networks.
const SIZE_MIN: Size = (320, 240);

/// Sizes in which a camera gives one coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sizes {
    /// These.
    Listed(Vec<Size>),
    /// All from `min` to `max` by `step`.
    Range { min: Size, max: Size, step: Size },
    /// The driver does not say.
    Unknown,
}

/// One coding that a camera offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) coding: FourCc,
    pub(super) sizes: Sizes,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.coding.escape_ascii())?;
        match &self.sizes {
            Sizes::Listed(sizes) => {
                sizes.iter().try_for_each(|(width, height)| write!(f, " {width}x{height}"))
            }
            Sizes::Range { min, max, .. } => write!(f, " {}x{} to {}x{}", min.0, min.1, max.0, max.1),
            Sizes::Unknown => Ok(()),
        }
    }
}

/// Whether a frame of this size is neither too small for a face nor too large to be decoded here.
pub(super) fn is_usable((width, height): Size) -> bool {
    width >= SIZE_MIN.0
        && height >= SIZE_MIN.1
        && width.max(height) <= Limits::FRAME.side_px_max
        && u64::from(width) * u64::from(height) <= u64::from(Limits::FRAME.px_max)
}

impl Sizes {
    /// The usable size nearest to the wanted one.
    fn nearest(&self, wanted: Size) -> Option<Size> {
        let distance =
            |size: &Size| u64::from(size.0.abs_diff(wanted.0)) + u64::from(size.1.abs_diff(wanted.1));
        match self {
            Sizes::Listed(sizes) => {
                sizes.iter().copied().filter(|size| is_usable(*size)).min_by_key(distance)
            }
            Sizes::Range { min, max, step } => {
                let size =
                    (on_grid(wanted.0, min.0, max.0, step.0)?, on_grid(wanted.1, min.1, max.1, step.1)?);
                is_usable(size).then_some(size)
            }
            Sizes::Unknown => Some(wanted),
        }
    }
}

/// The value nearest below `wanted` among `min`, `min + step`, up to `max`; `None` if there is none at all.
fn on_grid(wanted: u32, min: u32, max: u32, step: u32) -> Option<u32> {
    if min > max {
        return None;
    }
    let within = wanted.clamp(min, max);
    Some(within - (within - min) % step.max(1))
}

/// What to ask a camera for. Compressed pictures first, because USB 2 carries large ones at full rate only so; 1280 x 720
/// and 640 x 480 as they are, else the nearest size.
pub(super) fn choose(offers: &[Offer]) -> Option<(FourCc, Size)> {
    let of = |coding: FourCc| offers.iter().filter(move |offer| offer.coding == coding);
    for (coding, wanted) in [(MJPG, [COMPRESSED, SMALL]), (JPEG, [COMPRESSED, SMALL]), (YUYV, [SMALL, SMALL])]
    {
        let exact = |size: &Size| of(coding).any(|offer| offer.sizes.nearest(*size) == Some(*size));
        let size = wanted.iter().copied().find(exact);
        let size = size.or_else(|| of(coding).find_map(|offer| offer.sizes.nearest(wanted[0])));
        if let Some(size) = size {
            return Some((coding, size));
        }
    }
    None
}

/// What a camera gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub(super) coding: FourCc,
    pub(super) size: Size,
    /// Bytes from a row to the next; without meaning where pictures are compressed.
    pub(super) row_bytes: u32,
}

impl Format {
    /// Width of its frames, in pixels.
    pub fn width_px(&self) -> u32 {
        self.size.0
    }

    /// Height of its frames, in pixels.
    pub fn height_px(&self) -> u32 {
        self.size.1
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}x{}", self.coding.escape_ascii(), self.size.0, self.size.1)
    }
}

/// A copy of a frame as it came out of the camera. Wiped when dropped; never printed.
pub struct Picture {
    format: Format,
    bytes: Zeroizing<Vec<u8>>,
}

impl Picture {
    pub(super) fn new(format: Format, bytes: &[u8]) -> Self {
        Self { format, bytes: Zeroizing::new(bytes.to_vec()) }
    }

    /// As a JPEG that decoders of still pictures take.
    pub fn jpeg(self) -> Result<Zeroizing<Vec<u8>>, ColorImageError> {
        if self.format.coding == YUYV {
            let image = rgb_of_yuyv(&self.bytes, self.format.size, self.format.row_bytes)?;
            return Ok(Zeroizing::new(encode_jpeg_within(&image, FRAME_BYTES_MAX)));
        }
        Ok(with_mark_of_motion_jpeg(self.bytes))
    }
}

/// Converts by ITU-R BT.601 with luminance 16 to 235, which cameras mean by YUYV unless they say otherwise.
fn rgb_of_yuyv(bytes: &[u8], (width, height): Size, row_bytes: u32) -> Result<ColorImage, ColorImageError> {
    let (row_bytes, used) = (row_bytes as usize, width as usize * 2);
    let rows = bytes.chunks(row_bytes.max(used)).take(height as usize);
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for row in rows {
        for pair in row[..used.min(row.len())].chunks_exact(4) {
            let [first, blue, second, red] = [pair[0], pair[1], pair[2], pair[3]].map(i32::from);
            for luminance in [first, second] {
                pixels.extend(rgb(luminance, blue - 128, red - 128));
            }
        }
    }
    // A frame that was cut off has too few.
    ColorImage::new(width, height, pixels)
}

/// One pixel. The factors are 256 times those of the standard, scaled to 0 to 255: 1.164, 1.596, 0.391, 0.813, 2.018.
fn rgb(luminance: i32, blue: i32, red: i32) -> [u8; 3] {
    let grey = 298 * (luminance - 16) + 128;
    [grey + 409 * red, grey - 100 * blue - 208 * red, grey + 516 * blue]
        .map(|value| (value >> 8).clamp(0, 255) as u8)
}

/// Motion JPEG leaves out the tables of its Huffman code, which are always the same. Decoders fill them in if the picture
/// says in its first segment that it comes from a film; many cameras leave that out, too.
fn with_mark_of_motion_jpeg(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    const DEFINE_HUFFMAN_TABLES: u8 = 0xc4;
    const MARK: [u8; 11] = *b"\xff\xe0\x00\x09AVI1\0\0\0";
    if !has_segment(&bytes, DEFINE_HUFFMAN_TABLES) && bytes.starts_with(&[0xff, 0xd8]) {
        let marked = [&bytes[..2], MARK.as_slice(), &bytes[2..]].concat();
        bytes = Zeroizing::new(marked);
    }
    bytes
}

/// Whether there is such a segment before the scan (ISO/IEC 10918-1, B.1.1).
fn has_segment(bytes: &[u8], wanted: u8) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, marker, after @ ..] = rest {
        match *marker {
            marker if marker == wanted => return true,
            0xda => return false,
            0xff => rest = &rest[1..],
            _ => {
                let length = after.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
                rest = after.get(length.max(2)..).unwrap_or_default();
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use selfsame_biometrics::color_image::{decode, encode_jpeg};

    use super::*;

    fn listed(coding: FourCc, sizes: &[Size]) -> Offer {
        Offer { coding, sizes: Sizes::Listed(sizes.to_vec()) }
    }

    #[test]
    fn compressed_pictures_of_720_rows_are_preferred_then_small_ones_then_uncompressed() {
        let yuyv = listed(YUYV, &[(1280, 720), (640, 480), (320, 240)]);
        let large = listed(MJPG, &[(640, 480), (1920, 1080), (1280, 720)]);
        let small = listed(MJPG, &[(800, 600), (640, 480)]);
        let odd = listed(MJPG, &[(160, 120), (1920, 1080), (3840, 2160)]);
        let tiny = listed(MJPG, &[(160, 120)]);
        for (offers, chosen) in [
            (vec![yuyv.clone(), large], Some((MJPG, (1280, 720)))),
            (vec![yuyv.clone(), small], Some((MJPG, (640, 480)))),
            (vec![yuyv.clone(), odd], Some((MJPG, (1920, 1080)))),
            (vec![tiny.clone(), yuyv.clone()], Some((YUYV, (640, 480)))),
            (vec![listed(YUYV, &[(320, 240), (800, 600)])], Some((YUYV, (800, 600)))),
            (vec![listed(*b"NV12", &[(640, 480)]), tiny], None),
            (vec![Offer { coding: YUYV, sizes: Sizes::Unknown }], Some((YUYV, (640, 480)))),
            (vec![], None),
        ] {
            assert_eq!(choose(&offers), chosen, "{offers:?}");
        }
    }

    #[test]
    fn a_range_of_sizes_gives_the_wanted_one_or_the_nearest_on_its_grid() {
        let range = |min, max, step| Offer { coding: MJPG, sizes: Sizes::Range { min, max, step } };
        assert_eq!(choose(&[range((16, 16), (4096, 4096), (2, 2))]), Some((MJPG, (1280, 720))));
        assert_eq!(choose(&[range((100, 100), (1000, 700), (64, 64))]), Some((MJPG, (996, 676))));
        assert_eq!(choose(&[range((16, 16), (200, 200), (1, 1))]), None);
        assert_eq!(choose(&[range((2000, 2000), (100, 100), (0, 0))]), None, "nonsense of a driver");
    }

    #[test]
    fn colours_of_yuyv_are_those_of_the_standard() {
        // Black, white, red, green and blue of BT.601.
        for (yuv, expected) in [
            ([16, 128, 128], [0, 0, 0]),
            ([235, 128, 128], [255, 255, 255]),
            ([81, 90, 240], [255, 0, 0]),
            ([145, 54, 34], [0, 255, 0]),
            ([41, 240, 110], [0, 0, 255]),
        ] {
            let [y, u, v] = yuv;
            let image = rgb_of_yuyv(&[y, u, y, v], (2, 1), 4).unwrap();
            let far = image.rgb().iter().zip(expected.iter().cycle()).any(|(a, b)| a.abs_diff(*b) > 2);
            assert!(!far, "{yuv:?} became {:?}, expected {expected:?}", image.rgb());
        }
    }

    #[test]
    fn filler_at_the_end_of_rows_is_skipped_and_a_frame_cut_off_is_refused() {
        let bytes = [16, 128, 16, 128, 9, 9, 235, 128, 235, 128, 9, 9];
        let image = rgb_of_yuyv(&bytes, (2, 2), 6).unwrap();
        assert_eq!(image.rgb(), [0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255]);
        assert!(rgb_of_yuyv(&bytes[..9], (2, 2), 6).is_err());
        assert!(rgb_of_yuyv(&[], (2, 2), 0).is_err());
    }

    fn film(with_tables: bool) -> (ColorImage, Vec<u8>) {
        let image = ColorImage::draw(64, 48, |x, y| [x as u8 * 4, y as u8 * 5, 128]).unwrap();
        let mut rest = encode_jpeg(&image, 90);
        if with_tables {
            return (image, rest);
        }
        let mut bytes = Vec::new();
        while let Some(at) = rest.windows(2).position(|mark| mark == [0xff, 0xc4]) {
            let length = usize::from(u16::from_be_bytes([rest[at + 2], rest[at + 3]]));
            bytes.extend(&rest[..at]);
            rest.drain(..at + 2 + length);
        }
        bytes.extend(rest);
        (image, bytes)
    }

    #[test]
    fn pictures_of_a_film_decode_though_their_tables_are_left_out() {
        for with_tables in [true, false] {
            let (image, bytes) = film(with_tables);
            assert_eq!(decode(&bytes, Limits::FRAME).is_ok(), with_tables);
            let format = Format { coding: MJPG, size: (64, 48), row_bytes: 0 };
            let jpeg = Picture::new(format, &bytes).jpeg().unwrap();
            let decoded = decode(&jpeg, Limits::FRAME).unwrap();
            let far = decoded.rgb().iter().zip(image.rgb()).filter(|(a, b)| a.abs_diff(**b) > 24).count();
            assert_eq!((decoded.width_px(), decoded.height_px(), far), (64, 48, 0));
        }
    }

    #[test]
    fn bytes_that_are_no_jpeg_are_left_to_the_decoder_to_refuse() {
        for bytes in [b"".as_slice(), b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x00", b"GIF89a", &[0xff; 40]] {
            let format = Format { coding: MJPG, size: (64, 48), row_bytes: 0 };
            let jpeg = Picture::new(format, bytes).jpeg().unwrap();
            assert!(decode(&jpeg, Limits::FRAME).is_err());
        }
    }
}
