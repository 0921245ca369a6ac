//! Writing pictures as JPEG, for frames that terminals send.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::ColorImage;

/// Qualities that are tried, best first, to fit into a number of bytes. Below 60 the attack detection suffers.
const QUALITIES: [u8; 4] = [90, 85, 75, 60];

/// Writes a baseline JPEG with halved colour resolution. `quality` is 1 to 100.
pub fn encode_jpeg(image: &ColorImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    let side = |px: u32| u16::try_from(px).expect("sides are at most 4096");
    encoder
        .encode(&image.pixels, side(image.width_px), side(image.height_px), ColorType::Rgb)
        .expect("writing to memory cannot fail and the size was checked");
    bytes
}

/// Writes a JPEG of the best quality (90 to 60) that fits into `bytes_max`, or of the lowest if none does.
pub fn encode_jpeg_within(image: &ColorImage, bytes_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for quality in QUALITIES {
        bytes = encode_jpeg(image, quality);
        if bytes.len() <= bytes_max {
            break;
        }
    }
    bytes
}
