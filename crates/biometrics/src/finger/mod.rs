//! Fingerprints by their minutiae: where ridges end and fork. No weights, no training data.
//!
//! [`extract`] makes a [`Template`] of a picture; [`Prepared::score`] says how alike two templates are. Source of the
//! ideas: D. Maltoni et al., Handbook of Fingerprint Recognition (orientation fields, Gabor enhancement, crossing
//! numbers); M. Tico and P. Kuosmanen, "Fingerprint matching using an orientation-based minutia descriptor", IEEE
//! PAMI 25(8), 2003 (descriptor and score).

mod calibration;
mod comparison;
mod contact;
mod plane;
mod ridges;
mod skeleton;
mod template;

pub use calibration::{Calibration, calibration};
pub use comparison::Prepared;
pub use template::{TEMPLATE_BYTES_MAX, Template, TemplateError};

use crate::image::GrayImage;

/// Name of the algorithm. Templates of another one are never compared.
pub const ALGORITHM: &str = "finger-minutiae";

/// Version of the algorithm. Raised whenever templates or scores change.
pub const VERSION: u16 = 1;

/// Fewest minutiae of a usable print. Below, different fingers begin to look alike.
const MINUTIAE_MIN: usize = 8;

/// Smallest usable contact, in square pixels at 500 dpi: about 6 x 6 mm.
const CONTACT_PX_MIN: usize = 14_000;

/// Largest picture of one finger, in pixels at 500 dpi: about 6 x 6 cm. Bounds memory (some 20 numbers a pixel) and
/// time.
const PICTURE_PX_MAX: usize = 1_400_000;

/// Least mean coherence of the ridge flow in the contact area, 0 to 1. Noise has about 0.2, prints 0.6 and more.
const COHERENCE_MIN: f32 = 0.25;

/// Contact, number of minutiae and coherence from which on a print cannot be better: a finger pressed flat (about
/// 12 x 13 mm at 500 dpi) has these or more.
const CONTACT_PX_GOOD: f32 = 60_000.0;
const MINUTIAE_GOOD: f32 = 35.0;
const COHERENCE_GOOD: f32 = 0.85;

/// A template with how good the print was.
#[derive(Debug)]
pub struct Extracted {
    /// The template.
    pub template: Template,
    /// 0 to 100: area, clearness of the flow and number of minutiae together. Stored in the template, too.
    pub quality: u8,
}

/// Why a picture is no usable print, as guidance for the payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The picture is larger than any reader for one finger.
    #[error("the picture is larger than one finger")]
    TooLarge,
    /// Nothing with ridges is there.
    #[error("no finger is on the reader")]
    NoFinger,
    /// Too little of the finger is there.
    #[error("too little of the finger touches the reader")]
    PartialContact,
    /// Something is there, but no clear ridges: dirty, wet, dry or moving.
    #[error("the ridges are not clear")]
    Unclear,
    /// Clear ridges but too few points to compare.
    #[error("too few details can be made out")]
    FewDetails,
}

impl Rejection {
    /// The guidance in snake case, as it goes to terminals.
    pub fn code(self) -> &'static str {
        match self {
            Rejection::TooLarge => "one_finger_only",
            Rejection::NoFinger => "no_finger",
            Rejection::PartialContact => "cover_the_reader",
            Rejection::Unclear => "clean_and_press_again",
            Rejection::FewDetails => "press_harder",
        }
    }
}

/// Makes a template of a print: dark ridges on light ground, at any resolution of [`crate::image::RESOLUTION_DPI`],
/// about 30 ms for 360 x 360 pixels at 500 dpi. Deterministic, the same on every machine.
///
/// # Errors
///
/// The first [`Rejection`] that applies, in their order. A picture of less than 1.7 mm a side is
/// [`Rejection::PartialContact`] whatever it shows.
pub fn extract(image: &GrayImage) -> Result<Extracted, Rejection> {
    let ridges = ridges::Ridges::find(image)?;
    let minutiae = skeleton::minutiae(&ridges);
    if minutiae.len() < MINUTIAE_MIN {
        return Err(Rejection::FewDetails);
    }
    let quality = quality(&ridges, minutiae.len());
    Ok(Extracted { template: Template::new(&minutiae, &ridges, quality), quality })
}

