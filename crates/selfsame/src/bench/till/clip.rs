//! What a camera sees of somebody who looks into it, made of a photo: the head sways a little, and no picture is like the
//! one before.

use anyhow::Context;
use selfsame_biometrics::color_image::{Affine, Border, ColorImage, Limits, decode, encode_jpeg};

use crate::bench::till::Chance;

/// A camera's picture, and how well it is coded: what the payer's page asks its camera for and sends.
const CAMERA_PX: [u32; 2] = [1_280, 720];
const JPEG_QUALITY: u8 = 85;

/// Pictures of a clip, a second of them. After the last one it goes back to the first: a sway ends where it began.
const FRAMES: u32 = 15;

/// How far a head sways to either side, as a share of the photo's height: some millimetres at arm's length.
const SWAY: f32 = 0.01;

/// Noise of a camera in a shop's light, in grey levels to either side.
const NOISE: i16 = 2;

/// The pictures that a camera gives of one photo, JPEG.
pub struct Clip(Vec<Vec<u8>>);

impl Clip {
    /// Of a photo, which fills the height of the pictures. `seed` names the noise.
    pub fn of(photo: &[u8], seed: u64) -> anyhow::Result<Self> {
        let photo = decode(photo, Limits::FILE).context("failed to decode a photo")?;
        let mut chance = Chance::new(seed);
        (0..FRAMES)
            .map(|number| picture(&photo, number, &mut chance))
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// The picture with this number, counted from the first one that is shown.
    pub fn picture(&self, number: u32) -> Vec<u8> {
        self.0[number as usize % self.0.len()].clone()
    }
}

fn picture(photo: &ColorImage, number: u32, chance: &mut Chance) -> anyhow::Result<Vec<u8>> {
    let [width_px, height_px] = CAMERA_PX;
    let (photo_width, photo_height) = (photo.width_px() as f32, photo.height_px() as f32);
    // As much of the photo's surroundings as the wide picture has; beyond its edge is its edge.
    let width = photo_height * width_px as f32 / height_px as f32;
    let angle = std::f32::consts::TAU * number as f32 / FRAMES as f32;
    let [left, top] = [angle.sin(), angle.cos() / 2.0].map(|sway| sway * SWAY * photo_height);
    let seen = [(photo_width - width) / 2.0 + left, top, width, photo_height];
    let still = photo.warp(&Affine::scale(seen, width_px, height_px), width_px, height_px, Border::Nearest);
    let levels = u64::from(2 * NOISE.unsigned_abs() + 1);
    let noisy = |value: &u8| {
        let noise = i16::try_from(chance.whole() % levels).unwrap_or_default() - NOISE;
        u8::try_from((i16::from(*value) + noise).clamp(0, 255)).unwrap_or_default()
    };
    let pixels = still.rgb().iter().map(noisy).collect();
    let noisy = ColorImage::new(width_px, height_px, pixels).context("a camera's picture has a size")?;
    Ok(encode_jpeg(&noisy, JPEG_QUALITY))
}

#[cfg(test)]
mod tests {
    use selfsame_api::sealing::FRAME_BYTES_MAX;
    use selfsame_biometrics::face::{Thumbprint, least_difference};

    use super::*;

    #[test]
    fn the_pictures_of_a_clip_are_a_cameras_and_no_two_are_the_same() {
        let drawn = ColorImage::draw(250, 250, |x, y| [x as u8, y as u8, (x * y / 250) as u8]).unwrap();
        let clip = Clip::of(&encode_jpeg(&drawn, 90), 1).unwrap();
        let pictures: Vec<Vec<u8>> = (0..FRAMES).map(|number| clip.picture(number)).collect();
        let decoded: Vec<ColorImage> =
            pictures.iter().map(|jpeg| decode(jpeg, Limits::FRAME).unwrap()).collect();
        assert!(decoded.iter().all(|image| [image.width_px(), image.height_px()] == CAMERA_PX));
        assert!(pictures.iter().all(|jpeg| jpeg.len() < FRAME_BYTES_MAX));
        let prints: Vec<Thumbprint> = decoded.iter().map(Thumbprint::of).collect();
        assert!(least_difference(&prints).unwrap() > 0.01, "{:?}", least_difference(&prints));
        assert_eq!(clip.picture(FRAMES), pictures[0]);
    }
}
