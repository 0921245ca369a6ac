//! Fingerprints by their minutiae: where ridges end and fork. No weights, no training data.
//!
//! [`extract`] makes a [`Template`] of a picture; [`Prepared::score`] says how alike two templates are. Source of the
//! ideas: D. Maltoni et al., Handbook of Fingerprint Recognition (orientation fields, Gabor enhancement, crossing
//! numbers); M. Tico and P. Kuosmanen, "Fingerprint matching using an orientation-based minutia descriptor", IEEE
//! PAMI 25(8), 2003 (descriptor and score).

mod calibration;
mod comparison;
mod ridges;
mod skeleton;
mod template;

pub use calibration::{Calibration, CalibrationPoint, calibration};
pub use comparison::{Prepared, Score};
pub use template::{TEMPLATE_BYTES_MAX, Template, TemplateError};

use crate::image::GrayImage;

/// Name of the algorithm. Templates of another one are never compared.
pub const ALGORITHM: &str = "finger-minutiae";

/// Version of the algorithm. Raised whenever templates or scores change.
pub const VERSION: u16 = 1;

/// Fewest minutiae of a usable print. Below, different fingers begin to look alike.
const MINUTIAE_MIN: usize = 10;

/// Smallest usable contact, in square pixels at 500 dpi: about 6 x 6 mm.
const CONTACT_PX_MIN: usize = 14_000;

/// Least mean coherence of the ridge flow in the contact area, 0 to 1. Noise has about 0.2, prints 0.6 and more.
const COHERENCE_MIN: f32 = 0.38;

/// A template with how good the print was.
#[derive(Debug)]
pub struct Extracted {
    /// The template.
    pub template: Template,
    /// 0 to 100: area, clearness of the flow and number of minutiae together.
    pub quality: u8,
}

/// Why a picture is no usable print, as guidance for the payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
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
            Rejection::NoFinger => "no_finger",
            Rejection::PartialContact => "cover_the_reader",
            Rejection::Unclear => "clean_and_press_again",
            Rejection::FewDetails => "press_harder",
        }
    }
}

/// Makes a template of a print.
pub fn extract(image: &GrayImage) -> Result<Extracted, Rejection> {
    let ridges = ridges::Ridges::find(image)?;
    let mut minutiae = skeleton::minutiae(&ridges);
    if minutiae.len() < MINUTIAE_MIN {
        return Err(Rejection::FewDetails);
    }
    minutiae.truncate(template::MINUTIAE_MAX);
    let area = (ridges.contact_px as f32 / 60_000.0).min(1.0);
    let number = (minutiae.len() as f32 / 35.0).min(1.0);
    let clear = ((ridges.coherence - COHERENCE_MIN) / (0.85 - COHERENCE_MIN)).clamp(0.0, 1.0);
    let quality = (100.0 * (0.3 * area + 0.3 * number + 0.4 * clear)) as u8;
    Ok(Extracted { template: Template::new(&minutiae, &ridges, quality), quality })
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
