//! Faces as the terminal sees them: is there one that can be used, and how much of the picture has to travel. No
//! template is made here; that is the matcher's.

use selfsame_biometrics::color_image::{ColorImageError, Limits, decode, encode_jpeg_within};
use selfsame_biometrics::face::{Rectangle, wide_frame};
use selfsame_biometrics::model_pack::{ModelPack, PackError};
use selfsame_domain::enrolment::Pose;

/// Aim for the size of a frame that travels, in bytes: three of them take a quarter of a second at 10 Mbit/s, and the
/// networks that look at them see 80 to 128 pixels a side.
const WIDE_FRAME_BYTES: usize = 100 << 10;

/// A frame that can be used.
#[derive(Debug)]
pub(crate) struct Found {
    /// Four times the face and its surroundings, at most 960 pixels a side. Wiped by its sample; never printed.
    pub(crate) jpeg: Vec<u8>,
    /// 0 to 100, higher is better.
    pub(crate) quality: f32,
    /// The face in the whole picture.
    pub(crate) face: Rectangle,
    /// How the head is held, if that was asked.
    pub(crate) pose: Option<Pose>,
}

/// Why a frame could not be judged at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JudgeError {
    /// It is no picture that we take.
    #[error(transparent)]
    Image(#[from] ColorImageError),
    /// A network failed.
    #[error(transparent)]
    Network(#[from] selfsame_biometrics::face::Fault),
}

/// Finds and judges faces.
pub struct FaceFinder(selfsame_biometrics::face::FaceFinder);

impl FaceFinder {
    /// Loads detector and landmarks of a checked pack, about a megabyte.
    pub fn new(pack: &ModelPack) -> Result<Self, PackError> {
        selfsame_biometrics::face::FaceFinder::new(pack).map(Self)
    }

    /// The frame cut to what has to travel, or what the payer should do. The pose is wanted of an enrolment only, and
    /// costs the landmark network ten runs.
    pub(crate) fn judge(
        &self,
        jpeg: &[u8],
        with_pose: bool,
    ) -> Result<Result<Found, &'static str>, JudgeError> {
        let image = decode(jpeg, Limits::FRAME)?;
        let located = match self.0.locate(&image)? {
            Ok(located) => located,
            Err(retry) => return Ok(Err(retry.code())),
        };
        let pose = if with_pose { self.0.pose(&image, &located)? } else { None };
        let wide = wide_frame(&image, &located.face);
        Ok(Ok(Found {
            jpeg: encode_jpeg_within(&wide, WIDE_FRAME_BYTES),
            quality: f32::from(located.quality),
            face: located.face,
            pose: pose.map(|pose| Pose { yaw_deg: pose.yaw_deg, pitch_deg: pose.pitch_deg }),
        }))
    }
}
