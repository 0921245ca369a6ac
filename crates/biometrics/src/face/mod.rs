//! Face: finding it, whether it can be used, whether it is alive, and its template.
//!
//! A frame goes through [`FaceFinder::locate`] (detection, five points, quality), [`FacePipeline::liveness`] (attack
//! detection, on the wide frame) and [`FacePipeline::template`]. Terminals need the finder alone. The stages are apart,
//! so that callers can tell how long each takes.

pub mod accuracy;
mod calibration;
pub mod cost;
mod detection;
pub mod flash;
mod frames;
mod geometry;
#[cfg(test)]
mod golden;
mod networks;
mod quality;
mod runtime;
mod template;

pub use calibration::{CalibrationMethod, calibrate, held_out};
pub use detection::Detection;
pub use frames::{Thumbprint, WIDE_PX_MAX, least_difference, wide_frame};
pub use geometry::{Points, Rectangle};
pub use quality::{Gates, Measures, Pose, Retry};
pub use runtime::Fault;
pub use template::{ALGORITHM, Prepared, TEMPLATE_BYTES_MAX, Template, TemplateError, VERSION};

use crate::color_image::ColorImage;
use crate::model_pack::{ModelId, ModelPack, PackError, Role};
use crate::score::CalibrationPoint;
use detection::{Detector, SIDE_PX_COARSE, SIDE_PX_MAX};
use networks::{AttackDetection, Embedding, Landmarks};
use runtime::Threads;

/// The face that counts in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Located {
    /// Box around it, in pixels of the frame.
    pub face: Rectangle,
    /// Its five points.
    pub points: Points,
    /// What was measured.
    pub measures: Measures,
    /// 0 to 100.
    pub quality: u8,
}

/// Finds and judges faces: detector, landmarks and quality. About 1 MB of networks, all that a terminal needs.
pub struct FaceFinder {
    detector: Detector,
    landmarks: Landmarks,
    gates: Gates,
}

impl FaceFinder {
    /// Loads the networks of a pack, which run on one thread of this finder's own.
    pub fn new(pack: &ModelPack) -> Result<Self, PackError> {
        Self::on(pack, &Threads::one())
    }

    fn on(pack: &ModelPack, threads: &Threads) -> Result<Self, PackError> {
        Ok(Self {
            detector: Detector::load(pack.files(Role::Detection)?[0], threads)?,
            landmarks: Landmarks::load(pack.files(Role::Landmarks)?[0], threads)?,
            gates: Gates::DEFAULT,
        })
    }

    /// All faces of a picture, the surest first, at most 100.
    pub fn detect(&self, image: &ColorImage) -> Result<Vec<Detection>, Fault> {
        self.detector.detect(image, SIDE_PX_MAX)
    }

    /// The most prominent face with what is measured of it, whatever that is. `None` without a face.
    pub fn measure(&self, image: &ColorImage) -> Result<Option<Located>, Fault> {
        let faces = self.detect(image)?;
        let Some((face, second_face)) = quality::most_prominent(&faces, image.width_px(), image.height_px())
        else {
            return Ok(None);
        };
        let points = self.landmarks.refine(image, &face.face, &face.points)?;
        let turned_score = self.detector.score_turned(image)?;
        let measures = quality::measure(image, face, &points, second_face, turned_score);
        Ok(measures.map(|measures| Located {
            face: face.face,
            points,
            measures,
            quality: measures.quality(),
        }))
    }

    /// How the head of a located face is held; `None` if its points make no face. The points are found again for that,
    /// in upright cut-outs: the detector sees large pictures coarsely, and its error would look like a turn.
    pub fn pose(&self, image: &ColorImage, located: &Located) -> Result<Option<Pose>, Fault> {
        Ok(self.landmarks.settle(image, &located.points)?.and_then(|points| Pose::of(&points)))
    }

    /// The box of the one face of a further frame, which is looked at more coarsely (160 pixels) because nothing but the
    /// box is wanted of it; `None` if there is no face or it is unclear which.
    pub fn follow(&self, image: &ColorImage) -> Result<Option<Rectangle>, Fault> {
        let faces = self.detector.detect(image, SIDE_PX_COARSE)?;
        let found = quality::most_prominent(&faces, image.width_px(), image.height_px());
        Ok(found.filter(|(_, second_face)| *second_face < self.gates.second_face).map(|(face, _)| face.face))
    }

    /// The one face of a picture that can be used, or what the payer should do.
    pub fn locate(&self, image: &ColorImage) -> Result<Result<Located, Retry>, Fault> {
        let Some(located) = self.measure(image)? else { return Ok(Err(Retry::NoFace)) };
        Ok(self.gates.check(&located.measures).map(|()| located))
    }
}

/// Everything from a frame to a template.
pub struct FacePipeline {
    finder: FaceFinder,
    attack: AttackDetection,
    embedding: Embedding,
    model: ModelId,
    calibration: Vec<CalibrationPoint>,
}

impl FacePipeline {
    /// Loads all networks of a pack, which run on one thread of this pipeline's own. Where several run at a time, make
    /// one each.
    pub fn new(pack: &ModelPack) -> Result<Self, PackError> {
        let threads = Threads::one();
        Ok(Self {
            finder: FaceFinder::on(pack, &threads)?,
            attack: AttackDetection::load(&pack.files(Role::Attack)?, &threads)?,
            embedding: Embedding::load(pack.files(Role::Embedding)?[0], &threads)?,
            model: pack.model_id()?,
            calibration: pack.calibration(),
        })
    }

    /// The part that finds faces.
    pub fn finder(&self) -> &FaceFinder {
        &self.finder
    }

    /// The id of the templates that this pipeline makes and compares.
    pub fn model(&self) -> ModelId {
        self.model
    }

    /// Which score of these templates stands for which false match rate.
    pub fn calibration(&self) -> &[CalibrationPoint] {
        &self.calibration
    }

    /// See [`FaceFinder::locate`].
    pub fn locate(&self, image: &ColorImage) -> Result<Result<Located, Retry>, Fault> {
        self.finder.locate(image)
    }

    /// The probability that a living person is in this frame, 0 to 1: the networks' geometric mean.
    pub fn liveness(&self, image: &ColorImage, face: &Rectangle) -> Result<f32, Fault> {
        self.attack.score(image, face)
    }

    /// The template of a face.
    pub fn template(&self, image: &ColorImage, located: &Located) -> Result<Result<Template, Retry>, Fault> {
        let vector = self.embedding.vector(image, &located.points)?;
        let template = vector.and_then(|vector| Template::of(&vector, self.model, located.quality));
        Ok(template.ok_or(Retry::NoFace))
    }
}
