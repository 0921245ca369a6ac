//! Whether a face reflects the colours that a screen showed it. The order of the colours is the caller's secret.

use super::Rectangle;
use crate::color_image::{Area, ColorImage};

/// The middle of the face box that is looked at, by side: skin, with little hair, background and open mouth.
const SKIN: f32 = 0.5;

/// By how much the share of a channel must rise above its mean over all steps when the screen shows that colour. A
/// screen whose light is a twentieth of the room's moves it by 0.009 to 0.012 by computation (see the tests); this asks
/// for less than half of that. Reasoned, not measured on a camera.
const RISE_MIN: f32 = 0.004;

/// Mean share of red, green and blue of the middle of a face, each 0 to 1, together 1. Brightness drops out, so that a
/// camera that adapts its exposure does no harm.
pub fn skin_colour(image: &ColorImage, face: &Rectangle) -> Option<[f32; 3]> {
    let [x, y] = face.centre();
    let (half_width, half_height) = (face.width * SKIN / 2.0, face.height * SKIN / 2.0);
    let bounds = |centre: f32, half: f32, last: u32| {
        let first = (centre - half).clamp(0.0, last.saturating_sub(1) as f32) as u32;
        let end = (centre + half).clamp(first as f32 + 1.0, last as f32) as u32;
        (first, (end - first).max(1))
    };
    let (left, width_px) = bounds(x, half_width, image.width_px());
    let (top, height_px) = bounds(y, half_height, image.height_px());
    let skin = image.cut(Area { left, top, width_px, height_px })?;
    let mut sums = [0u64; 3];
    for pixel in skin.rgb().chunks_exact(3) {
        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(*value));
    }
    let total: u64 = sums.iter().sum();
    (total > 0).then(|| sums.map(|sum| sum as f32 / total as f32))
}

/// Whether every step shows its colour: `channels` names the colour of each step (0 red, 1 green, 2 blue), `skin` what
/// was seen then. In each step the channel that was lit must have risen most of the three, and by enough.
pub fn is_reflected(channels: &[usize], skin: &[[f32; 3]]) -> bool {
    if channels.len() != skin.len() || skin.is_empty() {
        return false;
    }
    let mean =
        [0, 1, 2].map(|channel| skin.iter().map(|seen| seen[channel]).sum::<f32>() / skin.len() as f32);
    channels.iter().zip(skin).all(|(lit, seen)| {
        let rise = [0, 1, 2].map(|channel: usize| seen[channel] - mean[channel]);
        let Some(risen) = rise.get(*lit) else { return false };
        *risen >= RISE_MIN && rise.iter().enumerate().all(|(channel, other)| channel == *lit || other < risen)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A skin tone lit by a screen whose light is a twentieth of the room's.
    fn lit(channel: Option<usize>) -> [f32; 3] {
        let mut colour = [0.45f32, 0.31, 0.24];
        if let Some(channel) = channel {
            colour[channel] *= 1.05;
        }
        let total: f32 = colour.iter().sum();
        colour.map(|share| share / total)
    }

    #[test]
    fn a_face_that_was_lit_reflects_the_colours() {
        let channels = [0, 1, 2, 2, 0, 1];
        let skin = channels.map(|channel| lit(Some(channel)));
        assert!(is_reflected(&channels, &skin));
    }

    #[test]
    fn a_picture_that_nobody_lit_does_not() {
        let channels = [0, 1, 2, 2, 0, 1];
        assert!(!is_reflected(&channels, &channels.map(|_| lit(None))));
    }

    #[test]
    fn a_recording_of_another_order_does_not() {
        let channels = [0, 1, 2, 2, 0, 1];
        let recorded = [1, 1, 2, 2, 0, 0].map(|channel| lit(Some(channel)));
        assert!(!is_reflected(&channels, &recorded));
        let one_step_late = [1, 0, 1, 2, 2, 0].map(|channel| lit(Some(channel)));
        assert!(!is_reflected(&channels, &one_step_late));
    }

    #[test]
    fn a_missing_step_and_an_unknown_colour_are_no_answer() {
        assert!(!is_reflected(&[], &[]));
        assert!(!is_reflected(&[0, 1], &[lit(Some(0))]));
        assert!(!is_reflected(&[0, 3], &[lit(Some(0)), lit(None)]));
    }
}