/// How good a print is, 0 to 100.
fn quality(ridges: &ridges::Ridges, minutiae: usize) -> u8 {
    let area = (ridges.contact_px as f32 / CONTACT_PX_GOOD).min(1.0);
    let number = (minutiae as f32 / MINUTIAE_GOOD).min(1.0);
    let clear = (ridges.coherence - COHERENCE_MIN) / (COHERENCE_GOOD - COHERENCE_MIN);
    // Clearness first: more area or points of an unclear print help least.
    (100.0 * (0.3 * area + 0.3 * number + 0.4 * clear.clamp(0.0, 1.0))) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::score::Score;
    use crate::synthetic::Master;

    fn picture(value: impl Fn(u32, u32) -> u8) -> GrayImage {
        let pixels = (0..300u32 * 300).map(|index| value(index % 300, index / 300)).collect();
        GrayImage::new(300, 300, 500, pixels).unwrap()
    }

    #[test]
    fn pictures_without_a_finger_are_refused() {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let noise: Vec<u8> = (0..300 * 300).map(|_| noise()).collect();
        for (name, image) in [
            ("white", picture(|_, _| 255)),
            ("black", picture(|_, _| 0)),
            ("gradient", picture(|x, y| ((x + y) / 3) as u8)),
            ("noise", GrayImage::new(300, 300, 500, noise).unwrap()),
            ("stripes", picture(|x, _| if x % 9 < 4 { 0 } else { 255 })),
            ("one pixel", GrayImage::new(1, 1, 500, vec![0]).unwrap()),
        ] {
            assert!(extract(&image).is_err(), "{name}");
        }
    }

    #[test]
    fn a_fingertip_on_the_edge_of_the_reader_is_partial_contact() {
        let press = Master::grow(1).press(1);
        let rows = press.pixels().chunks_exact(300).skip(100).take(120);
        let cut = rows.flat_map(|row| row[120..200].iter().copied()).collect();
        let image = GrayImage::new(80, 120, 500, cut).unwrap();
        assert_eq!(extract(&image).err(), Some(Rejection::PartialContact));
    }

    #[test]
    fn the_resolution_of_the_reader_does_not_matter() {
        let press = Master::grow(2).press(1);
        // Every pixel twice: the same finger on a reader of 1,000 dpi.
        let doubled: Vec<u8> = press
            .pixels()
            .chunks_exact(300)
            .flat_map(|row| {
                let line: Vec<u8> = row.iter().flat_map(|pixel| [*pixel; 2]).collect();
                [line.clone(), line].concat()
            })
            .collect();
        let fine = GrayImage::new(600, 720, 1000, doubled).unwrap();
        let (coarse, fine) = (extract(&press).unwrap(), extract(&fine).unwrap());
        assert!(Prepared::new(vec![coarse.template]).score(&fine.template) > Score(6_000));
    }

    #[test]
    fn quality_is_a_percentage() {
        let quality = extract(&Master::grow(3).press(1)).unwrap().quality;
        assert!((30..=100).contains(&quality), "{quality}");
    }

    #[test]
    fn a_picture_larger_than_any_finger_is_refused_before_it_is_worked_on() {
        let large =
            |side: u32, dpi| GrayImage::new(side, side, dpi, vec![0; (side * side) as usize]).unwrap();
        assert_eq!(extract(&large(1_200, 500)).err(), Some(Rejection::TooLarge));
        // 480 pixels at 200 dpi are 1,200 at 500.
        assert_eq!(extract(&large(480, 200)).err(), Some(Rejection::TooLarge));
        assert_ne!(extract(&large(1_200, 1_000)).err(), Some(Rejection::TooLarge));
    }

    #[test]
    fn extraction_is_deterministic() {
        let image = Master::grow(4).press(1);
        assert!(extract(&image).unwrap().template == extract(&image).unwrap().template);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_picture_makes_extraction_panic(
            width in 1u32..260,
            height in 1u32..260,
            dpi in crate::image::RESOLUTION_DPI,
            seed in any::<u32>(),
            grain in 1u32..12,
        ) {
            // Blobs of random grey: noise, but with structure of the size of ridges for some grains.
            let grey = |x: u32, y: u32| {
                let cell = (x / grain).wrapping_mul(0x9e37_79b9) ^ (y / grain).wrapping_mul(0x85eb_ca6b) ^ seed;
                (cell.wrapping_mul(0xc2b2_ae35) >> 24) as u8
            };
            let pixels = (0..width * height).map(|index| grey(index % width, index / width)).collect();
            let image = GrayImage::new(width, height, dpi, pixels).unwrap();
            if let Ok(extracted) = extract(&image) {
                prop_assert!(extracted.quality <= 100);
                prop_assert!(extracted.template.to_bytes().len() <= TEMPLATE_BYTES_MAX);
            }
        }
    }
}
